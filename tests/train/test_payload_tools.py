"""Tools of the payload specialists: thresholds from ordinary strings, rows kept back, packed rows joined, the evasion table."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

for needed in ("torch", "pandas", "sklearn"):
    pytest.importorskip(needed)

import pandas as pd  # noqa: E402

from benchmarks import evasion as table_of_evasion  # noqa: E402
from benchmarks import windows as cost_of_windows  # noqa: E402
from edge_demist import EdgeDemist  # noqa: E402
from tools.synth import evasion, sensitive_files  # noqa: E402
from tools.train import payload_rows, plain, refit, thresholds  # noqa: E402
from tools.train.data import pack  # noqa: E402


class Bytes:
    """A tokenizer of bytes."""

    def bos_id(self) -> int:
        return 0

    def encode(self, texts: list[str], num_threads: int = 1) -> list[list[int]]:
        return [list(text.encode()) for text in texts]


@given(st.integers(0, 2**32 - 1), st.integers(100, 30_000))
def test_thresholds_give_the_rates_they_are_named_for(seed, count):
    scores = np.random.default_rng(seed).beta(0.3, 3.0, count)
    found, counts = thresholds.thresholds(scores)
    assert list(counts) == list(found)
    for rate, threshold in found.items():
        assert (scores >= threshold).sum() <= float(rate) * count
        assert threshold >= 0.5
        assert counts[rate] == count
        assert float(rate) * count >= thresholds.LEAST_COUNT
    assert "1e-05" not in found


def test_a_share_of_a_rate_leaves_a_margin():
    scores = np.linspace(0.0, 1.0, 10_000, endpoint=False)
    whole, _ = thresholds.thresholds(scores)
    spare, counts = thresholds.thresholds(scores, 0.7)
    assert (scores >= whole["0.001"]).sum() == 10
    assert (scores >= spare["0.001"]).sum() == 7
    assert counts["0.001"] == 10_000


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_a_group_left_out_holds_the_rate(seed, groups):
    rng = np.random.default_rng(seed)
    names = rng.integers(0, groups, 3000).astype(object)
    scores = np.clip(rng.beta(0.3, 3.0, 3000) + 0.2 * (names == 0), 0.0, 0.9999)
    found = thresholds.of_groups(scores, names)
    plain, _ = thresholds.thresholds(scores)
    for rate, threshold in found.items():
        assert plain[rate] <= threshold <= thresholds.HIGHEST
        assert (scores >= threshold).sum() <= float(rate) * 3000


def test_groups_that_score_alike_ask_for_no_more_and_one_that_scores_high_for_what_none_can_tell():
    scores = np.concatenate([np.linspace(0.5, 0.9, 40), np.linspace(0.0, 0.4, 4960)])
    alike = np.resize(np.arange(5), 5000)
    assert thresholds.of_groups(scores, alike.astype(object))["0.01"] == thresholds.LOWEST_ALARM
    assert "0.01" not in thresholds.of_groups(scores[:3000], np.repeat([0, 1], [40, 2960]).astype(object))


def test_thresholds_are_written_into_a_file_that_loads(tmp_path: Path):
    plain = tmp_path / "plain.parquet"
    pd.DataFrame({"text": [f"/a/{i}?b={i * i}" for i in range(250)], "source": ["x", "y"] * 125}).to_parquet(plain)
    assert thresholds.main(["--task", "uri-attack", "--ordinary", str(plain), "--group", "source", "--out", str(tmp_path)]) == 0
    from edge_demist.format import safetensors

    metadata, _ = safetensors.read(tmp_path / "uri-attack.safetensors")
    table = json.loads(metadata["thresholds"])
    assert table["fpr_strings"] == {"0.01": 250.0}
    assert 0.5 <= table["fpr"]["0.01"] <= 1.0
    assert "0.0001" in table["fpr"]
    assert thresholds.main(["--task", "uri-attack", "--ordinary", str(plain), "--least", "0.93", "--out", str(tmp_path)]) == 0
    metadata, _ = safetensors.read(tmp_path / "uri-attack.safetensors")
    assert json.loads(metadata["thresholds"])["fpr"]["0.01"] >= 0.93


@given(st.lists(st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=5), min_size=1, max_size=4))
def test_joined_rows_are_the_rows_in_order(parts):
    packed = [pack(part, Bytes(), 6, np.arange(len(part))) for part in parts]
    whole = refit.joined(packed)
    again = pack([text for part in parts for text in part], Bytes(), 6, np.concatenate([np.arange(len(part)) for part in parts]))
    for name in ("ids", "cu", "off", "y"):
        assert np.array_equal(getattr(whole, name), getattr(again, name)), name
    assert np.array_equal(whole.data, again.data[: again.off[-1]])


def test_near_copies_stay_on_one_side():
    assert payload_rows.segment("/event/17/sessions/170/") == payload_rows.segment("/event/4/x") == "event"
    assert payload_rows.segment("/p12?x=1") == payload_rows.segment("/p7/y")
    shares = [payload_rows.share(str(i)) for i in range(2000)]
    assert 0.0 <= min(shares) < 0.01 < 0.99 < max(shares) < 1.0
    assert payload_rows.share("a") == payload_rows.share("a")


def test_windows_of_long_targets_are_rows():
    assert payload_rows.parts("/short") == []
    target = "/s?" + "&".join(f"a{i}=b{i}" for i in range(80))
    assert "".join(payload_rows.parts(target)) == target


@pytest.mark.parametrize("task", sorted(evasion.CHANGES))
def test_attacks_and_harmless_strings_are_many_and_differ(task):
    attacks, harmless = table_of_evasion.strings(task), table_of_evasion.strings(task, harmless=True)
    assert len(set(attacks)) == len(attacks) >= 50
    assert len(set(harmless)) == len(harmless) >= 40
    assert not set(attacks) & set(harmless)


def test_changes_of_training_keep_the_value():
    rng = random.Random(2)
    for _ in range(50):
        assert "q=secret" in evasion.company(rng, "/find?q=secret")
        assert evasion.changed(rng, "url-phishing", "login.example.com/a.php")


def test_the_evasion_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = table_of_evasion.strings
    monkeypatch.setattr(table_of_evasion, "strings", lambda task, **kind: whole(task, **kind)[::8])
    assert table_of_evasion.main(["--task", "url-phishing", "--out", str(tmp_path / "e.json")]) == 0
    result = json.loads((tmp_path / "e.json").read_text())
    counted = result["tasks"]["url-phishing"]
    assert set(counted["changes"]) == {*evasion.CHANGES["url-phishing"], *evasion.FURTHER["url-phishing"]}
    assert len(counted["missed"]) == counted["attacks"] - counted["alarms"]
    assert all(cell["alarms"] <= cell["attacks"] <= counted["alarms"] for cell in counted["changes"].values())
    shown = table_of_evasion.table(result)
    assert f"| url-phishing | {counted['alarms']} of {counted['attacks']} |" in shown


def test_the_cost_of_windows_is_bounded():
    with EdgeDemist.load() as model:
        result = cost_of_windows.measure(model, 1)
    assert set(result["ratio"]) == {"uri-attack", "cmdline"}
    assert len(cost_of_windows.table(result).splitlines()) == 4


def test_sensitive_names_stand_in_many_scripts_under_every_label():
    found = sensitive_files.names()
    assert len(found) == 10
    assert all(len(languages) >= 10 for label, languages in found.items() if label != "source-and-secrets-config")
    rows = sensitive_files.generate(random.Random(1), 500)
    assert {label for _, label, _ in rows} == set(found)
    assert any(not text.isascii() for text, _, _ in rows)


def test_labels_without_real_rows_are_unknown():
    certificates = plain.PLAIN["tls-certificate"]
    assert certificates.label("tor") == "tor"
    assert certificates.label("malware-c2") == plain.UNKNOWN
    assert plain.PLAIN["http-header"].label("c2-profile") == "c2-profile"
    assert plain.PLAIN["http-header"].task.positive_labels == ("attack",)

"""Which sources a bundle under permitted terms learns from, the folder of their rows, and the check at the end."""

from __future__ import annotations

import importlib.util
import json
import random
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("tldextract")
pandas = pytest.importorskip("pandas")

from edge_demist.format import licences  # noqa: E402
from tools.train import ordinary, permitted, permitted_data  # noqa: E402
from tools.train.data import TASKS  # noqa: E402
from tools.train.plain import PLAIN  # noqa: E402

OPEN, SHARED, CLOSED, SILENT = "JetBrains/swot", "olbat/ut1-blacklists", "cbuijs/shallalist", "zer0h/top-1000000-domains"
WORDS = ("cloud", "mail", "shop", "news", "game", "bank", "school", "photo", "music", "video", "forum", "city", "garden", "river", "stone")


def test_terms_decide():
    assert permitted_data.permitted(OPEN)
    assert permitted_data.permitted(SHARED)
    assert not permitted_data.permitted(SHARED, ("permissive",))
    assert not permitted_data.permitted(CLOSED)
    assert not permitted_data.permitted(SILENT)
    assert permitted_data.permitted("generated:tunnel")
    assert not permitted_data.permitted("composed:hostname-category+issuers"), "nobody recorded whose the names are"
    assert not permitted_data.permitted("made: form of the record on a real domain")


@given(st.text(max_size=30))
def test_what_the_table_of_licences_does_not_know_is_not_permitted(name):
    if licences.licence_of(name)[0] == licences.UNKNOWN:
        assert not permitted_data.permitted(name)


@given(st.lists(st.sampled_from([OPEN, SHARED, CLOSED, SILENT]), min_size=1, max_size=4))
def test_a_name_of_several_lists_is_permitted_if_all_are(names):
    assert permitted_data.all_permitted("|".join(names)) == (not {CLOSED, SILENT} & {*names})


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=1, max_size=40))
def test_no_registered_domain_is_in_both_parts(pairs):
    rows = pandas.DataFrame({"text": [f"{host}.{domain}.com" for host, domain in pairs]})
    train, dev = permitted_data.by_domain(rows, share=50)
    assert len(train) + len(dev) == len(rows)
    assert not {*map(ordinary.registered_domain, train["text"])} & {*map(ordinary.registered_domain, dev["text"])}


def names_of(rng, count):
    salt = rng.randrange(10**9)
    return [f"{rng.choice(WORDS)}-{rng.choice(WORDS)}{salt}x{i}.{rng.choice(('com', 'net', 'org'))}" for i in range(count)]


def table(rng, labels, count, sources):
    rows = [(text, rng.choice(labels), rng.choice(sources)) for text in names_of(rng, count)]
    return pandas.DataFrame(rows, columns=["text", "label", "source"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small DATA in which every second row or so is under other terms."""
    folder, rng = tmp_path_factory.mktemp("data"), random.Random(3)
    mixed = (OPEN, SHARED, CLOSED, SILENT)
    labels = {
        "hostname-category": ("games", "news", "travel"), "hostname-threat": ("legit", "malicious"), "dga": ("dga", "legit"),
        "url-phishing": ("legit", "malicious"), "dns-tunnel": ("legit", "tunnel"), "uri-attack": ("normal", "xss", "sqli"),
        "user-agent": ("crawler-bot", "browser-mobile"), "cmdline": ("benign", "malicious"), "filename": ("log", "config"),
        "tls-certificate": ("tor", "public-ca"), "http-header": ("attack", "crawler-scanner"),
        "filename-sensitivity": ("ordinary", "medical"),
    }  # fmt: skip
    for task in (*TASKS, *PLAIN):
        for part, count in (("train", 900), ("dev", 60)):
            rows = table(rng, labels[task], count, mixed)
            if task in ("hostname-threat", "url-phishing"):
                rows["source"] = "AbdelkaderMH/DomURLs_BERT"
            if task == "hostname-category":
                rows.loc[rows["label"] == "travel", "source"] = CLOSED
            if task == "dga":
                rows.loc[rows["label"] == "legit", "source"] = SILENT
            if task == "tls-certificate":
                rows["origin"] = ["composed" if i % 3 else "real" for i in range(count)]
            path = folder / "tasks" / task / f"{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.assign(family="", platform="linux").to_parquet(path)
    agents = pandas.read_parquet(folder / "tasks" / "user-agent" / "train.parquet")
    path = folder / "tasks" / "http-header" / "train.parquet"
    headers = pandas.read_parquet(path)
    repeated = agents.head(40).assign(
        text=lambda t: "Host: a.example | User-Agent: " + t["text"], label="crawler-scanner", source="user-agent task"
    )
    pandas.concat([headers, repeated]).to_parquet(path)
    (folder / "corpus").mkdir()
    rows = table(rng, ("games", "news", "travel", "malware", "phishing"), 3000, (*mixed, f"{OPEN}|{CLOSED}"))
    rows.rename(columns={"label": "labels", "source": "sources"}).to_parquet(folder / "corpus" / "hostname-labels.parquet")
    for kind, files in (
        ("ordinary", ("hosts", "dns", "urls", "targets", "user_agents")),
        ("threats", ("hosts", "urls", "attacks", "tunnels")),
    ):
        (folder / kind).mkdir()
        for name in files:
            rows = table(rng, ("x",), 600, mixed).assign(kind="home-pages", list_date="2026-01-01", tool="t").drop(columns="label")
            rows.to_parquet(folder / kind / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def kept(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    small = pytest.MonkeyPatch()
    small.setattr(permitted_data, "LEAST", 50)
    small.setattr(permitted_data, "MOST", 400)
    small.setattr(permitted_data, "TUNNELS", 200)
    assert permitted_data.main(["--data", str(data), "--out", str(folder)]) == 0
    small.undo()
    return folder


def test_the_folder_holds_permitted_rows_alone(data, kept):
    paths = sorted(kept.rglob("*.parquet"))
    assert {str(p.relative_to(kept)) for p in paths} >= {str(p.relative_to(data)) for p in data.rglob("*.parquet")}
    for path in paths:
        rows = pandas.read_parquet(path)
        sources = rows["sources"] if path.stem == "hostname-labels" else rows["source"]
        assert all(permitted_data.all_permitted(str(source)) for source in sources.unique()), path


def test_the_corpus_holds_nothing_that_measures(data, kept):
    held = set()
    for task in ("hostname-threat", "url-phishing", "uri-attack", "user-agent"):
        plain = ordinary.read_ordinary(data, task)
        held |= {*plain.loc[plain["part"] != "train", "text"]}
    for kind in permitted_data.CORPUS:
        texts = {*pandas.read_parquet(kept / "corpus" / f"{kind}.parquet")["text"]}
        assert texts
        assert not texts & held


def test_a_label_without_permitted_rows_is_left_out_and_named(kept):
    report = json.loads((kept / "report.json").read_text())
    assert report["labels_left_out"] == {"hostname-category": ["travel"]}
    assert {*pandas.read_parquet(kept / "tasks/hostname-category/dev.parquet")["label"]} == {"games", "news"}
    assert report["left_out"]["tasks/hostname-threat/train"] == {"AbdelkaderMH/DomURLs_BERT": 900}


def test_tables_without_permitted_rows_are_replaced(data, kept):
    for task in ("hostname-threat", "url-phishing", "dga", "dns-tunnel"):
        rows = pandas.read_parquet(kept / "tasks" / task / "train.parquet")
        assert {*rows["label"]} == {*pandas.read_parquet(data / "tasks" / task / "train.parquet")["label"]}
        assert not {*rows["text"]} & {*pandas.read_parquet(data / "tasks" / task / "dev.parquet")["text"]}


def test_categories_are_filled_up_from_their_lists(kept):
    counts = pandas.read_parquet(kept / "tasks/hostname-category/train.parquet")["label"].value_counts()
    assert (counts > 200).all()
    assert (counts <= 400).all()


def test_a_row_that_repeats_another_task_has_the_source_of_that_row(data, kept):
    rows = pandas.read_parquet(kept / "tasks/http-header/train.parquet")
    repeated = rows[rows["text"].str.startswith("Host: a.example")]
    agents = pandas.read_parquet(data / "tasks/user-agent/train.parquet").head(40)
    assert len(repeated) == sum(permitted_data.permitted(source) for source in agents["source"])
    assert {*repeated["source"]} == {OPEN, SHARED}


def test_composed_certificates_are_left_out(kept):
    assert {*pandas.read_parquet(kept / "tasks/tls-certificate/train.parquet")["origin"]} == {"real"}


def test_the_packaged_bundle_fails_the_check():
    folder = Path(licences.__file__).resolve().parents[1] / "assets" / "model"
    with pytest.raises(SystemExit, match="cbuijs/shallalist"):
        permitted.main(["--check", str(folder)])


def test_a_bundle_passes_if_every_part_names_permitted_sources(monkeypatch, capsys):
    named = types.SimpleNamespace(sources=(OPEN, "generated:tunnel"))
    bundle = types.SimpleNamespace(manifest={"sources": [SHARED]}, tasks=("dga", "filename"), files={}, id="0")
    for module in (permitted, licences):
        monkeypatch.setattr(module, "load_specialist", lambda *_: named)
    monkeypatch.setattr(permitted, "Bundle", types.SimpleNamespace(load=lambda *_, **__: bundle))
    permitted.check("folder", permitted_data.TERMS)
    assert "3 sources" in capsys.readouterr().out
    named.sources = ()
    assert permitted.offenders(bundle, permitted_data.TERMS) == ["dga names no source", "filename names no source"]
    bundle.manifest["sources"] = []
    assert len(permitted.offenders(bundle, permitted_data.TERMS)) == 3
    bundle.manifest["sources"] = [CLOSED]
    assert CLOSED in permitted.offenders(bundle, permitted_data.TERMS)[0]


def arguments(tmp_path, *more):
    return permitted.parse(["--data", "DATA", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), *more])


def test_nothing_but_the_first_step_reads_the_data(tmp_path):
    args = arguments(tmp_path)
    (tmp_path / "work/data/tasks/cmdline").mkdir(parents=True)
    (tmp_path / "work/data/tasks/cmdline/extra-benign-life.parquet").touch()
    steps = [*permitted.training_steps(args), *permitted.bundle_steps(args)]
    assert [step.name for step in steps if "DATA" in step.command] == ["rows"]
    assert {step.command[0] for step in steps if importlib.util.find_spec(step.command[0]) is None} == set()
    assert {*TASKS, *PLAIN} <= {step.name for step in steps}
    assert len({step.done for step in steps}) == len(steps)


def test_steps_that_are_done_are_skipped(tmp_path):
    steps = [permitted.Step(str(i), [str(i)], tmp_path / f"{i}.done") for i in range(4)]
    steps[1].done.touch()
    seen = []

    def call(command):
        seen.append(command[0])
        if command[0] == "2" and len(seen) == 2:
            raise SystemExit("broken off")

    with pytest.raises(SystemExit):
        permitted.run(steps, call)
    permitted.run(steps, call)
    assert seen == ["0", "2", "2", "3"]


def test_a_step_that_fails_is_named():
    with pytest.raises(SystemExit, match=r"tools\.train\.no_such_module ended with 1"):
        permitted.call(["tools.train.no_such_module"])


def test_the_card_says_how_long_the_base_trained(tmp_path):
    args = arguments(tmp_path)
    for path, found in (
        ("data/report.json", {"terms": ["own"], "labels_left_out": {"t": ["a"]}}),
        ("base/checkpoint/training.json", {"seconds": 1800}),
    ):
        (args.work / path).parent.mkdir(parents=True)
        (args.work / path).write_text(json.dumps(found))
    permitted.write_card(args)
    card = (args.work / "MODEL_CARD.md").read_text()
    assert "30 minutes" in card
    assert "a of t" in card


def test_what_is_missing_on_the_command_line_is_said(capsys):
    with pytest.raises(SystemExit):
        permitted.parse(["--data", "DATA"])
    assert "--check" in capsys.readouterr().err

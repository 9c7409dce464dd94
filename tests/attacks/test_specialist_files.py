"""Specialists and special ids made by strangers: what loads has answers that are probabilities; the rest is refused when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.tiny_bundle import write_tiny_bundle

from edge_demist import EdgeDemist
from edge_demist.cli import main
from edge_demist.errors import BundleError, IntegrityError
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle, default_path
from edge_demist.format.extend import add_specialists
from edge_demist.format.specialist import load_specialist

TASK = "hostname-category"
FILE = f"specialists/{TASK}.safetensors"


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny", TASK)


def rewrite(folder, name, change=None, metadata=None):
    """Change a file and make the manifest fit, as a stranger would."""
    path = folder / name
    described, tensors = safetensors.read(path)
    tensors = {k: np.array(v) for k, v in tensors.items()}
    if change:
        change(tensors)
    path.unlink()
    safetensors.write(path, tensors, {**described, **(metadata or {})})
    rehash(folder)


def rehash(folder, **sections):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    base = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    for name in manifest["files"]:
        if name.startswith("specialists/"):
            described, tensors = safetensors.read(folder / name, copy=True)
            if described.get("base_sha256") != base:
                safetensors.write(folder / name, tensors, {**described, "base_sha256": base})
        raw = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    for name, values in sections.items():
        manifest[name] |= values
    path.write_text(json.dumps(manifest))


def fill(name, value):
    def change(tensors):
        tensors[name] = np.full_like(tensors[name], value)

    return change


def refused(folder, match):
    with pytest.raises(BundleError, match=match):
        load_specialist(Bundle.load(folder), TASK)
    assert main(["verify", str(folder)]) == 1


@pytest.mark.parametrize("most", [4, 5, 8])
def test_no_room_beside_special_ids(tiny, most):
    rewrite(tiny, FILE, metadata={"max_tokens": str(most)})
    rehash(tiny, tokenizer={"prefix_ids": [2] * 4, "suffix_ids": [3] * 4}, limits={"max_tokens": 16})
    refused(tiny, "max_tokens")
    rehash(tiny, limits={"max_tokens": 8})
    with pytest.raises(BundleError, match="leaves no token"):
        Bundle.load(tiny)


@pytest.mark.parametrize(
    "given", ["[0, 1, 2, 2]", "[0, 1]", "[2, 1, 0]", "[0, 0, 0]", "[0.0, 1, 2]", "[true, 1, 2]", "{}", "[[0]]", "[" * 9999, "[-1, 0, 1]"]
)
def test_subclasses_that_fit_no_head(tiny, given):
    rewrite(tiny, FILE, metadata={"subclasses": given})
    rehash(tiny)
    refused(tiny, "subclasses|head.(weight|bias)")


ALARM = {"kind": "alarm", "positive_labels": '["b"]'}


def with_more_columns(tensors):
    """Three columns of a label group."""
    tensors["head.weight"] = np.concatenate([tensors["head.weight"], -tensors["head.weight"]], axis=1)
    tensors["head.bias"] = np.zeros(6, np.float32)


@pytest.mark.parametrize(
    "given",
    [
        {"label_subclasses": "[0, 1, 2, 2]"}, {"label_subclasses": "[0, 1]"}, {"label_subclasses": "[2, 1, 0]"},
        {"label_subclasses": "[0.0, 1, 2]"}, {"label_subclasses": "{}"}, {"label_subclasses": "[" * 9999}, {"label_subclasses": "[]"},
        {"label_below": "nan"}, {"label_below": "1.5"}, {"label_below": "0"}, {"label_below": "1"}, {"label_below": "-1"},
        {"label_below": ""}, {"label_below": "9" * 99}, {"kind": "category", "positive_labels": "[]"},
        {"positive_labels": '["a", "b", "c"]'},
    ],
)  # fmt: skip
def test_label_groups_that_fit_no_head(tiny, given):
    rewrite(tiny, FILE, with_more_columns, {**ALARM, "label_subclasses": "[0, 1, 2]", "label_below": "0.9", **given})
    rehash(tiny)
    refused(tiny, "label_subclasses|label_below|head.(weight|bias)")


@pytest.mark.parametrize(
    "given",
    [
        {"gates": "-1"}, {"gates": "1.5"}, {"gates": "9" * 99}, {"gates": "1"}, {"gates": "3", "gate_most": "0"},
        {"gates": "3", "gate_most": "nan"}, {"gates": "6", "label_subclasses": "[]"},
    ],
)  # fmt: skip
def test_gates_that_fit_no_head(tiny, given):
    rewrite(tiny, FILE, with_more_columns, {**ALARM, "label_subclasses": "[0, 1, 2]", "label_below": "0.9", **given})
    rehash(tiny)
    refused(tiny, "gate|head.(weight|bias)")


def test_one_text_of_a_file_with_a_label_group(tiny):
    rewrite(tiny, FILE, with_more_columns, {**ALARM, "label_subclasses": "[0, 1, 2]", "label_below": "0.9"})
    rehash(tiny)
    with EdgeDemist.load(tiny) as model:
        together = model.classify(["a.example", "b.example"], task=TASK, top_k=0)
        assert [model.classify(text, task=TASK, top_k=0)[0] for text in ("a.example", "b.example")] == together
        assert all(0 <= answer.alarm_score <= 1 and set(answer.scores) == {"a", "b", "c"} for answer in together)


def test_one_text_of_a_label_with_two_subclasses(tiny):
    def widen(tensors):
        tensors["head.weight"] = np.concatenate([tensors["head.weight"], tensors["head.weight"][:, :1]], axis=1)
        tensors["head.bias"] = np.zeros(4, np.float32)

    rewrite(tiny, FILE, widen, {"subclasses": "[0, 1, 2, 2]"})
    rehash(tiny)
    with EdgeDemist.load(tiny) as model:
        together = model.classify(["a.example", "b.example"], task=TASK, top_k=0)
        assert [model.classify(text, task=TASK, top_k=0)[0] for text in ("a.example", "b.example")] == together
        assert all(set(answer.scores) == {"a", "b", "c"} for answer in together)


@pytest.mark.parametrize("ids", [None, "", "ab", {}, [None], [True], [2] * 5, [10**6], [512], [-1], [1.0], 3, [[2]]])
@pytest.mark.parametrize("name", ["prefix_ids", "suffix_ids"])
def test_special_ids_that_are_none(tiny, name, ids):
    rehash(tiny, tokenizer={name: ids})
    with pytest.raises(BundleError, match="manifest: "):
        Bundle.load(tiny)


@pytest.mark.parametrize(
    "table",
    [
        '{"fpr": {"0.001": NaN}}',
        '{"fpr": {"nan": 0.5}}',
        '{"fpr": {"0.001": -5}}',
        '{"fpr": {"0.001": 1.5}}',
        '{"fpr": {"0.001": true}}',
        '{"fpr": {"0.001": "0.5"}}',
        '{"fpr": {"-1": 0.5}}',
        '{"fpr": {"2": 0.5}}',
        '{"accuracy": {"0.9": 1e999}}',
        '{"accuracy": {"1e999": 0.5}}',
        '{"fpr": [0.5]}',
        "[" * 3000,
    ],
)
def test_thresholds_that_are_no_scores(tiny, table):
    rewrite(tiny, FILE, metadata={"thresholds": table})
    refused(tiny, "thresholds")


@pytest.mark.parametrize("key", ["temperature", "max_tokens"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "9" * 5000, "", "0", "-1", "1_0", "x"])
def test_numbers_that_are_none(tiny, key, value):
    if (key, value) == ("max_tokens", "1_0"):
        pytest.skip("a number to Python")
    rewrite(tiny, FILE, metadata={key: value})
    if (key, value) != ("temperature", "1_0"):
        refused(tiny, key)


@pytest.mark.parametrize("ranks", [(86, 86, 86), (100, 100, 100), (253, 1, 3)])
def test_ranks_together_over_the_limit(tiny, ranks):
    def widen(tensors):
        for target, rank in zip("qkv", ranks, strict=True):
            tensors[f"lora.0.{target}.A"] = np.zeros((128, rank), np.float32)
            tensors[f"lora.0.{target}.B"] = np.zeros((rank, 128), np.float32)

    rewrite(tiny, FILE, widen)
    refused(tiny, "rank")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.weight", 3e38),
        ("head.bias", 3e38),
        ("lora.1.q.A", 3e38),
        ("lora.1.ffn_down.B", 1e37),
        ("head.weight", np.nan),
        ("lora.1.q.B", -np.inf),
    ],
)
def test_finite_numbers_that_overflow_on_the_way(tiny, name, value):
    rewrite(tiny, FILE, fill(name, value))
    refused(tiny, "overflow|NaN")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The shipped bundle, to change one specialist of again and again."""
    folder = tmp_path_factory.mktemp("copy") / "model"
    shutil.copytree(default_path(), folder)
    return folder


def a_net(dim, first=64, second=64):
    shapes = {"1.weight": (dim, first), "2.weight": (first, second), "3.weight": (second,)}
    shapes |= {"1.bias": (first,), "2.bias": (second,), "3.bias": (1,)}
    return {f"screen.{name}": np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda net: net.pop("screen.2.bias"), "net has"),
        (lambda net: net.update({"screen.4.weight": np.zeros(3, np.float32)}), "net has"),
        (lambda net: net.update({"screen.2.weight": np.zeros((64, 65), np.float32)}), "multiple"),
        (lambda net: net.update({"screen.2.weight": np.zeros(64, np.float32)}), "multiple"),
        (lambda net: net.update({"screen.3.bias": np.zeros(0, np.float32)}), "fit each other"),
        (lambda net: net.update({"screen.3.weight": np.zeros((64, 1), np.float32)}), "fit each other"),
        (lambda net: net.update(a_net(64, 320)), "multiple"),
        (lambda net: net.update(a_net(0)), "reads 0 numbers"),
        (lambda net: net.update(a_net(128)), "reads 128 numbers"),
        (lambda net: net["screen.1.weight"].fill(3e38), "overflow"),
        (lambda net: net["screen.3.bias"].fill(np.nan), "NaN"),
        (lambda net: net.update({"screen.1.weight": np.zeros((64, 64), np.int32)}), "floats"),
    ],
)
def test_nets_of_a_screen_that_do_not_fit_or_overflow(copy, change, match):
    net = a_net(64)
    change(net)

    def put(tensors):
        for name in [name for name in tensors if name.startswith("screen.")]:
            tensors.pop(name)
        tensors.update(net)

    rewrite(copy, "specialists/dga.safetensors", put)
    with pytest.raises(BundleError, match=match):
        load_specialist(Bundle.load(copy), "dga")


def test_a_net_without_levels(tiny):
    rewrite(tiny, FILE, lambda tensors: tensors.update(a_net(64)))
    refused(tiny, "though the file holds a screen's net")


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers.0.qkv.scale", 3e38), ("layers.1.norm1.weight", 1e30), ("embeddings.word.scale", 1e36), ("layers.0.ffn_up.bias", -3e38)],
)
def test_a_base_that_overflows(tiny, name, value):
    rewrite(tiny, "weights.safetensors", fill(name, value))
    with pytest.raises(BundleError, match="overflow"):
        Bundle.load(tiny)


def test_a_product_of_nothing_and_too_much(tiny):
    def change(tensors):
        fill("lora.1.attn_out.A", 3e38)(tensors)
        fill("lora.1.attn_out.B", 0.0)(tensors)

    rewrite(tiny, FILE, change)
    refused(tiny, "overflow")


@pytest.mark.parametrize("shape", [[0, 1 << 20, 1 << 20, 1 << 20], [1 << 20] * 7 + [0], [0] * 8, [1 << 20, 0]])
def test_tensors_without_bytes(tmp_path, shape):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    raw = json.dumps({"a": entry}).encode()
    (tmp_path / "x").write_bytes(len(raw).to_bytes(8, "little") + raw)
    if max(shape) > 1 and sum(d > 1 for d in shape) > 1:
        with pytest.raises(BundleError, match="bad shape"):
            safetensors.read(tmp_path / "x")
    else:
        assert safetensors.read(tmp_path / "x")[1]["a"].size == 0


@pytest.mark.parametrize("hash_all", [False, True])
def test_a_specialist_swapped_after_the_bundle_was_checked(tiny, hash_all):
    model = EdgeDemist(Bundle.load(tiny, hash_all=hash_all))
    described, tensors = safetensors.read(tiny / FILE, copy=True)
    safetensors.write(tiny / FILE, {**tensors, "head.bias": np.array([90, -90, -90], np.float32)}, described)
    with pytest.raises(IntegrityError, match="was changed after it was checked"):
        model.classify(["a.example"], task=TASK)


def test_weights_overwritten_after_they_were_hashed(tiny):
    model = EdgeDemist(Bundle.load(tiny, hash_all=True))
    before = model.encode(["a.example"])
    with (tiny / "weights.safetensors").open("r+b") as stream:
        stream.truncate(1000)
    assert np.array_equal(model.encode(["a.example"]), before)


def test_a_pipe_in_place_of_a_specialist(tiny):
    model = EdgeDemist.load(tiny)
    (tiny / FILE).unlink()
    os.mkfifo(tiny / FILE)
    with pytest.raises(BundleError, match="no regular file"):
        model.specialist(TASK)


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
def test_pipes_and_devices_in_place_of_a_bundle(tiny, name):
    (tiny / name).unlink()
    os.mkfifo(tiny / name)
    assert main(["verify", str(tiny)]) == 1
    (tiny / name).unlink()
    (tiny / name).symlink_to("/dev/zero")
    assert main(["verify", str(tiny)]) == 1


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_keys_that_are_no_files(tiny, tmp_path, kind):
    key = tmp_path / "key"
    if kind == "pipe":
        os.mkfifo(key)
    elif kind == "folder":
        key.mkdir()
    else:
        key.symlink_to("/dev/zero")
    assert main(["verify", "--key", str(key), str(tiny)]) == 1


HOSTILE_LABELS = ["\x1b[2J\x1b[31mLEGIT", "<img src=x onerror=alert(1)>\n# Owned", "\u202egpj.exe", "ok"]


def test_labels_are_printed_escaped(tiny, capsys):
    def widen(tensors):
        tensors["head.weight"] = np.zeros((128, 4), np.float32)
        tensors["head.bias"] = np.array([1, 0, 0, 0], np.float32)

    rewrite(tiny, FILE, widen, {"labels": json.dumps(HOSTILE_LABELS), "kind": "alarm", "positive_labels": json.dumps(HOSTILE_LABELS[:1])})
    rehash(tiny)
    path = tiny / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "\x1b]0;owned\x07\nok"}))
    (tiny / "names").write_text("a.example\n")
    for command in (
        ["tasks", "--bundle", str(tiny)],
        ["tasks", "--json", "--bundle", str(tiny)],
        ["classify", "--task", TASK, "--bundle", str(tiny), "--output-format", "table", str(tiny / "names")],
        ["classify", "--task", TASK, "--bundle", str(tiny), "--top-k", "all", str(tiny / "names")],
        ["info", "--bundle", str(tiny)],
        ["verify", str(tiny)],
    ):
        assert main(command) == 0
        said = "".join(capsys.readouterr())
        assert said.strip() and all(c == "\n" or c.isprintable() for c in said), command
        assert "\n# Owned" not in said


def test_labels_in_a_card_are_text(tiny, tmp_path):
    given = tmp_path / "given.safetensors"
    described, tensors = safetensors.read(tiny / FILE)
    labels = {"labels": json.dumps(HOSTILE_LABELS[1:]), "sources": json.dumps(["[x](javascript:alert(1))\n## Owned"])}
    safetensors.write(given, tensors, {**described, "task": "given", **labels})
    add_specialists(Bundle.load(tiny), [given], tmp_path / "out")
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "<img" not in card and "\n# Owned" not in card and "\n## Owned" not in card and "[x]" not in card
    assert all(c == "\n" or c.isprintable() for c in card)


@pytest.mark.parametrize("task", ["..", "a..b", "-x", "a/b", "A", ""])
def test_names_of_tasks_that_no_bundle_may_have(tiny, tmp_path, task):
    given = tmp_path / "given.safetensors"
    described, tensors = safetensors.read(tiny / FILE)
    safetensors.write(given, tensors, {**described, "task": task})
    with pytest.raises(Exception, match="task"):
        add_specialists(Bundle.load(tiny), [given], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_tries_every_specialist(tiny, capsys, monkeypatch):
    assert main(["verify", str(tiny)]) == 0
    assert "each tried" in capsys.readouterr().out

    def wrong(self, *_, **__):
        return [type("P", (), {"label": "a", "score": float("nan"), "error": None})()] * 6

    monkeypatch.setattr(EdgeDemist, "classify", wrong)
    assert main(["verify", str(tiny)]) == 1
    assert "self-test" in capsys.readouterr().err


def test_a_file_shortened_in_place_is_said_to_be_a_risk_and_survives_where_signatures_count(tiny):
    """Without a signature weights are mapped: shortening the file ends the process, so files are to be replaced by renaming."""
    code = (
        "import sys\nfrom edge_demist import EdgeDemist\nfrom edge_demist.format.bundle import Bundle\n"
        f"m = EdgeDemist(Bundle.load({str(tiny)!r}, hash_all=True))\n"
        f"open({str(tiny / 'weights.safetensors')!r}, 'r+b').truncate(100)\n"
        "print(m.encode(['a']).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "(1, 128)" in done.stdout


def test_the_sensor_refuses_a_bundle_with_a_malformed_specialist_before_it_reads(tiny, tmp_path, capsys):
    """A specialist is kept from its first string on, so a malformed one would otherwise show in the middle of a log."""
    rewrite(tiny, FILE, lambda tensors: tensors["head.weight"].__setitem__((0, 0), np.nan))
    (tmp_path / "eve.json").write_text('{"event_type": "alert", "timestamp": "2024-01-01T00:00:00Z", "http": {"hostname": "a.example"}}\n')
    given = ["watch", str(tmp_path / "eve.json"), "--once", "--bundle", str(tiny), "-o", str(tmp_path / "events"), "--log", "off"]
    assert main([*given, "--state", str(tmp_path / "state")]) == 2
    assert f"{TASK}.safetensors: head.weight holds NaN" in capsys.readouterr().err
    assert not (tmp_path / "events").exists()

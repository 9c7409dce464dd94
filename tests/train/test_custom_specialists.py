"""A specialist on somebody's own labels: rows in, bundle out, answers."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.errors import InputError
from edge_demist.train.table import alarms_of, read_pairs, split

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("numba")

WORDS = ["cloud", "mail", "shop", "news", "game", "bank", "school", "travel", "photo", "music"]


def text_of(rng, label):
    if label == "ticket":
        return f"{rng.choice(WORDS).upper()}-{rng.randint(100, 99999)}"
    if label == "mail":
        return f"{rng.choice(WORDS)}.{rng.choice(WORDS)}@{rng.choice(WORDS)}.example"
    return f"/srv/{rng.choice(WORDS)}/{rng.choice(WORDS)}-{rng.randint(1, 99)}.log"


def rows(seed, each, labels=("file", "mail", "ticket")):
    """``each`` different (text, label) a label."""
    rng = random.Random(seed)
    found = {}
    for label in labels:
        while sum(name == label for name in found.values()) < each:
            found[text_of(rng, label)] = label
    return list(found.items())


def write(path, table, names=("text", "label")):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([names, *table])


@pytest.fixture(scope="module", autouse=True)
def _fewer_strange_strings():
    """A fifth of the strings that are of no task: most of the time of a small training goes into encoding them."""
    from edge_demist.train import custom

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(custom, "OOD_ROWS", custom.OOD_ROWS // 5)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A specialist of three kinds of strings on the packaged bundle, added to it."""
    folder = tmp_path_factory.mktemp("own")
    write(folder / "rows.csv", rows(1, 120), ("what", "kind"))
    (folder / "ood.txt").write_text("GET / HTTP/1.1\nMozilla/5.0 (X11; Linux x86_64)\n")
    given = ["--labels", str(folder / "rows.csv"), "--text-column", "what", "--label-column", "kind", "--all-but", "file", "mail"]
    more = ["--ood-file", str(folder / "ood.txt"), "--epochs", "3", "--batch-tokens", "512"]
    assert main(["train", *given, *more, "--task", "my-kinds", "--out", str(folder / "new")]) == 0
    assert main(["bundle", "add", str(folder / "new"), "--out", str(folder / "bundle")]) == 0
    return folder


def test_it_answers_through_the_bundle(trained):
    from edge_demist import EdgeDemist

    unseen = rows(2, 60)
    with EdgeDemist.load(trained / "bundle") as model:
        assert set(EdgeDemist.load().tasks) | {"my-kinds"} == set(model.tasks)
        answers = model.classify([text for text, _ in unseen], task="my-kinds")
        strange = model.classify("The quick brown fox jumps over the lazy dog, as everybody knows.", task="my-kinds", top_k=0)[0]
    assert np.mean([a.label == y for a, (_, y) in zip(answers, unseen, strict=True)]) > 0.95
    assert np.mean([a.alarm == (y == "ticket") for a, (_, y) in zip(answers, unseen, strict=True)]) > 0.95
    assert sum(strange.scores.values()) < 0.5


def test_from_few_rows_no_fine_rate_is_claimed(trained, capsys):
    """Of 80 harmless rows to calibrate on, 3 are one in 27: a rate of one in ten is claimed, and nothing finer."""
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.specialist import load_specialist

    record = json.loads((trained / "new" / "my-kinds.training.json").read_text())
    assert record["dev"]["alarms"]["negatives"] == 80
    assert list(load_specialist(Bundle.load(trained / "bundle"), "my-kinds").thresholds["fpr"]) == ["0.1"]
    (trained / "names.txt").write_text("INC-1\n")
    asked = ["classify", "--bundle", str(trained / "bundle"), "--task", "my-kinds", str(trained / "names.txt"), "--fpr", "1e-3"]
    assert main(asked) == 2
    assert "no threshold for fpr 0.001 or stricter" in capsys.readouterr().err


@pytest.mark.parametrize(("negatives", "finest"), [(20, None), (100, "0.03"), (1000, "0.003"), (30_000, "0.0001")])
def test_the_finest_rate_grows_with_the_rows(negatives, finest):
    from edge_demist.train import calibration
    from edge_demist.train.rows import Task

    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(negatives, np.int64), np.ones(200, np.int64)]
    logits = np.stack([np.zeros(len(y)), rng.normal(size=len(y)) + 6 * y - 3], axis=1).astype(np.float32)
    task = Task("t", "identity", "alarm", 64, ("bad",))
    result = calibration.calibrate(task, ["good", "bad"], logits, y, np.ones(len(y)), honest=True)
    assert min(result["thresholds"]["fpr"], key=float, default=None) == finest
    scores = calibration.softmax(logits / result["temperature"])[:negatives, 1]
    for rate, threshold in result["thresholds"]["fpr"].items():
        assert (scores >= threshold).mean() <= float(rate) + 1e-9


def test_the_record_says_how_it_was_made(trained):
    from edge_demist.format.bundle import Bundle

    record = json.loads((trained / "new" / "my-kinds.training.json").read_text())
    assert record["base_sha256"] == Bundle.load().base_sha256
    assert record["rows"] == {"train": 268, "dev": 92}
    assert record["settings"]["seed"] == 1 and record["settings"]["alarms"] == ["ticket"]
    assert (trained / "bundle" / "specialists" / "my-kinds.safetensors").stat().st_size < 2_000_000


def test_evaluate_scores_unseen_rows(trained, capsys):
    write(trained / "later.csv", rows(3, 40))
    asked = ["evaluate", "--bundle", str(trained / "bundle"), "--task", "my-kinds", "--labels", str(trained / "later.csv")]
    assert main([*asked, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == 120 and result["accuracy"] > 0.95 and result["accuracy_interval"][0] <= result["accuracy"]
    recalls, rates = ([row[key] for row in result["thresholds"]] for key in ("recall", "fpr"))
    assert recalls == sorted(recalls, reverse=True) and rates == sorted(rates, reverse=True)
    assert main(asked) == 0
    assert "precision" in capsys.readouterr().out
    write(trained / "other.csv", [("x", "never heard of")])
    assert main([*asked[:-1], str(trained / "other.csv")]) == 2
    assert "has no label 'never heard of'" in capsys.readouterr().err


def test_a_file_not_finished_is_no_specialist(tmp_path, monkeypatch, capsys):
    """Killed while it writes over an older one: there is nothing to add, rather than parts of two."""
    from edge_demist.train import custom

    def killed(*_):
        raise OSError(28, "No space left on device")

    write(tmp_path / "rows.csv", rows(1, 12, ("file", "mail")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "t.safetensors").write_text("old")
    monkeypatch.setattr(custom.safetensors, "write", killed)
    given = ["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out"), "--epochs", "1", "--layers", "1"]
    assert main(["train", *given]) == 1
    assert main(["bundle", "add", str(tmp_path / "out"), "--out", str(tmp_path / "bundle")]) == 2
    assert "neither a specialist's folder" in capsys.readouterr().err and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("numbers", [False, True])
def test_files_of_rows(tmp_path, suffix, numbers):
    table = [(text, {"file": 0, "mail": 1, "ticket": 2}[label] if numbers else label) for text, label in rows(3, 20)]
    table[0] = ('a,"b" \t c' if suffix not in (".tsv", ".csv") else 'a,"b"', table[0][1])
    table[1] = ("NA", table[1][1])
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in table))
    elif suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist([{"text": text, "label": label} for text, label in table]), path)
    elif suffix == ".tsv":
        path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in table))
    else:
        write(path, table)
    expected = [(text, str(label)) for text, label in table]
    assert read_pairs(path) == expected
    train, dev = split(path, expected, None, None, 1)
    assert sorted(train + dev) == sorted(expected)
    assert split(path, expected, None, None, 1) == (train, dev)


@pytest.mark.parametrize(("harmless", "held"), [(5000, 500), (1900, 300), (1000, 300), (600, 200), (60, 20)])
def test_of_harmless_rows_enough_for_one_in_a_hundred_are_kept_where_that_is_no_more_than_a_third(harmless, held):
    table = [(f"h{i}", "mail" if i % 2 else "ticket") for i in range(harmless)] + [(f"a{i}", "attack") for i in range(100)]
    _, dev = split(Path("rows.csv"), table, None, None, 1, ("attack",))
    counts = Counter(label for _, label in dev)
    assert counts["attack"] == 10 and held <= counts["mail"] + counts["ticket"] <= held + 1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.sampled_from("abc")), min_size=15, max_size=60), st.integers(0, 9))
def test_no_text_is_trained_on_and_calibrated_on(tmp_path_factory, table, seed):
    counts = Counter(label for _, label in dict.fromkeys(table))
    try:
        train, dev = split(tmp_path_factory.getbasetemp() / "rows.csv", table, None, None, seed)
    except InputError:
        assert len(counts) < 2 or min(counts.values()) < 5 or len({text for text, _ in table}) < len(set(table))
        return
    assert {text for text, _ in train}.isdisjoint({text for text, _ in dev})
    assert {label for _, label in train} == {label for _, label in dev} == set(counts)


def test_a_text_of_dev_is_not_trained_on(tmp_path, capsys):
    train, dev = rows(4, 30), rows(5, 10)
    shared = [train[0], train[40], train[80]]
    kept, held = split(tmp_path / "t.csv", train, tmp_path / "d.csv", dev + shared, 1)
    assert {text for text, _ in kept}.isdisjoint({text for text, _ in held})
    assert set(shared) <= set(held)
    assert "left out" in capsys.readouterr().err


BAD = {
    "no such column": ("text,kind\na,b\n", "no column 'label'"),
    "no rows": ("text,label\n", "no rows"),
    "an empty text": ("text,label\na,x\n,x\n", "row 2 has no text"),
    "an empty label": ("text,label\na,x\nb,\n", "row 2 has no label"),
    "a short row": ("text,label\na,x\nb\n", "row 2 has no label"),
    "a rare label": ("text,label\n" + "".join(f"a{i},x\n" for i in range(20)) + "b,y\n", "label 'y' has 1 rows"),
    "one label": ("text,label\n" + "".join(f"a{i},x\n" for i in range(20)), "1 labels"),
    "a quote that never ends": ('text,label\n"a,x\n', "cannot be read as .csv"),
    "not text": ("\0\1\2", "rows.csv: "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_named(tmp_path, capsys, case):
    content, message = BAD[case]
    (tmp_path / "rows.csv").write_text(content)
    assert main(["train", "--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "content"), [
    ("latin.csv", "text,label\nGr\xf6\xdfe,a\n".encode("latin-1")),
    ("cut.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "la'),
    ("list.jsonl", b"[1]\n"),
    ("cut.parquet", b"PAR1\x00\x00"),
    ("empty.csv", b""),
])  # fmt: skip
def test_files_that_cannot_be_read_are_named(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert main(["train", "--labels", str(tmp_path / name), "--task", "t", "--out", str(tmp_path / "out")]) == 2
    assert f"{name}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_arguments_are_found_before_torch_is_loaded(tmp_path):
    """Importing torch takes seconds: a wrong argument must not cost them."""
    write(tmp_path / "rows.csv", rows(1, 20))
    write(tmp_path / "few.csv", rows(2, 5, ("file", "mail")))
    given = ["train", "--labels", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out")]
    wrong = [
        ([], "--task"),
        (["--task", "Big Name"], "1 to 64 of a-z"),
        (["--task", "t", "--layers", "0"], "--layers"),
        (["--task", "t", "--svd-energy", "2"], "--svd-energy"),
        (["--task", "t", "--normalizer", "none"], "--normalizer"),
        (["--task", "t", "--alarm", "nothing"], "no row has that label"),
        (["--task", "t", "--alarm", "file", "mail", "ticket"], "names every label"),
        (["--task", "t", "--all-but", "file", "mail", "ticket"], "names every label"),
        (["--task", "t", "--alarm", "file", "--all-but", "mail"], "exclude each other"),
        (["--task", "t", "--bundle", str(tmp_path)], "no readable bundle"),
        (["--task", "t", "--dev", str(tmp_path / "rows.xlsx")], "files end in"),
        (["--task", "t", "--dev", str(tmp_path / "none.csv")], "none.csv"),
        (["--task", "t", "--ood-file", str(tmp_path / "none.txt")], "none.txt"),
        (["--task", "t", "--text-column", "what"], "no column 'what'"),
        (["--task", "t", "--alarm", "ticket", "--dev", str(tmp_path / "few.csv")], "thresholds of alarms need"),
    ]
    code = """
import contextlib, io, json, sys
from edge_demist.cli import main
for arguments, message in json.loads(sys.argv[1]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    assert code == 2 and message in told.getvalue(), (arguments, code, told.getvalue())
assert "torch" not in sys.modules and "sklearn" not in sys.modules
"""
    cases = json.dumps([[given + more, message] for more, message in wrong])
    done = subprocess.run([sys.executable, "-c", code, cases], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()


def test_without_the_extra_it_says_so(tmp_path, capsys, monkeypatch):
    import importlib.util

    write(tmp_path / "rows.csv", rows(1, 20))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else real(name, *more))
    assert main(["train", "--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'edge-demist[train]'" in capsys.readouterr().err


def test_all_but_is_every_other_label():
    assert alarms_of("abc", [], ["a"]) == ("b", "c")
    assert alarms_of("abc", ["a"], []) == ("a",)
    assert alarms_of("abc", [], []) == ()


def test_more_tokens_than_the_bundle_reads_are_as_many_as_it_reads(tmp_path):
    from edge_demist.format import safetensors
    from edge_demist.format.bundle import Bundle

    write(tmp_path / "rows.csv", rows(1, 12, ("file", "mail")))
    given = ["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out"), "--epochs", "1", "--layers", "1"]
    assert main(["train", *given, "--max-tokens", "100000", "--energy", "0.5"]) == 0
    metadata, _ = safetensors.read(tmp_path / "out" / "t.safetensors")
    assert metadata["max_tokens"] == str(Bundle.load().limits.max_tokens)


def test_dev_may_lack_a_label_but_not_have_another(tmp_path, capsys):
    train, dev = rows(1, 20), rows(2, 20, ("file", "mail"))
    kept, held = split(tmp_path / "t.csv", train, tmp_path / "d.csv", dev, 1)
    assert {label for _, label in kept} - {label for _, label in held} == {"ticket"}
    assert "'ticket'" in capsys.readouterr().err
    with pytest.raises(InputError, match="'ticket'"):
        split(tmp_path / "d.csv", dev, tmp_path / "t.csv", train, 1)


def test_a_graph_without_inputs_for_an_adapter_is_left_out(trained, tmp_path, capsys, bundle_copy, rehash):
    from edge_demist import EdgeDemist

    graph = (bundle_copy / "encoder.onnx").read_bytes()
    (bundle_copy / "encoder.onnx").write_bytes(graph.replace(b"lora.0.qkv.A", b"lora.0.qkx.A"))
    rehash(bundle_copy)
    asked = ["bundle", "add", str(trained / "new"), "--bundle", str(bundle_copy), "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    assert "encoder.onnx is left out" in capsys.readouterr().err
    with EdgeDemist.load(tmp_path / "out") as model:
        assert model.classify("MAIL-555", task="my-kinds").pop().label == "ticket"


def test_the_encoder_of_a_bundle_is_what_is_served():
    """Its vectors are those of the runtime, up to the rounding of activations and of bfloat16."""
    from edge_demist import EdgeDemist
    from edge_demist.format.bundle import Bundle
    from edge_demist.train.encoder import BundleTokenizer, encoder_of
    from edge_demist.train.network import Network, padded
    from edge_demist.train.rows import pack

    texts = ["www.kernel.org", "mail.example.com", "a", "/index.php?id=1' or '1'='1", "größe.例え"]
    bundle = Bundle.load()
    net = Network(encoder_of(bundle), {})
    rows = pack(texts, BundleTokenizer(bundle), 128)
    ids, lengths = padded(rows, np.arange(len(texts)))
    with torch.no_grad():
        ours = net.pooled(ids, lengths)[1].numpy()
    with EdgeDemist.load() as model:
        served = model.encode(texts, projected=False)
    cosine = (ours * served).sum(1) / np.linalg.norm(ours, axis=1)
    assert cosine.min() > 0.99


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.integers(4, 12))
def test_rows_are_cut_as_the_runtime_cuts_them(texts, limit):
    from edge_demist.format.bundle import Bundle
    from edge_demist.normalizers import to_bytes
    from edge_demist.text.tokenizer import Tokenizer
    from edge_demist.train.encoder import BundleTokenizer
    from edge_demist.train.rows import pack

    bundle = Bundle.load()
    rows = pack(texts, BundleTokenizer(bundle), limit)
    ids, offsets = Tokenizer(bundle).encode_batch([to_bytes(t) for t in texts], limit, add_special_tokens=True)
    assert rows.ids.tolist() == ids.tolist()
    assert rows.cu.tolist() == offsets.tolist()


@pytest.mark.parametrize("classes", [2, 5, 90])
def test_an_own_table_knows_its_rows(classes):
    from edge_demist.format.bundle import Bundle
    from edge_demist.train.columns import MOST_COLUMNS, TABLE_BYTES
    from edge_demist.train.custom import own_table
    from edge_demist.train.encoder import BundleTokenizer
    from edge_demist.train.rows import pack

    y = np.arange(600) % classes
    texts = [f"{WORDS[k % 10]}{WORDS[k // 10]}-{i}" for i, k in enumerate(y)]
    rows = pack(texts, BundleTokenizer(Bundle.load()), 32, y)
    table, (weight, bias) = own_table(rows, classes, 1)
    assert table.weight.shape == (table.config.buckets, table.config.dim)
    assert table.weight.numel() <= TABLE_BYTES and table.config.dim <= MOST_COLUMNS
    assert table.config.dim % 16 == 0
    logits = table.vectors(rows, np.arange(len(rows))).numpy() @ weight + bias
    assert (logits.argmax(1) == y).mean() > 0.95


def test_training_starts_from_the_regression():
    from edge_demist.train.fit import start_at

    rng = np.random.default_rng(0)
    for classes in (2, 4):
        y = rng.integers(0, classes, 400)
        x = (3 * np.eye(classes, 6)[y] + rng.normal(size=(400, 6))).astype(np.float32)
        head = torch.nn.Linear(6, classes)
        start_at(head, x, y)
        with torch.no_grad():
            answers = head(torch.from_numpy(x)).argmax(1).numpy()
        assert (answers == y).mean() > 0.9
    wide = torch.nn.Linear(6, 5)  # label 4 is in no row
    start_at(wide, x, y)
    with torch.no_grad():
        assert not (wide(torch.from_numpy(x)).argmax(1) == 4).any()


def test_rows_are_taken_whole():
    from edge_demist.format.bundle import Bundle
    from edge_demist.train.encoder import BundleTokenizer
    from edge_demist.train.rows import pack

    texts = ["one", "", "three.example", "größe", "x"]
    tokenizer = BundleTokenizer(Bundle.load())
    rows = pack(texts, tokenizer, 32, np.arange(5))
    for index in ([3, 0, 3], [1], []):
        some, expected = rows.take(np.array(index, np.int64)), pack([texts[i] for i in index], tokenizer, 32, np.array(index, np.int64))
        assert some.cu.tolist() == expected.cu.tolist() and some.ids.tolist() == expected.ids.tolist()
        assert some.off.tolist() == expected.off.tolist()
        assert some.data[: some.off[-1]].tobytes() == "".join(texts[i] for i in index).encode()
        assert some.y.tolist() == index


def test_biases_are_found_again():
    from edge_demist.train.calibration import fit_biases, softmax

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)).astype(np.float32) * 2
    bias = np.array([1.0, -0.5, 0.0, -0.5])
    chosen = (softmax(logits + bias).cumsum(1) < rng.random((20_000, 1))).sum(1)
    np.testing.assert_allclose(fit_biases(logits, chosen), bias, atol=0.06)

"""A specialist on somebody's own labels: rows in, bundle out, answers."""

from __future__ import annotations

import json
import random
import warnings

import numpy as np
import pytest
from conftest import ROOT  # noqa: F401  (puts the source tree on the path)
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

WORDS = ["cloud", "mail", "shop", "news", "game", "bank", "school", "travel", "photo", "music"]


def text_of(rng, label):
    if label == "ticket":
        return f"{rng.choice(WORDS).upper()}-{rng.randint(100, 99999)}"
    if label == "mail":
        return f"{rng.choice(WORDS)}.{rng.choice(WORDS)}@{rng.choice(WORDS)}.example"
    return f"/srv/{rng.choice(WORDS)}/{rng.choice(WORDS)}-{rng.randint(1, 99)}.log"


def rows(seed, each, labels=("file", "mail", "ticket")):
    """``each`` different texts a label."""
    rng = random.Random(seed)
    found = {}
    for label in labels:
        while sum(name == label for name in found.values()) < each:
            found[text_of(rng, label)] = label
    return pandas.DataFrame(found.items(), columns=["text", "label"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A specialist of three kinds of strings on the packaged bundle, added to it."""
    from quantize.cli import main as quantize
    from tools.train import custom

    folder = tmp_path_factory.mktemp("own")
    rows(1, 120).to_csv(folder / "rows.csv", index=False)
    (folder / "foreign.txt").write_text("GET / HTTP/1.1\nMozilla/5.0 (X11; Linux x86_64)\n")
    given = ["--labels", str(folder / "rows.csv"), "--foreign", str(folder / "foreign.txt"), "--alarm", "ticket"]
    before = warnings.filters[:]
    assert custom.main([*given, "--task", "my-kinds", "--out", str(folder / "adapters"), "--epochs", "3", "--tokens", "512"]) == 0
    assert warnings.filters == before
    assert quantize(["add", str(folder / "adapters"), "--out", str(folder / "bundle")]) == 0
    return folder


def test_it_answers_through_the_bundle(trained):
    from edge_demist import EdgeDemist

    unseen = rows(2, 60)
    with EdgeDemist.load(trained / "bundle") as model:
        assert set(EdgeDemist.load().tasks) | {"my-kinds"} == set(model.tasks)
        answers = model.classify(list(unseen["text"]), task="my-kinds")
        alarms = model.classify(list(unseen["text"]), task="my-kinds", fpr=0.01)
        strange = model.classify(["The quick brown fox jumps over the lazy dog, as everybody knows by now."], task="my-kinds")
    assert np.mean([a.label == y for a, y in zip(answers, unseen["label"], strict=True)]) > 0.95
    assert np.mean([(a.label == "ticket") == (y == "ticket") for a, y in zip(alarms, unseen["label"], strict=True)]) > 0.95
    assert strange[0].score < 0.5


def test_the_record_says_how_it_was_made(trained):
    from edge_demist.format.bundle import Bundle

    record = json.loads((trained / "adapters" / "my-kinds" / "training.json").read_text())
    assert record["base_sha256"] == Bundle.load().base_sha256
    assert set(record["data_sha256"]) == {"labels", "foreign"}
    assert record["rows"] == {"train": 324, "dev": 36}
    assert set(record["dev"]["classes"]) == {"file", "mail", "ticket"}
    assert record["command"]["seed"] == "1"
    file = trained / "bundle" / "specialists" / "my-kinds.safetensors"
    assert file.stat().st_size < 2_000_000


def test_a_folder_not_finished_is_no_specialist(tmp_path, monkeypatch):
    """Killed while it writes over an older one: quantize finds nothing there to add, rather than parts of two."""
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.extend import add_specialists
    from quantize.errors import QuantizeError
    from tools.train import custom, specialist

    def killed(*_):
        raise OSError("no space left on device")

    rows(1, 12, ("file", "mail")).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "out" / "t").mkdir(parents=True)
    (tmp_path / "out" / "t" / "specialist.json").write_text("{}")
    monkeypatch.setattr(specialist, "save_file", killed)
    given = ["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out"), "--epochs", "1", "--layers", "1"]
    assert custom.main(given) == 1
    with pytest.raises(QuantizeError, match="neither a specialist's folder"):
        add_specialists(Bundle.load(), [tmp_path / "out" / "t"], tmp_path / "bundle")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_files_of_rows(tmp_path, suffix):
    from tools.train.custom import read_rows

    table = rows(3, 20)
    table.loc[0, "text"] = 'a,"b" \t c' if suffix not in (".tsv", ".csv") else 'a,"b"'
    table.loc[1, "text"] = "NA"
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".tsv":
        path.write_text("text\tlabel\n" + "".join(f"{t}\t{n}\n" for t, n in zip(table["text"], table["label"], strict=True)))
    else:
        table.to_csv(path, index=False)
    train, dev = read_rows(path, None, 1)
    assert sorted([*train["text"], *dev["text"]]) == sorted(table["text"])
    assert not set(train["text"]) & set(dev["text"])
    again = read_rows(path, None, 1)
    assert list(again[0]["text"]) == list(train["text"])


def test_a_text_of_dev_is_not_trained_on(tmp_path, capsys):
    from tools.train.custom import read_rows

    train, dev = rows(4, 30), rows(5, 10)
    shared = train.iloc[[0, 40, 80]]
    train.to_csv(tmp_path / "train.csv", index=False)
    pandas.concat([dev, shared]).to_csv(tmp_path / "dev.csv", index=False)
    kept, held = read_rows(tmp_path / "train.csv", tmp_path / "dev.csv", 1)
    assert not set(kept["text"]) & set(held["text"])
    assert set(shared["text"]) <= set(held["text"])
    assert "left out" in capsys.readouterr().err


BAD = {
    "no such column": ("text,kind\na,b\n", "no column 'label'"),
    "no rows": ("text,label\n", "no rows"),
    "an empty text": ("text,label\na,x\n,x\n", "row 2 has no text"),
    "an empty label": ("text,label\na,x\nb,\n", "row 2 has no label"),
    "a rare label": ("text,label\n" + "".join(f"a{i},x\n" for i in range(20)) + "b,y\n", "label 'y' has 1 rows"),
    "one label": ("text,label\n" + "".join(f"a{i},x\n" for i in range(20)), "1 labels"),
    "not text": ("\0\1\2", "no column"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_named(tmp_path, capsys, case):
    from tools.train import custom

    content, message = BAD[case]
    (tmp_path / "rows.csv").write_text(content)
    assert custom.main(["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "content"), [
    ("latin.csv", "text,label\nGr\xf6\xdfe,a\n".encode("latin-1")),
    ("cut.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "la'),
    ("cut.parquet", b"PAR1\x00\x00"),
    ("empty.csv", b""),
])  # fmt: skip
def test_files_that_cannot_be_read_are_named(tmp_path, capsys, name, content):
    from tools.train import custom

    (tmp_path / name).write_bytes(content)
    assert custom.main(["--labels", str(tmp_path / name), "--task", "t", "--out", str(tmp_path / "out")]) == 1
    assert f"{name}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_foreign_strings_are_read_before_training(tmp_path, capsys, monkeypatch):
    from tools.train import custom

    monkeypatch.setattr(custom, "train", lambda *_: pytest.fail("trained first"))
    rows(1, 20).to_csv(tmp_path / "rows.csv", index=False)
    given = ["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out"), "--foreign", str(tmp_path / "none.txt")]
    assert custom.main(given) == 1
    assert "none.txt" in capsys.readouterr().err


def test_bad_arguments(tmp_path, capsys):
    from tools.train import custom

    rows(1, 20).to_csv(tmp_path / "rows.csv", index=False)
    given = ["--labels", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out"), "--task"]
    for wrong in (["Big Name"], ["t", "--layers", "0"], ["t", "--energy", "2"], ["t", "--normalizer", "none"], []):
        with pytest.raises(SystemExit) as stopped:
            custom.main([*given, *wrong])
        assert stopped.value.code == 2
    for wrong, message in (
        (["t", "--alarm", "nothing"], "no row has that label"),
        (["t", "--alarm", "file", "mail", "ticket"], "names every label"),
        (["t", "--bundle", str(tmp_path)], "no readable bundle"),
        (["t", "--dev", str(tmp_path / "rows.xlsx")], "files end in"),
        (["t", "--dev", str(tmp_path / "none.csv")], "none.csv"),
    ):
        capsys.readouterr()
        assert custom.main([*given, *wrong]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_alarms_need_both_kinds_to_calibrate_on(tmp_path, capsys):
    from tools.train import custom

    rows(1, 20).to_csv(tmp_path / "rows.csv", index=False)
    for labels in (("file", "mail"), ("ticket",)):
        rows(2, 5, labels).to_csv(tmp_path / "dev.csv", index=False)
        given = ["--labels", str(tmp_path / "rows.csv"), "--dev", str(tmp_path / "dev.csv"), "--out", str(tmp_path / "out")]
        assert custom.main([*given, "--task", "t", "--alarm", "ticket"]) == 1
        assert "dev.csv: thresholds of alarms need" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_labels_may_be_numbers(tmp_path, suffix):
    from tools.train.custom import read_rows

    table = rows(6, 20, ("file", "mail")).assign(label=[0] * 20 + [1] * 20)
    path = tmp_path / f"rows{suffix}"
    writers = {".csv": lambda: table.to_csv(path, index=False), ".parquet": lambda: table.to_parquet(path)}
    writers.get(suffix, lambda: table.to_json(path, orient="records", lines=True))()
    train, dev = read_rows(path, None, 1)
    assert set(train["label"]) == set(dev["label"]) == {"0", "1"}


def test_more_tokens_than_the_bundle_reads_are_as_many_as_it_reads(tmp_path):
    from edge_demist.format.bundle import Bundle
    from tools.train import custom

    rows(1, 12, ("file", "mail")).to_csv(tmp_path / "rows.csv", index=False)
    given = ["--labels", str(tmp_path / "rows.csv"), "--task", "t", "--out", str(tmp_path / "out"), "--epochs", "1", "--layers", "1"]
    assert custom.main([*given, "--max-tokens", "100000"]) == 0
    described = json.loads((tmp_path / "out" / "t" / "specialist.json").read_text())
    assert described["max_tokens"] == Bundle.load().limits.max_tokens


def test_dev_may_lack_a_label_but_not_have_another(tmp_path, capsys):
    from tools.train.custom import read_rows

    rows(1, 20).to_csv(tmp_path / "train.csv", index=False)
    rows(2, 20, ("file", "mail")).to_csv(tmp_path / "dev.csv", index=False)
    train, dev = read_rows(tmp_path / "train.csv", tmp_path / "dev.csv", 1)
    assert set(train["label"]) - set(dev["label"]) == {"ticket"}
    assert "'ticket'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'ticket'"):
        read_rows(tmp_path / "dev.csv", tmp_path / "train.csv", 1)


def test_the_encoder_of_a_bundle_is_what_is_served():
    """Its vectors are those of the runtime, up to the rounding of activations and of bfloat16."""
    from edge_demist import EdgeDemist
    from edge_demist.format.bundle import Bundle
    from tools.train.data import pack
    from tools.train.network import Network, padded
    from tools.train.shipped import BundleTokenizer, encoder_of

    texts = ["www.kernel.org", "mail.example.com", "a", "/index.php?id=1' or '1'='1", "größe.例え"]
    bundle = Bundle.load()
    net = Network(encoder_of(bundle), {})
    rows = pack(texts, BundleTokenizer(bundle), 128)
    ids, lengths = padded(rows, np.arange(len(texts)))
    with torch.no_grad():
        ours = net.pooled(ids, lengths)[1].numpy()
    with EdgeDemist.load() as model:
        served = model.encode(texts)
    cosine = (ours * served).sum(1) / np.linalg.norm(ours, axis=1)
    assert cosine.min() > 0.99


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.integers(4, 12))
def test_rows_are_cut_as_the_runtime_cuts_them(texts, limit):
    from edge_demist.format.bundle import Bundle
    from edge_demist.normalizers import to_bytes
    from edge_demist.text.tokenizer import Tokenizer
    from tools.train.data import pack
    from tools.train.shipped import BundleTokenizer

    bundle = Bundle.load()
    rows = pack(texts, BundleTokenizer(bundle), limit)
    ids, offsets = Tokenizer(bundle).encode_batch([to_bytes(t) for t in texts], limit, add_special_tokens=True)
    assert rows.ids.tolist() == ids.tolist()
    assert rows.cu.tolist() == offsets.tolist()


@pytest.mark.parametrize("classes", [2, 5, 90])
def test_an_own_table_knows_its_rows(classes):
    from edge_demist.format.bundle import Bundle
    from tools.train.custom import own_table
    from tools.train.data import pack
    from tools.train.own_table import MOST_COLUMNS, TABLE_BYTES
    from tools.train.shipped import BundleTokenizer

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
    from tools.train.lora import start_at

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
    from tools.train.data import pack
    from tools.train.shipped import BundleTokenizer

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
    from tools.train.calibration import fit_biases, softmax

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)).astype(np.float32) * 2
    bias = np.array([1.0, -0.5, 0.0, -0.5])
    chosen = (softmax(logits + bias).cumsum(1) < rng.random((20_000, 1))).sum(1)
    np.testing.assert_allclose(fit_biases(logits, chosen), bias, atol=0.06)

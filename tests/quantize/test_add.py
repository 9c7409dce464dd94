"""Specialists added to a bundle without its checkpoint, and specialists with an n-gram table of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("sentencepiece")

from edge_demist import EdgeDemist
from edge_demist.errors import BundleError, InputError, SignatureError
from edge_demist.format import keys, safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.int8 import from_panels, to_panels
from edge_demist.format.signing import MAX_SPECIALIST_BYTES, Policy, read_public_key
from edge_demist.format.specialist import load_specialist
from edge_demist.text.ngrams import Ngrams
from quantize.cli import main
from quantize.convert import convert_checkpoint, encoder_tensors
from quantize.errors import CheckpointError
from quantize.extend import add_specialists
from quantize.unpack import read_encoder
from tests.support.checkpoints import HIDDEN, LABELS, write_adapter, write_checkpoint

TEXTS = ["kernel.org", "xjqzvwpk8r3t.info", "a", "www.gov.uk", "größe.example"]


def write_own_table(folder: Path, buckets: int = 256, dim: int = 16, seed: int = 5) -> None:
    """Give a specialist's folder an n-gram table of its own, and a head that reads it."""
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, (buckets, dim)).astype(np.float32)
    safetensors.write(folder / "ngrams.safetensors", {"weight": weight}, {"min_n": "1", "max_n": "3", "max_bytes": "64"})
    head = {
        "weight": random.normal(0, 1, (HIDDEN, len(LABELS))).astype(np.float32),
        "ngram_weight": random.normal(0, 1, (dim, len(LABELS))).astype(np.float32),
        "bias": np.zeros(len(LABELS), np.float32),
        "domain_weight": np.zeros(HIDDEN, np.float32),
        "domain_ngram_weight": random.normal(0, 1, dim).astype(np.float32),
        "domain_bias": np.ones(1, np.float32),
    }
    safetensors.write(folder / "head.safetensors", head)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``checkpoint``, ``bundle`` made of it, and two specialists beside it in ``new``."""
    folder = tmp_path_factory.mktemp("add")
    checkpoint = write_checkpoint(folder / "checkpoint")
    convert_checkpoint(checkpoint, folder / "bundle", version=4)
    write_adapter(folder / "new", "mine", (0,), seed=9)
    write_adapter(folder / "new", "own", (1,), seed=10)
    write_own_table(folder / "new" / "own")
    return folder


@pytest.fixture(scope="module")
def extended(made: Path) -> Path:
    add_specialists(Bundle.load(made / "bundle"), [made / "new"], made / "extended")
    return made / "extended"


def test_panels_and_back() -> None:
    values = np.random.default_rng(0).integers(-127, 128, (64, 48), dtype=np.int8)
    assert (from_panels(to_panels(values)) == values).all()


def test_a_bundle_read_back_quantizes_to_itself(made: Path) -> None:
    bundle = Bundle.load(made / "bundle")
    again = encoder_tensors(read_encoder(bundle))
    assert set(again) == {name for name in bundle.tensors if not name.startswith("ngrams.")}
    for name, tensor in again.items():
        assert tensor.dtype == bundle.tensors[name].dtype
        if tensor.dtype.kind == "i":
            assert (tensor == bundle.tensors[name]).all(), name
        else:
            np.testing.assert_allclose(tensor, bundle.tensors[name], rtol=1e-6, err_msg=name)


def test_what_was_there_stays_byte_for_byte(made: Path, extended: Path) -> None:
    old, new = Bundle.load(made / "bundle"), Bundle.load(extended, hash_all=True)
    assert new.tasks == ("dga", "mine", "own", "threat")
    assert (new.version, new.name, new.base_sha256) == (5, old.name, old.base_sha256)
    for name in ("weights.safetensors", "tokenizer.safetensors", "specialists/dga.safetensors", "specialists/threat.safetensors"):
        assert (new.path / name).read_bytes() == (old.path / name).read_bytes(), name
    assert new.manifest["extends"]["bundle"] == old.id
    assert set(new.manifest["extends"]["added"]) == {"mine", "own"}
    card = (extended / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith((made / "bundle/MODEL_CARD.md").read_text(encoding="utf-8").rstrip())
    assert "**mine**" in card and "made up" in card
    with EdgeDemist.load(old.path) as before, EdgeDemist.load(extended) as after:
        for task in old.tasks:
            assert [a.score for a in before.classify(TEXTS, task)] == [a.score for a in after.classify(TEXTS, task)]


def test_the_same_as_a_build_from_the_checkpoint(made: Path, extended: Path, tmp_path: Path) -> None:
    convert_checkpoint(made / "checkpoint", tmp_path / "whole", version=5, adapters=[made / "new"])
    for name in ("encoder.onnx", "specialists/mine.safetensors", "specialists/own.safetensors"):
        assert (extended / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_an_own_table_is_what_the_head_reads(extended: Path) -> None:
    bundle = Bundle.load(extended)
    specialist = load_specialist(bundle, "own")
    assert specialist.ngrams is not None
    assert specialist.ngrams.weight.shape == (256, 16)
    with EdgeDemist.load(extended) as model:
        pooled = model.encode(TEXTS, task="own", normalize_embeddings=False)
        raws = [text.encode() if text.isascii() else text.encode("idna") for text in TEXTS]
        expected = specialist.probabilities(pooled, Ngrams(specialist.ngrams).encode_batch(raws))
        batch = model.classify(TEXTS, "own", top_k=0)
        alone = [model.classify(text, "own", top_k=0)[0] for text in TEXTS]
        mixed = model.classify(TEXTS + TEXTS + TEXTS, ["own"] * 5 + ["dga"] * 5 + ["mine"] * 5, top_k=0)
        separate = [*batch, *model.classify(TEXTS, "dga", top_k=0), *model.classify(TEXTS, "mine", top_k=0)]
    for row, answer in zip(expected, batch, strict=True):
        np.testing.assert_allclose([dict(answer.scores)[label] for label in LABELS], row, rtol=2e-4, atol=1e-6)
    assert [a.scores for a in alone] == [a.scores for a in batch]
    assert [a.scores for a in mixed] == [a.scores for a in separate]


def test_engines_agree_on_an_own_table(extended: Path) -> None:
    pytest.importorskip("onnxruntime")
    with EdgeDemist.load(extended) as native, EdgeDemist.load(extended, engine="onnxruntime") as other:
        for a, b in zip(native.classify(TEXTS, "own"), other.classify(TEXTS, "own"), strict=True):
            assert a.label == b.label
            assert a.score == pytest.approx(b.score, abs=1e-3)


def test_a_task_is_replaced_only_on_request(made: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(made / "bundle")
    write_adapter(tmp_path / "other", "dga", (0,), seed=77)
    with pytest.raises(InputError, match="has dga already"):
        add_specialists(bundle, [tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    add_specialists(bundle, [tmp_path / "other" / "dga"], tmp_path / "out", replace=True)
    new = Bundle.load(tmp_path / "out")
    assert new.tasks == bundle.tasks
    assert new.files["specialists/dga.safetensors"] != bundle.files["specialists/dga.safetensors"]
    assert new.files["specialists/threat.safetensors"] == bundle.files["specialists/threat.safetensors"]


def test_refusals_say_why_and_leave_nothing(made: Path, extended: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(made / "bundle")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="below the 4"):
        add_specialists(bundle, [made / "new"], out, version=3)
    with pytest.raises(InputError, match="choose another folder"):
        add_specialists(bundle, [made / "new"], made / "bundle", overwrite=True)
    with pytest.raises(InputError, match="given twice"):
        add_specialists(bundle, [made / "new/mine", made / "new"], out)
    with pytest.raises(InputError, match="neither a specialist's folder"):
        add_specialists(bundle, [made / "checkpoint" / "nothing"], out)
    write_checkpoint(tmp_path / "else", seed=3, adapters=False)
    convert_checkpoint(tmp_path / "else", tmp_path / "another")
    with pytest.raises(BundleError, match="made for another base"):
        add_specialists(Bundle.load(tmp_path / "another"), [extended / "specialists/mine.safetensors"], out)
    shutil.copytree(made / "new" / "own", tmp_path / "wrong")
    safetensors.write(tmp_path / "wrong" / "head.safetensors", {"weight": np.zeros((HIDDEN, 2), np.float32)})
    with pytest.raises(CheckpointError):
        add_specialists(bundle, [tmp_path / "wrong"], out)
    with (tmp_path / "huge.safetensors").open("wb") as stream:
        stream.truncate(MAX_SPECIALIST_BYTES + 1)
    with pytest.raises(InputError, match="larger than"):
        add_specialists(bundle, [tmp_path / "huge.safetensors"], out)
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_file_delivered_alone(made: Path, extended: Path, tmp_path: Path) -> None:
    bundle, file = Bundle.load(made / "bundle"), tmp_path / "delivered.safetensors"
    shutil.copyfile(extended / "specialists/own.safetensors", file)
    add_specialists(bundle, [file], tmp_path / "out")
    new = Bundle.load(tmp_path / "out")
    assert new.tasks == ("dga", "own", "threat")
    assert (new.path / "specialists/own.safetensors").read_bytes() == file.read_bytes()


def test_a_signature_is_demanded_of_files(made: Path, extended: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    bundle, file = Bundle.load(made / "bundle"), tmp_path / "own.safetensors"
    shutil.copyfile(extended / "specialists/own.safetensors", file)
    keys.generate(tmp_path / "private.pem", tmp_path / "public.pem")
    policy = Policy(read_public_key(tmp_path / "public.pem"), require_signature=True)
    with pytest.raises(SignatureError):
        add_specialists(bundle, [file], tmp_path / "out", policy=policy)
    keys.sign_specialist(file, tmp_path / "private.pem")
    add_specialists(bundle, [file], tmp_path / "out", policy=policy)
    with file.open("r+b") as stream:
        stream.seek(-3, 2)
        stream.write(b"\x55")
    with pytest.raises(SignatureError):
        add_specialists(bundle, [file], tmp_path / "again", policy=policy)


def test_as_a_user_calls_it(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["add", str(made / "new" / "mine"), "--bundle", str(made / "bundle"), "--out", str(out), "--name", "ours", "--version", "9"]
    (tmp_path / "card.md").write_text("# Größe\n", encoding="utf-8")
    arguments += ["--card", str(tmp_path / "card.md")]
    assert main(arguments) == 0
    bundle = Bundle.load(out)
    assert (bundle.name, bundle.version) == ("ours", 9)
    assert (out / "MODEL_CARD.md").read_text(encoding="utf-8") == "# Größe\n"
    assert bundle.id in capsys.readouterr().out
    (tmp_path / "latin.md").write_bytes(b"Gr\xf6\xdfe")
    assert main([*arguments[:-1], str(tmp_path / "latin.md"), "--overwrite"]) == 1
    assert "latin.md: not UTF-8" in capsys.readouterr().err
    assert main(arguments) == 1
    assert "already exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    with pytest.raises(SystemExit) as stopped:
        main(["add", "--out", str(out)])
    assert stopped.value.code == 2


def test_the_float_side_of_a_gate_reads_the_own_table(made: Path, tmp_path: Path) -> None:
    """With the folder's float table in place of the int8 one, n-gram vectors differ by rounding alone."""
    from quantize.convert import read_inputs
    from quantize.evaluate import ngram_vectors
    from quantize.pipeline import float_table

    convert_checkpoint(made / "checkpoint", tmp_path / "whole", adapters=[made / "new"])
    bundle, inputs = Bundle.load(tmp_path / "whole"), read_inputs(made / "checkpoint", [made / "new"])
    specialist = load_specialist(bundle, "own")
    weight = float_table(inputs, "own")
    assert weight is not None and weight.shape == (256, 16)
    assert inputs.ngrams is not None and float_table(inputs, "mine") is inputs.ngrams.weight
    exact, rounded = ngram_vectors(bundle, specialist, TEXTS, weight), ngram_vectors(bundle, specialist, TEXTS)
    assert exact is not None and rounded is not None
    assert np.abs(exact - rounded).max() < 0.1
    assert (exact != rounded).any()


HOSTILE = {
    "not JSON": ("{", None, "must be a JSON object"),
    "deep": ("[" * 100_000, None, "must be a JSON object"),
    "no object": ("[]", None, "must be an object"),
    "unknown key": ({"more": 1}, None, "unknown keys"),
    "buckets not a power of two": ({"buckets": 255}, None, "power of two"),
    "more buckets than rows": ({"buckets": 512}, None, r"int8 \[512, 16\]"),
    "dim not a multiple of 16": ({"dim": 24}, None, "multiple of 16"),
    "n too large": ({"max_n": 9}, None, "max_n"),
    "bytes too many": ({"max_bytes": 1 << 20}, None, "max_bytes"),
    "no scale": ({}, ("ngrams.scale", None), "ngrams.scale"),
    "no weight": ({}, ("ngrams.weight", None), "ngrams.weight"),
    "floats for weights": ({}, ("ngrams.weight", np.zeros((256, 16), np.float32)), "int8"),
    "a scale that is not finite": ({}, ("ngrams.scale", np.full(16, np.nan, np.float32)), "NaN"),
    "a scale that is not positive": ({}, ("ngrams.scale", np.zeros(16, np.float32)), "not positive"),
    "a table without a description": (None, None, "unexpected tensor 'ngrams"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_own_tables_are_refused(made: Path, extended: Path, tmp_path: Path, case: str) -> None:
    change, tensor, message = HOSTILE[case]
    metadata, mapped = safetensors.read(extended / "specialists/own.safetensors")
    tensors = {name: np.array(value) for name, value in mapped.items()}
    if isinstance(change, dict):
        metadata["ngrams"] = json.dumps({**json.loads(metadata["ngrams"]), **change})
    elif change is None:
        del metadata["ngrams"]
    else:
        metadata["ngrams"] = change
    if tensor:
        name, value = tensor
        tensors.pop(name)
        if value is not None:
            tensors[name] = value
    safetensors.write(tmp_path / "own.safetensors", tensors, metadata)
    with pytest.raises(BundleError, match=message):
        add_specialists(Bundle.load(made / "bundle"), [tmp_path / "own.safetensors"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_may_name_subclasses(made: Path, tmp_path: Path) -> None:
    for task in ("fine", "coarse"):
        write_adapter(tmp_path / "folders", task, (0,), seed=5)
    file = tmp_path / "folders/coarse/specialist.json"
    changes = {"labels": ["benign", "bad"], "positive_labels": ["bad"], "subclasses": [0, 1, 1]}
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    add_specialists(Bundle.load(made / "bundle"), [tmp_path / "folders"], tmp_path / "new")
    with EdgeDemist.load(tmp_path / "new") as model:
        fine, coarse = (model.classify(TEXTS, task, top_k=0) for task in ("fine", "coarse"))
    for one, other in zip(fine, coarse, strict=True):
        scores = dict(one.scores)
        assert dict(other.scores)["bad"] == pytest.approx(scores["dga"] + scores["other"], abs=1e-5)
        assert dict(other.scores)["benign"] == pytest.approx(scores["benign"], abs=1e-5)

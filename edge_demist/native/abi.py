"""The binary interface between Python and the compiled kernels: table layouts, limits and status codes.

Every table is a one-dimensional int64 array; addresses, counts and the bits of float32 numbers share it.
Python fills tables (``edge_demist.engines.base``, ``tokenizer``, ``ngrams``); ``edge_demist.kernels`` reads them.

Model table::

    header (MODEL_HEADER numbers)   then, per layer (LAYER_STRIDE numbers):
      0 num_layers                    4 x LINEAR_STRIDE: qkv, attn_out, ffn_up, ffn_down
      1 hidden_size                     0 weight   1 scale   2 bias   3 correction      (addresses)
      2 intermediate_size             16 norm1 weight  17 norm1 bias  18 norm2 weight  19 norm2 bias
      3 num_heads                   5 max_positions   7 word weight   9 position weight  11 norm bias
      4 vocab_size                  6 eps bits        8 word scale   10 norm weight   12 block_tokens

Adapter table: number of adapters, largest total rank, then per adapter num_layers x 4 linears x ADAPTER_STRIDE
numbers; an address of 0 means the base alone::

      0 A (float32 [total rank, K])   1 total rank, a multiple of 4
      then for each of three column sections (q, k, v of qkv; other linears use the first)
        0 first rank of the section   1 rank   2 B (float32 [rank, columns of the section])

Screen: weights float32 [rows, dim] and one bias each; then a table of NET_TABLE numbers a net::

      0 W1 (float32 [dim, width1])      1 b1 [width1]   2 width1
      3 W2 (float32 [width1, width2])   4 b2 [width2]   5 width2      widths: multiples of 64, at most NET_MAX_WIDTH
      6 w3 (float32 [width2])           7 b3 [1]

Head table: weights float32 [labels + 1, hidden + dim] (the last row is the domain's), bias float32 [labels + 1], labels,
hidden, dim of the n-gram vector (0: none), whether there is a domain.

General table, of the projection that makes general vectors: weight (int8 panels [K, H]), scale, bias and correction [H] as of a layer,
factors (float32 [3]: of the pooled vector, the n-grams, the words), H, dim of the n-gram vector, word weight, word scale, vocab_size.
"""

ABI_VERSION = 5

EXPORTS = {
    "encode": 9,
    "scratch_bytes": 4,
    "tokenize": 9,
    "ngrams": 6,
    "encode_text": 9,
    "head": 6,
    "classify_text": 10,
    "screen": 11,
    "encode_shared": 13,
    "shared_scratch_bytes": 4,
    "nearest": 9,
    "nearest_panels": 10,
    "project": 9,
    "project_text": 11,
}
"""The one table of exported functions: name (``demist_<name>`` in a library) and number of int64 arguments; all return int64."""
PREFIX = "demist_"

MODEL_HEADER = 16
NUM_LAYERS, HIDDEN_SIZE, INTERMEDIATE_SIZE, NUM_HEADS, VOCAB_SIZE, MAX_POSITIONS, NORM_EPS = range(7)
WORD_WEIGHT, WORD_SCALE, POSITION_WEIGHT, NORM_WEIGHT, NORM_BIAS, BLOCK_TOKENS = range(7, 13)

LAYER_STRIDE = 20
LINEAR_STRIDE = 4
QKV, ATTN_OUT, FFN_UP, FFN_DOWN = range(4)
NORM1_WEIGHT, NORM1_BIAS, NORM2_WEIGHT, NORM2_BIAS = range(16, 20)

ADAPTER_HEADER = 2
ADAPTER_COUNT, ADAPTER_MAX_RANK = range(2)
ADAPTER_STRIDE = 11
ADAPTER_A, ADAPTER_RANK, ADAPTER_SECTIONS = range(3)
MAX_TOTAL_RANK = 256
"""Upper limit of the ranks of one linear layer's adapter, q, k and v together."""

NEAREST_ROWS = 64
"""Rows of activations that the scratch of ``nearest_panels`` has room for: those of a tile, and spare ones."""

TOKENIZER_TABLE = 16
TRIE_BASE, TRIE_CHECK, TRIE_VALUE, TRIE_UNITS, SCORES, UNK_SCORE, BYTE_IDS_START = range(7)
PREFIX_IDS, PREFIX_COUNT, SUFFIX_IDS, SUFFIX_COUNT = range(7, 11)

NGRAM_TABLE = 8
NGRAM_WEIGHT, NGRAM_SCALE, NGRAM_BUCKETS, NGRAM_DIM, NGRAM_MIN, NGRAM_MAX, NGRAM_MAX_BYTES = range(7)

NET_TABLE = 8
NET_MAX_WIDTH = 256

HEAD_TABLE = 8
HEAD_WEIGHT, HEAD_BIAS, HEAD_LABELS, HEAD_HIDDEN, HEAD_DIM, HEAD_DOMAIN = range(6)
HEAD_SCRATCH = 2048
"""Bytes that ``classify_text`` needs beside what grows with labels, sizes and text."""

GENERAL_TABLE = 16
GENERAL_WEIGHT, GENERAL_SCALE, GENERAL_BIAS, GENERAL_CORRECTION, GENERAL_FACTORS = range(5)
GENERAL_HIDDEN, GENERAL_DIM, GENERAL_WORD, GENERAL_WORD_SCALE, GENERAL_VOCAB = range(5, 10)
GENERAL_ROWS = 64
"""Rows that the scratch of ``project`` has room for: those of a tile, and spare ones."""
GENERAL_SCRATCH = 8192 + 256
"""Bytes of that scratch beside the rows."""

STATUS_OK = 0
STATUS_OFFSETS = 1
STATUS_LENGTH = 2
STATUS_TOKEN = 3
STATUS_ADAPTER = 4
STATUS_BRANCH = 5
STATUS_BITS = 3
"""A failing call returns -(row << STATUS_BITS | status)."""

STATUS_TEXT = {
    STATUS_OFFSETS: "offsets must start at 0, never fall, and end at the number of items",
    STATUS_LENGTH: "a row must hold 1 to {max_positions} tokens",
    STATUS_TOKEN: "token ids must lie in [0, {vocab_size})",
    STATUS_ADAPTER: "the adapter index is not among the adapters given",
    STATUS_BRANCH: "branches must rise by row within their layer and name rows and outputs that exist",
}

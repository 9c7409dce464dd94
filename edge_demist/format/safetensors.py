"""A bounded reader and a deterministic writer of the safetensors format, with numpy alone.

Format: 8 bytes little-endian header length, JSON header, data
(https://github.com/huggingface/safetensors, section "Format"). Files are mapped read-only, or copied where somebody might still
write to them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge_demist.errors import BundleError, IntegrityError
from edge_demist.format import verified
from edge_demist.io import brief, open_regular, replacing

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER_BYTES = 1_000_000
MAX_TENSORS = 4096
MAX_DIMENSIONS = 8
ALIGNMENT = 64

Tensor: TypeAlias = "NDArray[np.generic]"

_DTYPES: Mapping[str, np.dtype[np.generic]] = MappingProxyType(
    {
        "I8": np.dtype("<i1"),
        "U8": np.dtype("u1"),
        "I16": np.dtype("<i2"),
        "I32": np.dtype("<i4"),
        "I64": np.dtype("<i8"),
        "F16": np.dtype("<f2"),
        "F32": np.dtype("<f4"),
    }
)
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse JSON objects that name a key twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _header(path: str, data: NDArray[np.uint8]) -> tuple[dict[str, object], int]:
    """Parse the JSON header; returns it with the offset of the data."""
    size, name = len(data), os.path.basename(path)
    if size < 8:
        raise BundleError(f"{name}: {size} bytes is too short for a safetensors file")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > MAX_HEADER_BYTES or length > size - 8:
        raise BundleError(f"{name}: header of {length} bytes exceeds the file or the limit of {MAX_HEADER_BYTES}")
    try:
        header = json.loads(data[8 : 8 + length].tobytes().decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}: the header is not valid JSON ({error})") from None
    if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
        raise BundleError(f"{name}: the header must be an object of at most {MAX_TENSORS} tensors")
    return header, 8 + length


def _metadata(path: str, header: dict[str, object]) -> dict[str, str]:
    """Take ``__metadata__`` out of the header: strings only."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BundleError(f"{os.path.basename(path)}: __metadata__ must map strings to strings")
    return metadata


def _entry(path: str, name: str, entry: object, room: int) -> tuple[np.dtype[np.generic], tuple[int, ...], int, int]:
    """Check one tensor's description: dtype, shape, begin, end."""
    where = f"{os.path.basename(path)}: tensor {brief(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BundleError(f"{where} must have exactly dtype, shape and data_offsets")
    named, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = _DTYPES.get(named) if isinstance(named, str) else None
    if dtype is None:
        raise BundleError(f"{where} has unsupported dtype {brief(named)}")
    limit = max(room, 1 << 20)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(d) is int and 0 <= d <= limit for d in shape):
        raise BundleError(f"{where} has a bad shape {brief(shape)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(o) is int for o in offsets):
        raise BundleError(f"{where} has bad data_offsets")
    begin, end = offsets
    count = math.prod(shape)
    if math.prod(d for d in shape if d) > limit:  # numpy refuses shapes over its limit even where they hold nothing
        raise BundleError(f"{where} has a bad shape {brief(shape)}")
    if not 0 <= begin <= end <= room or end - begin != count * dtype.itemsize:
        raise BundleError(f"{where} does not fit its data range [{begin}, {end}) of {room} bytes")
    return dtype, tuple(shape), begin, end


def read(
    path: Path | str, *, sha256: str | None = None, mark: str | None = None, copy: bool = False
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Map a file, or read it.

    Args:
        path: the file; its header may have at most ``MAX_HEADER_BYTES`` (1,000,000) bytes.
        sha256: what its bytes must hash to, in hexadecimal; with ``copy`` these very bytes are what is then used.
        mark: the file is not hashed where it still is this version of it (:func:`edge_demist.format.verified.mark`).
        copy: read it into memory of our own. A map shows what somebody writes into the file later, and kills the process where
            somebody shortens it: files are to be replaced by renaming, never to be overwritten.

    Returns:
        ``(metadata, {name: read-only array})``.

    Raises:
        BundleError: the file is missing, truncated or not a well-formed safetensors file. Gaps and overlaps of data are refused.
        IntegrityError: it has another hash.
    """
    path = os.fspath(path)
    try:
        with open(open_regular(path), "rb") as stream:
            data = _content(path, stream, sha256, mark, copy=copy)
    except OSError as error:
        raise BundleError(f"{os.path.basename(path)}: cannot be read ({error.strerror})") from None
    return parse(path, data)


def read_metadata(path: Path | str, *, sha256: str | None = None, mark: str | None = None) -> dict[str, str]:
    """What :func:`read` says beside the tensors, whose descriptions are not looked at; errors as there."""
    path = os.fspath(path)
    try:
        with open(open_regular(path), "rb") as stream:
            return _metadata(path, _header(path, _content(path, stream, sha256, mark, copy=False))[0])
    except OSError as error:
        raise BundleError(f"{os.path.basename(path)}: cannot be read ({error.strerror})") from None


def _content(path: str, stream: BufferedReader, sha256: str | None, mark: str | None, *, copy: bool) -> NDArray[np.uint8]:
    """All bytes of an open file, checked, as a map or a copy."""
    info = os.fstat(stream.fileno())
    size = info.st_size
    if size < 8:
        raise BundleError(f"{os.path.basename(path)}: {size} bytes is too short for a safetensors file")
    if copy:
        data: NDArray[np.uint8] = aligned_bytes(size)
        if stream.readinto(data.data) != size:
            raise BundleError(f"{os.path.basename(path)}: changed while it was read")
    else:
        data = np.memmap(stream, np.uint8, "r").view(np.ndarray)
    if sha256 is not None and (mark is None or mark != verified.mark(info)):
        import hashlib

        if hashlib.sha256(data.data).hexdigest() != sha256:
            raise IntegrityError(f"{os.path.basename(path)}: SHA-256 differs from the manifest; it was changed after it was checked")
    return data


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """``size`` uninitialised bytes on an ``ALIGNMENT`` boundary."""
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -int(block.__array_interface__["data"][0]) % ALIGNMENT
    return block[start : start + size]


def parse(path: str, data: NDArray[np.uint8]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Tensors of a file's bytes, which they share; ``path`` is for messages."""
    size = len(data)
    header, start = _header(path, data)
    metadata = _metadata(path, header)
    entries = {name: _entry(path, name, entry, size - start) for name, entry in header.items()}
    expected = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != expected:
            raise BundleError(f"{os.path.basename(path)}: data of tensor {brief(name)} overlaps or leaves a gap")
        expected = end
    if expected != size - start:
        raise BundleError(f"{os.path.basename(path)}: {size - start - expected} bytes follow the last tensor")
    tensors: dict[str, Tensor] = {}
    for name, (dtype, shape, begin, end) in entries.items():
        raw = data[start + begin : start + end]
        aligned = raw if (start + begin) % dtype.itemsize == 0 else raw.copy()
        tensor = aligned.view(np.ndarray).view(dtype).reshape(shape)
        tensor.flags.writeable = False
        tensors[name] = tensor
    return metadata, tensors


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file whole or not at all, with the same bytes for the same input.

    Tensors are stored in the order given; the header is padded with blanks so that data starts on a 64-byte boundary.
    """
    header: dict[str, object] = {}
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    offset = 0
    arrays = []
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
        arrays.append(array)
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    raw += b" " * (-(8 + len(raw)) % ALIGNMENT)
    with replacing(path) as stream:
        stream.write(len(raw).to_bytes(8, "little") + raw)
        for array in arrays:
            stream.write(array.tobytes())

"""Reading float tensors from safetensors files made by others.

The format itself is checked by the ``safetensors`` package (header size, offsets, overlaps, sizes); this
module adds the limits and the checks on values, and widens half precision to float32. Pickle files are
never opened: their presence instead of safetensors is an error.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from quantize.errors import CheckpointError

MAX_FILE_BYTES = 4 << 30
MAX_JSON_BYTES = 16 << 20
MAX_TENSORS = 20_000
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")

Tensors = dict[str, NDArray[np.float32]]

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object in ``path``; CheckpointError if it is absent, too large or not an object."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_JSON_BYTES} bytes")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return value


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return every floating-point tensor of a safetensors file as float32, and the file's metadata.

    Integer tensors (position ids and the like) are left out. Raises CheckpointError for a pickle, a
    truncated or inconsistent file, or a tensor that holds NaN or infinity.
    """
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(f"{path}: pickle files are never opened; convert it to safetensors first")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    data = path.read_bytes()
    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, OverflowError, ValueError) as error:
        raise CheckpointError(f"{path}: not a valid safetensors file ({error})") from error
    if len(entries) > MAX_TENSORS:
        raise CheckpointError(f"{path}: {len(entries)} tensors, more than {MAX_TENSORS}")
    tensors: Tensors = {}
    for name, entry in entries:
        array = _float32(entry["dtype"], entry["data"], entry["shape"])
        if array is None:
            continue
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: tensor {name!r} holds NaN or infinity")
        tensors[name] = array
    return tensors, _metadata(data)


def refuse_pickles(folder: Path, wanted: str) -> None:
    """Raise CheckpointError if ``folder`` lacks ``wanted``; name the pickle file that stands in for it."""
    if (folder / wanted).is_file():
        return
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder")
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLE_SUFFIXES)
    hint = f"; {', '.join(pickles)} would need pickle and is refused" if pickles else ""
    raise CheckpointError(f"{folder}: no {wanted}{hint}")


def expect(tensors: Tensors, name: str, shape: tuple[int, ...], where: Path | str) -> NDArray[np.float32]:
    """Return ``tensors[name]`` after checking that it is there and has ``shape`` (−1 allows any size)."""
    if name not in tensors:
        raise CheckpointError(f"{where}: tensor {name!r} is missing")
    array = tensors[name]
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = "×".join("any" if size == -1 else str(size) for size in shape)
        raise CheckpointError(f"{where}: tensor {name!r} has shape {list(array.shape)}, expected {wanted}")
    return array


def _float32(dtype: str, data: bytes | bytearray, shape: list[int]) -> NDArray[np.float32] | None:
    if dtype == "BF16":
        widened = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return widened.view(np.float32).reshape(shape)
    if dtype not in _FLOATS:
        return None
    with np.errstate(over="ignore"):
        return np.frombuffer(data, _FLOATS[dtype]).astype(np.float32).reshape(shape)


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    return {str(key): str(value) for key, value in metadata.items()}

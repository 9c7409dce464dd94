"""Adding PEFT folders to a bundle: ``edge_demist.format.extend`` with readers that need the toolchain's packages."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import extend
from edge_demist.format.bundle import Bundle
from quantize.adapters import read_specialist
from quantize.graph import build_encoder_graph
from quantize.unpack import architecture_of


def add_specialists(bundle: Bundle, sources: Sequence[Path], out: Path, **options: Any) -> str:
    """As ``edge_demist.format.extend.add_specialists``; folders with a PEFT adapter are read too, the graph is drawn anew."""
    return extend.add_specialists(bundle, sources, out, read_folder=_read, draw_graph=_draw, **options)


def _read(bundle: Bundle, folder: Path) -> tuple[Mapping[str, NDArray[np.generic]], Mapping[str, str]]:
    specialist = read_specialist(folder, architecture_of(bundle), bundle.ngrams.dim if bundle.ngrams else None)
    return specialist.tensors(), specialist.metadata


def _draw(bundle: Bundle, sites: Iterable[tuple[int, str]]) -> bytes:
    return build_encoder_graph(architecture_of(bundle), sites)

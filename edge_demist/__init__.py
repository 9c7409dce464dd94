"""edge-demist: embeds and classifies security strings on the edge, offline, on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = ["EdgeDemist", "Prediction", "__version__"]

if TYPE_CHECKING:
    from edge_demist.model import EdgeDemist, Prediction


def __getattr__(name: str) -> object:
    """Import the model on first use, so that ``import edge_demist`` stays light."""
    if name in ("EdgeDemist", "Prediction"):
        from edge_demist import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

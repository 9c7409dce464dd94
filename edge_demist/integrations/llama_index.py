"""An embedding class for LlamaIndex (extra ``llama-index``)."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from edge_demist.model import EdgeDemist


class EdgeDemistEmbedding(BaseEmbedding):
    """``BaseEmbedding`` over a bundle; vectors are those of ``EdgeDemist.encode``."""

    _model: EdgeDemist = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(self, path: str | None = None, *, task: str | None = None, normalizer: str = "identity", **options: Any) -> None:
        """Open the bundle; ``task`` for a specialist's view, ``normalizer`` for the general vector."""
        super().__init__(**{"model_name": "edge-demist", **options})
        self._model, self._options = EdgeDemist.load(path), {"task": task, "normalizer": normalizer}

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode(texts, **self._options).tolist() if texts else []

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

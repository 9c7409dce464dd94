"""An embedding class for LangChain (extra ``langchain``)."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from edge_demist.model import EdgeDemist


class EdgeDemistEmbeddings(Embeddings):
    """``langchain_core.embeddings.Embeddings`` over a bundle; vectors are those of ``EdgeDemist.encode``."""

    def __init__(self, path: str | None = None, *, task: str | None = None, normalizer: str = "identity") -> None:
        """Open the bundle; ``task`` for a specialist's view, ``normalizer`` for the general vector."""
        self._model, self._task, self._normalizer = EdgeDemist.load(path), task, normalizer

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector a text."""
        return [vector.tolist() for vector in self._model.encode(texts, task=self._task, normalizer=self._normalizer)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

"""A transformer for scikit-learn pipelines (extra ``sklearn``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from edge_demist.model import EdgeDemist


class EdgeDemistVectorizer(TransformerMixin, BaseEstimator):
    """Texts in, vectors float32 [n, dim] out; nothing is learnt in ``fit``. Cells that are not text are read as their ``str``."""

    def __init__(self, path: str | None = None, task: str | None = None, normalizer: str = "identity") -> None:
        """Folder of the bundle (None: the one in the package), specialist's view or normalizer of the general vector."""
        self.path, self.task, self.normalizer = path, task, normalizer

    def fit(self, X: Any, y: Any = None) -> EdgeDemistVectorizer:
        """Open the bundle and look at the input's shape."""
        texts = self._texts(X)
        self.n_features_in_ = 1 if not texts or np.ndim(X) < 2 else np.shape(X)[1]
        self.model_ = EdgeDemist.load(self.path)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Vectors of the texts."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "model_")
        return self.model_.encode(self._texts(X), task=self.task, normalizer=self.normalizer)

    def _texts(self, X: Any) -> list[str | bytes]:
        if isinstance(X, (str, bytes)):
            raise ValueError("Iterable over texts expected, one string received")
        return [cell if isinstance(cell, (str, bytes)) else str(cell) for cell in np.asarray(list(X), dtype=object).ravel()]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns."""
        return np.array([f"edge_demist_{i}" for i in range(self.model_.dim)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Says that strings are taken and nothing has to be fitted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.requires_fit = True, False, True
        tags.input_tags.one_d_array = True
        return tags

"""The atlas: landmarks with fixed places and named regions, made once from the corpus (``python -m tools.atlas``)."""

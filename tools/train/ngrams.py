"""Moved to ``edge_demist.train.ngrams``; this name goes on working."""

import sys

from edge_demist.train import ngrams

sys.modules[__name__] = ngrams

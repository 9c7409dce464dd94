"""Moved to ``edge_demist.train.columns``; this name goes on working."""

import sys

from edge_demist.train import columns

sys.modules[__name__] = columns

"""Moved to ``edge_demist.train.ood_texts``; this name goes on working."""

import sys

from edge_demist.train import ood_texts

sys.modules[__name__] = ood_texts

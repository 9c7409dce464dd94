"""Moved to ``edge_demist.train.calibration``; this name goes on working."""

import sys

from edge_demist.train import calibration

sys.modules[__name__] = calibration

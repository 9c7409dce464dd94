"""Moved to ``edge_demist.format.int8``; this name goes on working."""

import sys

from edge_demist.format import int8

sys.modules[__name__] = int8

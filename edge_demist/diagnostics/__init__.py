"""Measures and proves the engine on this machine: speed, memory, exact bits, environment (``bench`` and ``doctor``)."""

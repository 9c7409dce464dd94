"""The compiled kernels: their binary interface and the library for this CPU."""

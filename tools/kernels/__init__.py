"""Compiles the kernels and makes their reference outputs."""

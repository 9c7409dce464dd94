"""Self-checks.

``tiny``: a bundle made in code. ``reference``: committed vectors. ``bits``: every kernel level against them. ``system``:
libraries, engine, bundle, permissions, clock, memory.
"""

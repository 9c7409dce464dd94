"""Measuring on this machine; numpy and the standard library only.

``statistics``: percentiles, stability. ``machine``: facts, energy. ``measure``: loops. ``cold``: process start. ``samples``:
strings. ``suite``: what is measured. ``report``: table, comparison.
"""

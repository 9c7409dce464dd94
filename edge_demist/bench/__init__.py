"""Measuring: ``statistics`` (percentiles, stability), ``machine`` (facts, energy), ``measure`` (loops), ``cold`` (process start),
``suite`` (what is measured), ``report`` (table, comparison). numpy and the standard library only.
"""

"""Hostile bundles, logs, states, kits and strings, made from seeds: the same number makes the same case on every machine."""

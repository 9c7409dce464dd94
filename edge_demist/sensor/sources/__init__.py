"""Logs as they grow: which files there are, where reading stands, records out of lines."""

"""Checks of the scripts that embed Parquet on other people's engines: ``python -m tools.spread``."""

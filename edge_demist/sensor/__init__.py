"""The sensor: follows logs, scores their strings, writes verdicts; loses nothing."""

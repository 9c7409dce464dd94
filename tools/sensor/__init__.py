"""Proves the sensor: generated logs, faults, crashes, soak and throughput."""

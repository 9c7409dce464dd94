"""Keeps the documents true: runs their commands, writes what they print."""

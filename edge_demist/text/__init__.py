"""Text to token ids, to n-gram vectors, and to windows over long strings."""

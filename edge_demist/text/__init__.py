"""Text to token ids and to n-gram vectors."""

"""``watch --threads N``: worker processes parse, screen and score; the parent reads, decides and writes, in order."""

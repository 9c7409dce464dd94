"""From strings to incidents: what was observed, what it is evidence for, and which situations it adds up to."""

"""Build, training and packaging tools; nothing here ships in the wheel."""

"""The offline kit: builds it, installs it."""

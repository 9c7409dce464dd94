"""Where events go, and in which form."""

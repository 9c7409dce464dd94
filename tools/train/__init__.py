"""Training of the tokenizer, the base encoder and the specialists (PyTorch; never imported by the runtime)."""

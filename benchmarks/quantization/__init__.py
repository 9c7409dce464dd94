"""The study of quantization methods; writes the result files of docs/quantization.md."""

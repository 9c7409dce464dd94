"""Speed, memory and quality, side by side with peers. Writes ``benchmarks/results/*.json``; text and plots are views of these files."""

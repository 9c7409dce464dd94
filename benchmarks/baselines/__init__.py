"""Other engines and classifiers that are measured beside ours."""

"""``python -m edge_demist``: the command line."""

from edge_demist.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

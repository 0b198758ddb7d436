"""`python -m inference`; see inference/README.md."""

from inference.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

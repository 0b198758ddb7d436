"""Training of inference functions; see `python -m inference train --help`."""

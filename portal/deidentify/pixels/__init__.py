"""Text burnt into images; `door.py` is what the portal calls, the rest needs no database but for the review."""

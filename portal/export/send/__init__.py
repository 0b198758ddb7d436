"""Ways to a destination: each takes what is sent and returns the peer's acknowledgement in words, or raises NotSent."""

from __future__ import annotations


class NotSent(Exception):
    """The peer is away, refuses, or did not say that it has everything."""

"""How long to wait before something that failed is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Pauses:
    """A pause that is doubled from one failed attempt to the next, at most `longest`; after so many, no more."""

    first: timedelta
    longest: timedelta
    attempts: int

    def after(self, attempts: int) -> timedelta | None:
        """The pause after so many failed attempts; None: a person decides."""
        if attempts >= self.attempts:
            return None
        return min(self.first * 2 ** max(attempts - 1, 0), self.longest)

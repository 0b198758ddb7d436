"""How many waiting runs a thread of the gpu worker takes at once."""

from __future__ import annotations

import threading

SECONDS = 1.0  # what one group should take: longer ones would hold runs that another device could do
MEMORY = 0.3  # weight of the newest group


class Pace:
    """Seconds a run, as groups took them lately. Safe for several threads."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._lock = threading.Lock()

    def saw(self, runs: int, seconds: float) -> None:
        """A group of so many runs took so long."""
        if runs:
            with self._lock:
                each = seconds / runs
                self.seconds = each if self.seconds is None else (1 - MEMORY) * self.seconds + MEMORY * each

    def group(self, least: int, most: int) -> int:
        """The number of runs of about SECONDS, from `least` (what fills one forward pass) to `most`."""
        fitting = least if self.seconds is None else int(SECONDS / max(self.seconds, 1e-6))
        return min(max(least, fitting), max(most, 1))

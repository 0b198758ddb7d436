"""Work that nobody waits for, done by a thread of its own: one a process, begun when first needed."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)
Item = TypeVar("Item")


class Aside(Generic[Item]):
    """A thread that takes what has come since it last looked, all of it together.

    name   of the thread, and in the log
    start  called once in the thread; gives what does a batch, in the order it came
    most   items that may wait; more are refused
    What still waits when the process ends gets two seconds. A process made by fork begins with nothing.
    """

    def __init__(self, name: str, start: Callable[[], Callable[[list[Item]], None]], most: int = sys.maxsize) -> None:
        self._name, self._start, self._most = name, start, most
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # threads do not survive a fork, and locks stay as they were
        atexit.register(self.flush)

    def _begin(self) -> None:
        self._change = threading.Condition()
        self._waiting: list[Item] = []
        self._busy = 0
        self._running = False

    def put(self, items: Iterable[Item]) -> bool:
        """Hand items over; False, and none is taken, when too many wait."""
        with self._change:
            if len(self._waiting) + self._busy >= self._most:
                return False
            self._waiting.extend(items)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._change.notify_all()
        return True

    def flush(self, seconds: float = 2.0) -> None:
        """Wait until all is done, at most so long."""
        with self._change:
            self._change.wait_for(lambda: not (self._waiting or self._busy), seconds)

    def _run(self) -> None:
        work = self._start()
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting))
                batch, self._waiting = self._waiting, []
                self._busy = len(batch)
            try:
                work(batch)
            except Exception:  # the thread must go on
                log.exception("aside.failed", thread=self._name, items=len(batch))
            with self._change:
                self._busy = 0
                self._change.notify_all()

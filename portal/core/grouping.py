"""Work of several threads done by one of them in one go, as databases commit in groups."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Ticket(Generic[T]):
    def __init__(self, items: Sequence[T]) -> None:
        self.items = items
        self.wake = threading.Event()
        self.done = False
        self.error: BaseException | None = None


class Group(Generic[T]):
    """The first thread to come does the work; what comes meanwhile is done together by the next one.

    A thread that is alone never waits for company. `work` gets at most about `most` items; what it raises is raised
    in every thread whose items were among them.
    """

    def __init__(self, work: Callable[[list[T]], None], most: int) -> None:
        self.work, self.most = work, most
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket[T]] = deque()
        self._busy = False

    def do(self, items: Sequence[T]) -> None:
        """Return when these items are done, by this thread or another."""
        ticket = _Ticket(items)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._busy = not self._busy, True
        if not leads:
            ticket.wake.wait()
        if not ticket.done:
            self._lead()
        if ticket.error is not None:
            raise ticket.error

    def _lead(self) -> None:
        """Work for the first in the row, of which this thread is one, and wake who leads next."""
        with self._lock:
            mine = [self._waiting.popleft()]
            while self._waiting and sum(len(t.items) for t in mine) + len(self._waiting[0].items) <= self.most:
                mine.append(self._waiting.popleft())
        error: BaseException | None = None
        try:
            self.work([item for ticket in mine for item in ticket.items])
        except BaseException as caught:
            error = caught
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._busy = following is not None
        for ticket in mine:
            ticket.done, ticket.error = True, error
            ticket.wake.set()
        if following is not None:
            following.wake.set()

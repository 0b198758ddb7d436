"""Makes pynetdicom's two threads of an association wait for news in place of looking every millisecond.

As it comes, each instance waits for three such looks, and an association that does nothing takes a few per cent of a
core. Here the network thread sleeps in `select` on the socket and on a pair of its own, which whoever queues
something for it wakes; a C-STORE request is served by the network thread itself, which has nothing else to do until
it is answered.
"""

from __future__ import annotations

import queue
import select
import socket
import threading
from contextlib import suppress
from typing import Any

import structlog
from pynetdicom.dimse_primitives import C_STORE

log = structlog.get_logger(__name__)
INVALID_PDU = "Evt19"  # of the state machine (PS3.8 table 9-10): the association is aborted
LOOK = 0.2  # seconds after which timers and flags are looked at in any case
SECONDS = 60.0


class Waker:
    """A pair of sockets: what is written to one wakes a `select` on the other."""

    def __init__(self) -> None:
        self.inner, self.outer = socket.socketpair()
        for one in (self.inner, self.outer):
            one.setblocking(False)

    def wake(self) -> None:
        """Wake the sleeper; one that is awake or gone does not mind."""
        with suppress(OSError):
            self.outer.send(b"\0")

    def sleep(self, wire: Any) -> bool:
        """Wait for data or a wake-up; returns whether there are data. Raises OSError, ValueError for a dead socket."""
        ready, _, _ = select.select([wire, self.inner], [], [], LOOK)
        if self.inner in ready:
            with suppress(OSError):
                self.inner.recv(4096)
        return wire in ready

    def close(self) -> None:
        """Give both sockets back."""
        self.inner.close()
        self.outer.close()


class Outgoing(queue.Queue):  # type: ignore[type-arg]
    """PDUs to be sent; a network thread that sleeps hears of each. Raises queue.Full when it sends none."""

    def __init__(self, waker: Waker | None = None) -> None:
        super().__init__()
        self.waker = waker

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout or SECONDS)
        if self.waker:
            self.waker.wake()


class Incoming(queue.Queue):  # type: ignore[type-arg]
    """What came in for the association's thread, which hears of each."""

    def __init__(self, news: threading.Event) -> None:
        super().__init__()
        self.news = news

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self.news.set()


class Messages(Incoming):
    """Decoded messages; C-STORE requests are served where they arrive."""

    def __init__(self, news: threading.Event, association: Any) -> None:
        super().__init__(news)
        self.association = association

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        context_id, message = item
        if isinstance(message, C_STORE) and message.is_valid_request and self.association.is_established:
            self.association._serve_request(message, context_id)
        else:
            super().put(item, block, timeout)


class Checkpoint(threading.Event):
    """pynetdicom's association thread passes here on each round: it waits for news, or a while."""

    def __init__(self, news: threading.Event) -> None:
        super().__init__()
        self.news = news
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        self.news.wait(LOOK)
        self.news.clear()
        return passed


def guard(association: Any) -> None:
    """Abort the association over a message that pynetdicom cannot work with, where its network thread would die."""
    machine = association.dul.state_machine
    act = machine.do_action

    def guarded(event: str) -> None:
        try:
            act(event)
        except Exception as error:  # what a broken command set makes pydicom raise is without bounds
            log.warning("dimse.broken_message", error=type(error).__name__)
            if event == INVALID_PDU:
                association.dul.kill_dul()
            else:
                association.dul.event_queue.put(INVALID_PDU)

    machine.do_action = guarded


def prompt(association: Any, waker: Waker) -> None:
    """Set up an acceptor's association before its threads start."""
    guard(association)
    news = threading.Event()
    association.dul._run_loop_delay = 0
    association.dul.to_provider_queue = Outgoing(waker)
    association.dul.to_user_queue = Incoming(news)
    association.dimse.msg_queue = Messages(news, association)
    association._reactor_checkpoint = Checkpoint(news)

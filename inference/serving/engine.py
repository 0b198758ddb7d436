"""Dynamic batching: images of all waiting requests share forward passes, while others are being read.

    submit() ─→ reading (threads, highest priority first) ─→ ready ─→ forward pass (one thread) ─→ findings (one thread)

A batch starts when it is full, when its oldest image has waited `wait_s`, or when nothing more is being read.
Readers stop ahead of the forward pass by `ahead` batches, so memory is bounded whatever is asked.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType

import torch

from inference.findings import Findings
from inference.package.function import FunctionPackage, Outputs
from inference.preprocess import ImageError, Read
from inference.serving import metrics

Source = Callable[[], Read]  # where a prepared image comes from; raises ImageError
POLL = 0.25  # seconds between two looks of a waiting caller at what is still open
GATHER = 0.25  # seconds that a caller waits for others after one has ended: storing many costs hardly more than one


class Ended(Exception):
    """Why a request has no findings although its images are good."""


class TooSlow(Ended):
    """The request's time was over."""


class Cancelled(Ended):
    """The caller no longer wants it."""


@dataclass(eq=False)
class Request:
    """One scan on its way; `outputs` in the order of `sources`. It ends once, by findings or by an error."""

    package: FunctionPackage
    sources: Sequence[Source]
    started: float
    over: float
    limit_s: float
    outputs: list[Outputs | ImageError | None]
    open: int
    findings: Findings | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)
    into: queue.SimpleQueue[Request] = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self, findings: Findings | None, error: BaseException | None) -> None:
        """End it, if nothing did before; images of it that still wait are passed over."""
        with self.lock:
            if self.done.is_set():
                return
            self.findings, self.error = findings, error
            self.done.set()
        metrics.TOTAL.observe(time.monotonic() - self.started)
        metrics.REQUESTS.labels("failed" if error else "done").inc()
        self.into.put(self)

    def fail(self, error: BaseException) -> None:
        """End it without findings."""
        self.end(None, error)

    @property
    def part(self) -> float:
        """How much of it is analysed, from 0 to 1."""
        return (len(self.sources) - self.open) / len(self.sources)


@dataclass(order=True)
class Ready:
    """One prepared image; the highest priority first, then the oldest."""

    rank: tuple[int, int]
    request: Request = field(compare=False)
    index: int = field(compare=False)
    image: Read = field(compare=False)
    read_ms: float = field(compare=False)
    since: float = field(compare=False)


class Engine:
    """One per process and device. Use as a context manager, or close()."""

    def __init__(self, readers: int = 2, batch: int = 16, wait_s: float = 0.005, ahead: int = 4) -> None:
        """ValueError for numbers below 1."""
        if min(readers, batch, ahead) < 1:
            raise ValueError("readers, batch and ahead are 1 or more")
        self.batch, self.wait_s = batch, wait_s
        self._numbers = itertools.count()
        self._asked: list[tuple[tuple[int, int], Request, int]] = []
        self._ready: dict[int, list[Ready]] = {}  # by identity of the package
        self._reading = 0
        self._room = batch * ahead
        self._closed = False
        self._change = threading.Condition()
        self._threads = [threading.Thread(target=self._read, name=f"read-{i}", daemon=True) for i in range(readers)]
        self._threads.append(threading.Thread(target=self._forward, name="forward", daemon=True))
        self._finishing = ThreadPoolExecutor(1, "findings")
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; requests under way end as Cancelled."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        self._finishing.shutdown()
        waiting = [request for _, request, _ in self._asked]
        waiting += [item.request for group in self._ready.values() for item in group]
        for request in waiting:
            request.fail(Cancelled("the process ends"))

    def submit(
        self,
        package: FunctionPackage,
        sources: Sequence[Source],
        priority: int = 0,
        limit_s: float = 600.0,
        into: queue.SimpleQueue[Request] | None = None,
    ) -> Request:
        """Ask for the findings of one scan without waiting for them.

        priority  higher goes first; limit_s  seconds until `ended` gives it up; into  where it is put when it ended
        ValueError for no image; Cancelled when the engine is closed.
        """
        if not sources:
            raise ValueError("no image was given")
        now, count = time.monotonic(), len(sources)
        into = into or queue.SimpleQueue()
        request = Request(package, sources, now, now + limit_s, limit_s, [None] * count, count, into=into)
        with self._change:
            if self._closed:
                raise Cancelled("the process ends")
            for index in range(count):
                heapq.heappush(self._asked, ((-priority, next(self._numbers)), request, index))
            self._change.notify_all()
        metrics.WAITING.inc(count)
        return request

    # --- reading -------------------------------------------------------------------------------
    def _read(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or (self._asked and self._room > 0))
                if self._closed:
                    return
                rank, request, index = heapq.heappop(self._asked)
                self._room -= 1
                self._reading += 1
            item: Ready | None = None
            try:
                if not request.done.is_set():
                    item = self._prepared(rank, request, index)
            except ImageError as error:
                self._put(request, index, error)
            except Exception as error:  # a fault of the reader must end this scan, not the thread
                request.fail(error)
            with self._change:
                self._reading -= 1
                if item is None:
                    self._room += 1
                    metrics.WAITING.dec()
                else:
                    heapq.heappush(self._ready.setdefault(id(request.package), []), item)
                self._change.notify_all()

    def _prepared(self, rank: tuple[int, int], request: Request, index: int) -> Ready:
        started = time.perf_counter()
        image = request.sources[index]()
        took = time.perf_counter() - started
        metrics.READ.observe(took)
        return Ready(rank, request, index, image, took * 1000, time.monotonic())

    # --- forward pass --------------------------------------------------------------------------
    def _forward(self) -> None:
        while True:
            with self._change:
                chosen = self._choose()
                while not chosen and not self._closed:
                    self._change.wait(self.wait_s if any(self._ready.values()) else None)
                    chosen = self._choose()
                if self._closed:
                    return
            live = [item for item in chosen if not item.request.done.is_set()]
            if live:
                self._analyse(live)
            with self._change:
                self._room += len(chosen)
                self._change.notify_all()
            metrics.WAITING.dec(len(chosen))

    def _choose(self) -> list[Ready]:
        """The next batch, or nothing while it is worth waiting for more images."""
        groups = [group for group in self._ready.values() if group]
        if not groups:
            return []
        group = min(groups, key=lambda items: items[0])
        package = group[0].request.package
        size = min(self.batch, package.largest or self.batch)
        more = bool(self._reading or (self._asked and self._room > 0))
        waited = time.monotonic() - min(item.since for item in group)
        if len(group) < size and more and waited < self.wait_s:
            return []
        chosen = [heapq.heappop(group) for _ in range(min(size, len(group)))]
        if not group:
            del self._ready[id(package)]
        return chosen

    def _analyse(self, items: list[Ready]) -> None:
        package = items[0].request.package
        started = time.perf_counter()
        try:
            images, read_ms = [item.image for item in items], sum(item.read_ms for item in items)
            outputs = package.predict(package.batch(images, read_ms=read_ms))
        except torch.OutOfMemoryError as error:
            for item in items:
                item.request.fail(MemoryError(f"one image alone does not fit into the device's memory: {error}"))
            return
        except Exception as error:
            if len({id(item.request) for item in items}) == 1:
                items[0].request.fail(error)
                return
            for _, part in itertools.groupby(items, key=lambda item: id(item.request)):
                self._analyse(list(part))  # one request's fault is not its neighbours'
            return
        metrics.FORWARD.observe(time.perf_counter() - started)
        metrics.BATCH.observe(len(items))
        if package.largest is not None and package.largest < len(items):
            metrics.HALVED.inc()
        for position, item in enumerate(items):
            self._put(item.request, item.index, outputs.one(position, len(items)))

    # --- findings ------------------------------------------------------------------------------
    def _put(self, request: Request, index: int, result: Outputs | ImageError) -> None:
        with self._change:
            request.outputs[index] = result
            request.open -= 1
            last = request.open == 0
        if last:
            self._finishing.submit(self._finish, request)

    def _finish(self, request: Request) -> None:
        if request.done.is_set():
            return
        try:
            refused = [item for item in request.outputs if isinstance(item, ImageError)]
            parts = [item for item in request.outputs if isinstance(item, Outputs)]
            if not parts:
                raise refused[0]
            whole = replace(Outputs.join(parts), refused=tuple(str(error) for error in refused))
            findings = request.package.findings(whole)
            findings.timings_ms["total"] = round((time.monotonic() - request.started) * 1000, 1)
            request.end(findings, None)
        except Exception as error:
            request.fail(error)


def ended(
    requests: Sequence[Request],
    into: queue.SimpleQueue[Request],
    look: Callable[[Sequence[Request]], None] | None = None,
) -> Iterator[list[Request]]:
    """The requests as they end, together those that end within GATHER or by the time that the caller asks for more.

    into  the queue that all of them were submitted with
    look  called every POLL seconds with those that are open; it may tell how far they are, or end them
    What is open after its time fails as TooSlow.
    """
    waiting, looked = set(requests), time.monotonic()
    while waiting:
        found: list[Request] = []
        try:
            found.append(into.get(timeout=POLL))
            until = time.monotonic() + GATHER
            while len(found) < len(waiting):
                found.append(into.get(timeout=max(until - time.monotonic(), 0)))
        except queue.Empty:
            pass
        waiting.difference_update(found)
        now = time.monotonic()
        if now - looked >= POLL and waiting:
            looked = now
            for request in [late for late in waiting if now > late.over]:
                request.fail(TooSlow(f"not finished within {request.limit_s:g} seconds"))
            if look is not None and (left := [request for request in waiting if not request.done.is_set()]):
                look(left)
        if found:
            yield found

"""Work aside: nothing is lost, nothing out of order, and a fork begins anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from portal.core.aside import Aside


def test_all_items_are_done_in_the_order_they_came() -> None:
    done: list[int] = []
    aside: Aside[int] = Aside("test", lambda: done.extend)
    for number in range(1000):
        assert aside.put([number])
    aside.flush(10)
    assert done == list(range(1000))


def test_a_batch_that_fails_does_not_end_the_thread() -> None:
    done: list[int] = []

    def start() -> Callable[[list[int]], None]:
        def work(batch: list[int]) -> None:
            if 13 in batch:
                raise ValueError("no luck")
            done.extend(batch)

        return work

    aside: Aside[int] = Aside("test", start)
    for number in (1, 13, 2):
        aside.put([number])
        aside.flush(10)
    assert done == [1, 2]


def test_more_than_may_wait_are_refused() -> None:
    door = threading.Event()

    def work(_batch: list[int]) -> None:
        door.wait(10)

    aside: Aside[int] = Aside("test", lambda: work, most=3)
    assert all(aside.put([number]) for number in range(3))
    assert not aside.put([3])
    door.set()
    aside.flush(10)
    assert aside.put([4])


def test_a_forked_process_does_its_own_items_and_not_its_parents() -> None:
    door = threading.Event()
    reading, writing = os.pipe()

    def start() -> Callable[[list[str]], None]:
        def work(batch: list[str]) -> None:
            door.wait(10)
            os.write(writing, "".join(f"{os.getpid()} {item}\n" for item in batch).encode())

        return work

    aside: Aside[str] = Aside("test", start)
    aside.put(["parent's"])
    child = os.fork()
    if child == 0:
        door.set()
        aside.put(["child's"])
        aside.flush(10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    door.set()
    aside.flush(10)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert sorted(lines) == sorted([f"{child} child's\n", f"{os.getpid()} parent's\n"])

"""Threads that arrive while another works are served together, each once, and each hears of its own failure."""

from __future__ import annotations

import threading
import time

import pytest

from portal.core.grouping import Group


def test_who_comes_meanwhile_goes_together() -> None:
    groups: list[list[int]] = []
    first, go = threading.Event(), threading.Event()

    def work(items: list[int]) -> None:
        groups.append(items)
        first.set()
        go.wait(10)

    group = Group(work, most=4)
    threads = [threading.Thread(target=group.do, args=([n],)) for n in range(7)]
    threads[0].start()
    assert first.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(group._waiting) < 6:
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join(10)
    assert groups[0] == [0] and [len(some) for some in groups] == [1, 4, 2]
    assert sorted(item for some in groups for item in some) == list(range(7))


def test_a_failure_reaches_everyone_of_its_group_and_the_next_goes_on() -> None:
    def work(items: list[int]) -> None:
        if 1 in items:
            raise ValueError(items)

    group = Group(work, most=4)
    group.do([0])
    with pytest.raises(ValueError, match="1, 2"):
        group.do([1, 2])
    group.do([3])
    assert not group._busy


def test_more_than_fits_is_still_done() -> None:
    done: list[int] = []
    Group(done.extend, most=2).do([1, 2, 3])
    assert done == [1, 2, 3]

"""What was said of pixels that were seen before: the banner of a console is the same on all instances of a series.

Answers are found by a digest of all pixels that they depend on, so that what changed by one value is looked at anew.
They stay in the memory of the identities worker, and the oldest go.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Answer = TypeVar("Answer")


class Memory(Generic[Answer]):
    """The last `size` answers that were asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Answer | None:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def put(self, key: bytes, answer: Answer) -> None:
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)

    def forget(self) -> None:
        with self._lock:
            self._answers.clear()


def key_of(picture: NDArray[Any], *rest: object) -> bytes:
    """A digest of a picture and of what else an answer depends on."""
    whole = hashlib.blake2b(f"{picture.shape} {picture.dtype} {rest}\n".encode(), digest_size=20)
    whole.update(np.ascontiguousarray(picture).data)
    return whole.digest()

"""What is made of instances and kept on this machine's disk; losing it costs only time."""

from __future__ import annotations

import contextlib
import os
import random
import uuid
from pathlib import Path

from django.conf import settings

TRIM_CHANCE = 1 / 256


class Shelf:
    """A folder of files by digest below the house's cache, at most so many bytes of them."""

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most

    def _path(self, digest: str) -> Path:
        return Path(settings.HOME) / "cache" / self.name / digest[:2] / digest

    def find(self, digest: str) -> bytes | None:
        """What is kept under the digest, None when it has to be made."""
        try:
            return self._path(digest).read_bytes()
        except OSError:
            return None

    def located(self, digest: str) -> tuple[Path, int] | None:
        """Where it lies, and its size; None when it has to be made."""
        path = self._path(digest)
        try:
            return path, path.stat().st_size
        except OSError:
            return None

    def has(self, digest: str) -> bool:
        """Whether something is kept under the digest."""
        return self._path(digest).is_file()

    def keep(self, digest: str, data: bytes) -> None:
        """Keep it; a full disk only means that it is made again."""
        path = self._path(digest)
        part = path.with_name(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        if random.random() < TRIM_CHANCE:
            self.trim()

    def trim(self, most: int | None = None) -> None:
        """Drop the oldest until at most `most` bytes are kept, the shelf's own number by default."""
        limit = self.most if most is None else most
        found = []
        for path in (Path(settings.HOME) / "cache" / self.name).glob("??/*"):
            try:
                found.append((path.stat().st_mtime, path.stat().st_size, path))
            except OSError:
                continue  # another process has just dropped it
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found, key=lambda one: one[0]):
            if total <= limit:
                return
            path.unlink(missing_ok=True)
            total -= size

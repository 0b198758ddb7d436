"""Rendered pictures kept on this machine's disk; losing them costs only time."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path

from django.conf import settings

MOST_BYTES = 2 * 1024**3
TRIM_CHANCE = 1 / 256


def _folder() -> Path:
    return Path(settings.HOME) / "cache" / "pictures"


def tag(digest: str) -> str:
    """The entity tag of a picture."""
    return f'"{digest[:32]}"'


def located(digest: str) -> tuple[Path, int] | None:
    """Where the kept picture lies, and its size; None when it has to be made."""
    path = _folder() / digest[:2] / digest
    try:
        return path, path.stat().st_size
    except OSError:
        return None


def find(digest: str) -> bytes | None:
    """The kept picture, None when it has to be made."""
    try:
        return (_folder() / digest[:2] / digest).read_bytes()
    except OSError:
        return None


def keep(digest: str, data: bytes) -> None:
    """Keep a picture; a full disk only means that it is made again."""
    path = _folder() / digest[:2] / digest
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
    if random.random() < TRIM_CHANCE:
        trim()


def trim(most: int | None = None) -> None:
    """Drop the oldest pictures until at most `most` bytes are kept."""
    limit = MOST_BYTES if most is None else most
    found = []
    for path in _folder().glob("??/*"):
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

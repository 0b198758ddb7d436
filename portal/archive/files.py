"""Files of the archive storage: made visible in one step, read as local files wherever they lie."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import Storage

from portal.core.storage import local_path, sync_folder


@contextmanager
def local_copy(storage: Storage, name: str) -> Iterator[Path]:
    """The file as a local path: itself in a local storage, else a temporary copy.

    Raises FileNotFoundError when it is not there.
    """
    path = local_path(storage, name)
    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is not in the archive storage")
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".dcm") as copy:
        with storage.open(name, "rb") as remote:
            while piece := remote.read(1 << 20):
                copy.write(piece)
        copy.flush()
        yield Path(copy.name)


def publish(storage: Storage, source: Path, name: str) -> None:
    """Make the bytes of `source` visible as `name`, whole or not at all, and durable.

    Whatever lies there already belongs to no row (the caller holds the row's unique key) and is replaced.
    The source stays: the caller removes it after its commit.
    """
    target = local_path(storage, name)
    if target is None:
        if storage.exists(name):
            storage.delete(name)
        with source.open("rb") as file:
            storage.save(name, File(file))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    link = target.with_name(f".{uuid.uuid4().hex}")
    os.link(source, link)
    os.replace(link, target)
    # renaming a link over another link to the same file does nothing and leaves it behind
    link.unlink(missing_ok=True)
    sync_folder(target.parent)


def read_pieces(path: Path, table: list[int]) -> bytes:
    """The bytes of one frame: `table` is [offset, length, offset, length, …]."""
    handle = os.open(path, os.O_RDONLY)
    try:
        pieces = [os.pread(handle, n, at) for at, n in zip(table[::2], table[1::2], strict=True)]
    finally:
        os.close(handle)
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(data) != sum(table[1::2]):
        raise FileNotFoundError(f"{path.name} is shorter than its frame table says")
    return data

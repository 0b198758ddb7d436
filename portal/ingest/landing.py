"""The drop folder: bytes are made durable here before a sender hears that they arrived."""

from __future__ import annotations

import os
import shutil
import struct
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files import File

from portal.core.digests import keyed_stream
from portal.core.storage import landing, local_path, sync_folder

CHUNK = 1 << 20
META_LIMIT = 1 << 20
TOO_OLD = 24 * 3600


class TooLarge(Exception):
    """The stream went on beyond settings.MAX_INSTANCE_BYTES; what was written is gone again."""

    def __init__(self, size: int, digest: str) -> None:
        super().__init__(f"{size} bytes and more")
        self.size, self.digest = size, digest


_syncing = ThreadPoolExecutor(8, "landing-sync")  # syncs side by side share the disk's journal


def _sync(path: Path) -> None:
    sync_folder(path)  # a file is synced the same way


@dataclass
class Landed:
    """Bytes in a temporary file of the landing store, not yet under their final name."""

    path: Path
    size: int
    digest: str
    synced: Future[None] | None = None

    def sync_soon(self) -> Landed:
        """Begin to make the bytes durable while the caller does something else."""
        self.synced = _syncing.submit(_sync, self.path)
        return self

    def sync(self) -> None:
        """Return when the bytes are durable. Raises OSError."""
        if self.synced is None:
            self.sync_soon()
        assert self.synced
        self.synced.result()

    def drop(self) -> None:
        """Forget the temporary file; what was kept lives on under its final name."""
        self.path.unlink(missing_ok=True)


class DataSetDigest:
    """Keyed SHA-256 of an instance's data set and transfer syntax, whatever wrote the file meta.

    The same scan sent through two doors carries two different file metas (PS3.10 section 7.1 names
    the sending software in it), and must still be known again. Bytes that are no DICOM are all taken.
    """

    def __init__(self) -> None:
        self._hash: Any = keyed_stream("content")
        self._head: bytearray | None = bytearray()

    def update(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._head is None:
            self._hash.update(data)
            return
        self._head += data
        if len(self._head) >= META_LIMIT or self._meta_end() is not None:
            self._begin()

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits for everything taken so far."""
        if self._head is not None:
            self._begin()
        return str(self._hash.hexdigest())

    def _meta_end(self) -> int | None:
        """Return where the data set begins, 0 for a file without file meta, None while unknown."""
        head = self._head or b""
        if len(head) < 144:
            return None
        if head[128:138] != b"DICM\x02\x00\x00\x00UL":
            return 0
        end: int = 144 + struct.unpack("<L", head[140:144])[0]
        if end > META_LIMIT:
            return 0
        return end if len(head) >= end else None

    def _begin(self) -> None:
        head = bytes(self._head or b"")
        end = self._meta_end() or 0
        self._head = None
        mark = head.find(b"\x02\x00\x10\x00UI", 132, end)
        if mark >= 0:
            (length,) = struct.unpack("<H", head[mark + 6 : mark + 8])
            self._hash.update(head[mark + 8 : mark + 8 + length].rstrip(b"\0 ") + b"\n")
        self._hash.update(head[end:])


def incoming() -> Path:
    """Return the folder for bytes on their way in, on the landing store's own disk where it has one."""
    folder = local_path(landing(), "incoming") or settings.HOME / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def land(stream: BinaryIO | Iterable[bytes], limit: int | None = None) -> Landed:
    """Write a stream to a temporary file while hashing it. Raises TooLarge, OSError (disk full)."""
    limit = settings.MAX_INSTANCE_BYTES if limit is None else limit
    digest, size = DataSetDigest(), 0
    path = incoming() / f"{uuid.uuid4()}.part"
    try:
        with path.open("xb") as out:
            for chunk in _chunks(stream):
                size += len(chunk)
                digest.update(chunk)
                if size > limit:
                    raise TooLarge(size, digest.hexdigest())
                out.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Landed(path, size, digest.hexdigest()).sync_soon()


def adopt(path: Path, digest: DataSetDigest | None = None) -> Landed:
    """Take over a file that a door has written, moving it to `incoming()` when it is not there.

    digest  of all its bytes, where the door has taken it while writing
    """
    if path.parent != incoming():
        path = Path(shutil.move(path, incoming() / f"{uuid.uuid4()}.part"))
    landed = Landed(path, path.stat().st_size, "").sync_soon()
    if digest is None:
        digest = DataSetDigest()
        with path.open("rb") as file:
            for chunk in _chunks(file):
                digest.update(chunk)
    landed.digest = digest.hexdigest()
    return landed


def _chunks(stream: BinaryIO | Iterable[bytes]) -> Iterable[bytes]:
    read = getattr(stream, "read", None)
    return iter(lambda: read(CHUNK), b"") if read else stream


@dataclass
class Kept:
    """Bytes under their final names, perhaps not durable yet."""

    landed: Sequence[tuple[Landed, uuid.UUID]]
    names: list[str]
    folder: Path | None = None
    synced: Future[None] | None = None

    def wait(self) -> list[tuple[Landed, OSError]]:
        """Return when all is durable, with those that could not be made so."""
        broken: list[tuple[Landed, OSError]] = []
        for one, _ in self.landed:
            try:
                one.sync()
                if self.synced is not None:
                    self.synced.result()
            except OSError as error:
                broken.append((one, error))
        return broken

    def undo(self) -> None:
        """Take the final names back, for a transaction that does not come about."""
        if self.folder is not None:
            for name in self.names:
                (self.folder / Path(name).name).unlink(missing_ok=True)


def keep_all(landed: Sequence[tuple[Landed, uuid.UUID]]) -> Kept:
    """Give bytes a final name each and begin to make that durable, while the caller does something else.

    The temporary file stays until it is dropped: whoever fails afterwards has lost nothing. What is kept together
    lies in one folder, which is synced once, side by side with the files: the disk's journal takes both at once.
    """
    if not landed:
        return Kept([], [])
    place = landed[0][1].hex[:2]
    names = [f"{place}/{receipt_id}.dcm" for _, receipt_id in landed]
    folder = local_path(landing(), place)
    if folder is None:
        return Kept(landed, [_saved(one, name) for (one, _), name in zip(landed, names, strict=True)])
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)
    for (one, _), name in zip(landed, names, strict=True):
        os.link(one.path, folder / Path(name).name)
    return Kept(landed, names, folder, _syncing.submit(_sync, folder))


def _saved(landed: Landed, name: str) -> str:
    with landed.path.open("rb") as file:
        return landing().save(name, File(file))


def drop_leftovers(now: float | None = None) -> int:
    """Delete temporary files of senders that vanished a day ago. Returns how many."""
    dropped = 0
    for path in incoming().iterdir():
        try:
            if path.stat().st_mtime < (now or time.time()) - TOO_OLD:
                path.unlink()
                dropped += 1
        except FileNotFoundError:
            continue
    return dropped

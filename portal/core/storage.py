"""Files of the two storage roots, reached by name; nothing here knows what lies in them."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.files.storage import FileSystemStorage, Storage, storages


def archive() -> Storage:
    """Where de-identified instances lie."""
    return storages["archive"]


def landing() -> Storage:
    """The drop folder of the doors: appended to everywhere, read back in the identity zone only."""
    return storages["landing"]


def local_path(storage: Storage, name: str) -> Path | None:
    """The file's path where the storage is a local folder, else None."""
    return Path(storage.path(name)) if isinstance(storage, FileSystemStorage) else None


def sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def staged_name(receipt_id: object) -> str:
    """Where the clean file of a receipt waits in the archive storage until the archive takes it."""
    return f"staging/{receipt_id}.dcm"

"""Write a clean instance: new file meta, the cleaned header, and the pixel data byte for byte."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.core.files.base import File
from django.core.files.storage import Storage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from portal.core.storage import local_path, sync_folder
from portal.ingest.inspect import Opened
from portal.ingest.rules import BIG_ENDIAN, IMPLICIT

IMPLEMENTATION_UID = "2.25.299434514352712871312716128371872132412"
BLOCK = 1 << 20


def write_instance(out: BinaryIO, dataset: Dataset, source: Opened) -> None:
    """Write preamble, file meta, header and the untouched pixel data element of `source`.

    What lies behind the pixel data (padding, digital signatures, private groups) is left out: table E.1-1
    removes all of it. A deflated instance is written inflated (Explicit VR Little Endian).
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    meta.TransferSyntaxUID = UID(source.syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "CONCORD"
    out.write(b"\0" * 128 + b"DICM")
    encoded = DicomFileLike(out)
    encoded.is_implicit_VR, encoded.is_little_endian = False, True
    write_file_meta_info(encoded, meta, enforce_standard=True)
    encoded.is_implicit_VR = source.syntax == IMPLICIT
    encoded.is_little_endian = source.syntax != BIG_ENDIAN
    write_dataset(encoded, dataset)
    if source.pixels:
        _copy(source.stream, out, source.pixels.start, source.pixels.end)


def _copy(source: BinaryIO, out: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    left = end - start
    while left:
        block = source.read(min(BLOCK, left))
        if not block:
            raise OSError("the landing file became shorter while it was read")
        out.write(block)
        left -= len(block)


def publish(storage: Storage, name: str, dataset: Dataset, source: Opened) -> None:
    """Write the instance under `name`, whole or not at all, over what an earlier run may have left there."""
    path = local_path(storage, name)
    if path is None:
        with tempfile.TemporaryFile() as buffer:
            write_instance(buffer, dataset, source)
            buffer.seek(0)
            storage.delete(name)
            storage.save(name, File(buffer))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            write_instance(out, dataset, source)
            out.flush()
            os.fchmod(out.fileno(), 0o644)
            os.fsync(out.fileno())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def local_copy(storage: Storage, name: str) -> Iterator[Path]:
    """Give a path to the file, its own where the storage is a folder, else a copy that goes afterwards."""
    path = local_path(storage, name)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".dcm") as copy, storage.open(name) as file:
        while block := file.read(BLOCK):
            copy.write(block)
        copy.flush()
        yield Path(copy.name)

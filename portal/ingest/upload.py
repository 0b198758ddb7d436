"""Browser upload: files, folders and zip files, each instance through the one receive action."""

from __future__ import annotations

import uuid
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, JsonResponse

from portal.core.errors import Refused
from portal.ingest.actions import receive, record_lost, source_for
from portal.ingest.dicomweb import organisation_of
from portal.ingest.models import Receipt, Source
from portal.ingest.queries import as_uuid
from portal.ingest.rules import words

CHUNK = 1 << 20
ZIP_MARK = b"PK\x03\x04"
# what discs and desktops put beside the images
COMPANIONS = frozenset({"dicomdir", "thumbs.db", ".ds_store", "desktop.ini", "autorun.inf"})


class Bomb(Exception):
    """A zip file unpacks to more than the limits allow."""


def upload(request: HttpRequest) -> JsonResponse:
    """Receive the files of a multipart/form-data request; one result a file, in order.

    Form fields: `files` (any number), `batch` (a UUID that joins several requests into one upload).
    Raises Refused 400 without files.
    """
    source = source_for(request.user, organisation_of(request), Source.Kind.UPLOAD)  # type: ignore[arg-type]
    files = [file for name in request.FILES for file in request.FILES.getlist(name)]
    if not files:
        raise Refused("empty", "No file was sent.", status=400)
    batch = as_uuid(request.POST.get("batch", "")) or uuid.uuid4()
    results = [result for file in files for result in _take(source, file, batch)]
    return JsonResponse({"batch": str(batch), "results": results})


def _take(source: Source, file: UploadedFile[Any], batch: uuid.UUID) -> Iterator[dict[str, Any]]:
    name = base_name(file.name or "")
    if name.casefold() in COMPANIONS:
        yield ignored(name)
        return
    head = file.read(4)
    file.seek(0)
    if head != ZIP_MARK:
        yield result(name, receive(source, file.chunks(CHUNK), batch=batch))
        return
    try:
        yield from _unpack(source, file, batch)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        # RuntimeError: encrypted; NotImplementedError: a method that zipfile does not know
        yield result(name, record_lost(source, batch, "bad_archive", file.size or 0))
    except Bomb as error:
        yield result(name, record_lost(source, batch, "bad_archive", file.size or 0, str(error)))


def _unpack(source: Source, file: UploadedFile[Any], batch: uuid.UUID) -> Iterator[dict[str, Any]]:
    """Receive the entries of a zip file. Names are shown and never used as paths; nothing is nested."""
    with zipfile.ZipFile(file.file) as archive:  # type: ignore[arg-type]
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > settings.MAX_UPLOAD_FILES:
            raise Bomb(f"It holds more than {settings.MAX_UPLOAD_FILES} files.")
        budget = Budget(max((file.size or 0) * settings.MAX_ZIP_RATIO, 16 * CHUNK))
        for entry in entries:
            name = base_name(entry.filename)
            if name.casefold() in COMPANIONS or entry.filename.startswith("__MACOSX/"):
                yield ignored(name)
                continue
            with archive.open(entry) as stream:
                yield result(name, receive(source, budget.spend(stream), batch=batch))


class Budget:
    """How many bytes a zip file may still unpack to."""

    def __init__(self, size: int) -> None:
        self.left = size

    def spend(self, stream: IO[bytes] | BinaryIO) -> Iterator[bytes]:
        """Yield the stream's chunks. Raises Bomb when the budget is used up."""
        while chunk := stream.read(CHUNK):
            self.left -= len(chunk)
            if self.left < 0:
                raise Bomb("It unpacks to far more than its own size.")
            yield chunk


def base_name(path: str) -> str:
    """The last part of a path of any system, short enough to show."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1][:100]


def ignored(name: str) -> dict[str, Any]:
    """The result of a file that is no scan and was left out."""
    return {"name": name, "state": "ignored", "receipt": None, "reason": "", "words": "Not a scan; left out."}


def result(name: str, receipt: Receipt) -> dict[str, Any]:
    """One file's result for the page."""
    text = "Already here." if receipt.state == Receipt.State.DUPLICATE else "Received."
    return {
        "name": name,
        "state": receipt.state,
        "receipt": str(receipt.pk),
        "reason": receipt.reason,
        "words": words(receipt.reason) if receipt.reason else text,
    }

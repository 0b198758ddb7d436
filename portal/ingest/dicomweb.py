"""STOW-RS (PS3.18 section 10.5): one request, many instances, an answer for each."""

from __future__ import annotations

import json
import uuid
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from portal.accounts.models import Organisation
from portal.accounts.queries import memberships
from portal.core.errors import Refused
from portal.ingest import landing
from portal.ingest.actions import receive_path, refuse_oversized, source_for
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import REASONS

CHUNK = 1 << 20
MAX_PARTS = 10_000
GOOD = {Receipt.State.RECEIVED, Receipt.State.DUPLICATE}


def stow(request: HttpRequest, study_uid: str | None = None) -> HttpResponse:
    """Store the parts of a multipart/related request.

    200 all stored, 202 some, 409 none, 400 not a multipart body, 413 too many parts, 415 another media type.
    """
    source = source_for(request.user, organisation_of(request), Source.Kind.DICOMWEB)  # type: ignore[arg-type]
    store = _Store(source, study_uid, uuid.uuid4())
    _feed(request, _boundary(request.headers.get("Content-Type", "")), store)
    if not store.receipts:
        raise Refused("empty", "The request holds no instance.", status=400)
    good = sum(r.state in GOOD for r in store.receipts)
    status = 200 if good == len(store.receipts) else 202 if good else 409
    return HttpResponse(json.dumps(answer(store.receipts)), status=status, content_type="application/dicom+json")


def organisation_of(request: HttpRequest) -> Organisation:
    """The organisation that a request sends for. Raises Refused when the user has none."""
    organisation = getattr(request, "organisation", None)
    mine = [m.organisation for m in memberships(request.user)]
    if organisation and any(o.pk == organisation.pk for o in mine):
        return next(o for o in mine if o.pk == organisation.pk)
    if not mine:
        raise Refused("no_organisation", "You belong to no organisation.", status=403)
    return mine[0]


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    kind = str(message.get_param("type") or "application/dicom").lower()
    if message.get_content_type() != "multipart/related" or kind != "application/dicom":
        words = 'Send multipart/related; type="application/dicom".'
        raise Refused("media_type", words, status=415)
    boundary = message.get_param("boundary")
    if not boundary or len(str(boundary)) > 256:
        raise Refused("boundary", "The multipart boundary is missing or too long.", status=400)
    return str(boundary).encode()


def _feed(request: HttpRequest, boundary: bytes, store: _Store) -> None:
    parser = MultipartParser(boundary, store.callbacks())
    try:
        while chunk := request.read(CHUNK):
            parser.write(chunk)
        parser.finalize()
    except MultipartParseError as error:
        store.drop()
        if not store.receipts:
            raise Refused("multipart", "The body is not multipart/related as announced.", status=400) from error
    except BaseException:
        store.drop()
        raise


class _Store:
    """Collects each part in a file of the landing store and receives it when it ends."""

    def __init__(self, source: Source, study_uid: str | None, batch: uuid.UUID) -> None:
        self.source, self.study_uid, self.batch = source, study_uid, batch
        self.receipts: list[Receipt] = []
        self.path: Path | None = None
        self.file: BinaryIO | None = None
        self.size = 0

    def callbacks(self) -> Any:
        return {"on_part_begin": self.begin, "on_part_data": self.data, "on_part_end": self.end}

    def begin(self) -> None:
        if len(self.receipts) >= min(MAX_PARTS, settings.MAX_UPLOAD_FILES):
            raise Refused("too_many", "The request holds too many instances.", status=413)
        self.path, self.size = landing.incoming() / f"{uuid.uuid4()}.part", 0
        self.file = self.path.open("xb")

    def data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.file and self.size <= settings.MAX_INSTANCE_BYTES:
            self.file.write(data[start:end])

    def end(self) -> None:
        assert self.file and self.path
        self.file.close()
        self.file = None
        if self.size > settings.MAX_INSTANCE_BYTES:
            self.path.unlink()
            self.receipts.append(refuse_oversized(self.source, self.size, batch=self.batch))
        else:
            self.receipts.append(receive_path(self.source, self.path, batch=self.batch, study_uid=self.study_uid))
        self.path = None

    def drop(self) -> None:
        """Forget a part that never ended."""
        if self.file:
            self.file.close()
        if self.path:
            self.path.unlink(missing_ok=True)


def answer(receipts: list[Receipt]) -> dict[str, Any]:
    """The response data set of PS3.18 10.5.3, naming instances by the UIDs that were sent."""
    stored, failed = [], []
    for receipt in receipts:
        header = getattr(receipt, "sent", None)
        item: dict[str, Any] = {
            "00081150": {"vr": "UI", "Value": [header.sop_class] if header else []},
            "00081155": {"vr": "UI", "Value": [header.sop_uid] if header else []},
        }
        if receipt.state in GOOD:
            stored.append(item)
        else:
            reason = REASONS.get(receipt.reason, REASONS["unreadable"])
            item["00081197"] = {"vr": "US", "Value": [reason.status]}
            failed.append(item)
    out: dict[str, Any] = {}
    if stored:
        out["00081199"] = {"vr": "SQ", "Value": stored}
    if failed:
        out["00081198"] = {"vr": "SQ", "Value": failed}
    return out

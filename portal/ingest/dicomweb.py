"""STOW-RS (PS3.18 section 10.5): one request, many instances, an answer for each."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse

from portal.accounts.models import Organisation
from portal.accounts.queries import memberships
from portal.core import native_xml
from portal.core.errors import Refused
from portal.ingest import landing, metadata_form, parts
from portal.ingest.actions import receive_all, record_lost, refuse_oversized, source_for
from portal.ingest.arrivals import Arrival, arrive
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import REASONS

GOOD = {Receipt.State.RECEIVED, Receipt.State.DUPLICATE}
DICOM, JSON, XML = "application/dicom", "application/dicom+json", "application/dicom+xml"
TOGETHER, TOGETHER_BYTES = 32, 256 << 20  # instances of one request that become durable together


def stow(request: HttpRequest, study_uid: str | None = None) -> HttpResponse:
    """Store the instances of a request: multipart/related of files or of metadata and bulk data, or one file.

    200 all stored, 202 some, 409 none, 400 not a multipart body, 413 too many parts, 415 another media type.
    """
    source = source_for(request.user, organisation_of(request), Source.Kind.DICOMWEB)  # type: ignore[arg-type]
    kind = parts.content_type(request.headers.get("Content-Type", ""))
    form = str(kind.get_param("type") or DICOM).lower() if kind.get_content_type() == "multipart/related" else ""
    if form not in {"", DICOM, JSON, XML} or (not form and kind.get_content_type() != DICOM):
        words = f'Send multipart/related; type="{DICOM}" (or "{JSON}", "{XML}" with bulk data), or {DICOM}.'
        raise Refused("media_type", words, status=415)
    boundary = parts.boundary_of(kind) if form else b""
    store = _Store(source, study_uid)
    try:
        if form in {JSON, XML}:
            sound = _metadata_form(request, boundary, form, store)
        elif form:
            sound = parts.read_parts(request, boundary, store.take)
        else:
            sound = parts.read_single(request, store.take)
    finally:  # what arrived whole is kept, whatever follows
        store.flush()
    if not store.receipts:
        if not sound:
            raise Refused("multipart", "The body is not multipart/related as announced.", status=400)
        raise Refused("empty", "The request holds no instance.", status=400)
    good = sum(r.state in GOOD for r in store.receipts)
    status = 200 if good == len(store.receipts) else 202 if good else 409
    out = answer(store.receipts)
    if XML in request.headers.get("Accept", "") and JSON not in request.headers.get("Accept", ""):
        return HttpResponse(native_xml.encode(out), status=status, content_type=XML)
    return HttpResponse(json.dumps(out), status=status, content_type=JSON)


def organisation_of(request: HttpRequest) -> Organisation:
    """The organisation that a request sends for. Raises Refused when the user has none."""
    organisation = getattr(request, "organisation", None)
    mine = [m.organisation for m in memberships(request.user)]
    if organisation and any(o.pk == organisation.pk for o in mine):
        return next(o for o in mine if o.pk == organisation.pk)
    if not mine:
        raise Refused("no_organisation", "You belong to no organisation.", status=403)
    return mine[0]


class _Store:
    """Receives instances in groups; its receipts are in the order of the parts."""

    def __init__(self, source: Source, study_uid: str | None) -> None:
        self.source, self.study_uid, self.batch = source, study_uid, uuid.uuid4()
        self.receipts: list[Receipt] = []
        self.waiting: list[Arrival] = []

    def take(self, part: parts.Part) -> None:
        if not part.whole:
            part.drop()
            self.flush()
            self.receipts.append(refuse_oversized(self.source, part.size, batch=self.batch))
            return
        landed = landing.adopt(part.path, part.digest)
        self.waiting.append(arrive(self.source, landed, self.batch, self.study_uid))
        if len(self.waiting) >= TOGETHER or sum(one.landed.size for one in self.waiting) >= TOGETHER_BYTES:
            self.flush()

    def lost(self, reason: str, detail: str = "") -> None:
        """An instance of which there are no bytes."""
        self.flush()
        self.receipts.append(record_lost(self.source, self.batch, reason, 0, detail))

    def flush(self) -> None:
        """Make durable what waits."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            self.receipts += receive_all(waiting)


def _metadata_form(request: HttpRequest, boundary: bytes, form: str, store: _Store) -> bool:
    """Metadata in the first part, bulk data in the others (PS3.18 10.5.1.2): put together as files, then received."""
    with metadata_form.Collector(form == XML) as collector:
        sound = parts.read_parts(request, boundary, collector.take)
        if sound:
            for made in collector.instances():
                if isinstance(made, parts.Part):
                    store.take(made)
                else:
                    store.lost(*made)
    return sound


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
    if failed:
        out["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        out["00081199"] = {"vr": "SQ", "Value": stored}
    return out

"""Faces at the portal's door: CT and MR wait until their series can be looked at as a whole. Identity zone only.

An instance is told apart by its class; others are not even looked up. See the app's README, "At the door".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from portal.core import outbox, storage
from portal.deidentify import vault
from portal.deidentify.faces import header, study
from portal.deidentify.faces.borrowed import BORROWED, few, may_be_head
from portal.deidentify.faces.frames import Files, Frame, frames, hull
from portal.deidentify.faces.stored import Changed, face_of, planes_of
from portal.deidentify.faces.whole import IMPOSSIBLE, Face, Slice, beside, beyond, left_over, look, packed, saying
from portal.deidentify.files import local_copy
from portal.deidentify.models import FaceSeries, FaceSlice
from portal.ingest.arrivals import announce
from portal.ingest.inspect import Opened, opened
from portal.ingest.models import LandingFile, Receipt, Source
from portal.ingest.rules import WAITS_FOR_SERIES

log = structlog.get_logger(__name__)
State = FaceSeries.State
DECIDED = (State.PLANNED, State.NONE, State.OPEN)
MOST_TRIES = 3  # looks at a series that may end a worker


class Held(Exception):
    """The instance waits for the rest of its series."""


@dataclass(frozen=True)
class Decided:
    """What becomes of the face in one instance, and by which decision about its series (None: by none).

    left  why the plan cannot be applied to all of the instance; a code
    """

    face: Face
    left: str = ""
    series: int | None = None
    number: int = 0

    def report(self, here: bool) -> dict[str, Any]:
        """What was done, without a value; JSON. here: the instance shows a part of the face that was replaced."""
        if self.face.plan is None:
            return {"done": "open" if self.face.open else "none", "reason": self.face.reason}
        if self.left:
            return {"done": "open", "reason": "in_part" if here and self.left == "beyond_plan" else self.left}
        return {"done": "replaced", "here": here, **({"reason": BORROWED} if self.face.reason == BORROWED else {})}


def decided(receipt: Receipt, found: Opened, held: bool = True) -> Decided | None:
    """What becomes of the face in an instance whose header is not cleaned yet; None where no face can be.

    held  an instance that came before its series was looked at waits. Raises Held then, and has written it down.
    """
    if receipt.source.privacy == Source.Privacy.DONE or found.header.sop_class not in header.LOOKED_AT:
        return None
    slices = frames(found.dataset)
    said = header.says_head(found.dataset)
    digest = vault.series_digest(receipt.organisation_id, found.header.series_uid)
    rows = FaceSeries.objects.filter(organisation_id=receipt.organisation_id, digest=digest).defer("plan")
    if not slices:  # nothing to look for it in, and nothing to wait for
        known = rows.filter(state=State.PLANNED).exists()
        return Decided(Face(reason="no_single_slices", open=bool(said) or known))
    if not held:
        series = rows.first()
        return None if series is None else _decided(series, found, slices)
    values = {
        "modality": header.modality(found.dataset) or "",
        "plane": _stored(slices),
        "says_head": said,
        "frame": vault.frame_digest(
            receipt.organisation_id, found.header.study_uid, str(found.dataset.get("FrameOfReferenceUID") or "")
        ),
        "projection": all(one.projection for one in slices),
    }
    with transaction.atomic():
        key = {"organisation_id": receipt.organisation_id, "digest": digest}
        FaceSeries.objects.get_or_create(**key, defaults={"state": State.WAITING})
        series = rows.select_for_update().get()
        one, new = FaceSlice.objects.get_or_create(receipt_id=receipt.pk, defaults={"series": series, **values})
        if series.state in DECIDED and (one.looked or _known(series, slices)):
            if not one.looked:
                FaceSlice.objects.filter(pk=one.pk).update(looked=True)
            return _decided(series, found, slices)
        _hold(receipt, series, new)
    raise Held


def _decided(series: FaceSeries, found: Opened, slices: Sequence[Frame]) -> Decided:
    face = face_of(series)
    return Decided(face, left_over(face, found.dataset, slices), series.pk, series.number)


def finish(receipt: Receipt, made: Decided | None) -> None:
    """Write down by which decision an instance was cleaned, in the caller's transaction. Raises Changed."""
    if made is None or made.series is None:
        return
    series = FaceSeries.objects.select_for_update().defer("plan").filter(pk=made.series).first()
    if series is None or series.number != made.number:
        raise Changed
    FaceSlice.objects.filter(receipt_id=receipt.pk).update(done=made.number)


def look_at_quiet_series(limit: int = 200) -> int:
    """Have the series looked at whose slices have waited long enough. Returns how many.

    None is quiet while CT or MR that came before the quiet time still waits to be opened: it may belong to it.
    """
    now = timezone.now()
    quiet, latest = (now - timedelta(seconds=s) for s in (settings.FACE_SETTLE_SECONDS, settings.FACE_LATEST_SECONDS))
    came = {"state": Receipt.State.RECEIVED, "reason": "", "sop_class__in": header.LOOKED_AT}
    unopened = Receipt.objects.filter(~Exists(FaceSlice.objects.filter(receipt_id=OuterRef("pk"))), **came)
    busy = set(unopened.filter(received_at__range=(latest, quiet)).values_list("organisation_id", flat=True))
    rested = Q(last_at__lte=quiet) & ~Q(organisation_id__in=busy) & (Q(asked_at=None) | Q(asked_at__lt=F("last_at")))
    due = FaceSeries.objects.filter(rested | Q(first_at__lte=latest), state=State.WAITING)
    return sum(_ask(series, now) for series in due.defer("plan").order_by("first_at")[:limit])


def _ask(series: FaceSeries, now: datetime) -> bool:
    with transaction.atomic():
        moved = series.advance(State.PLANNING, asked_at=now)
        if moved:
            outbox.emit("deidentify.series_quiet", series.pk)
    return moved


def look_at_series(series_pk: int) -> FaceSeries | None:
    """Look for the face in all slices of a series that are here, and let those that wait go on; twice as once.

    Of a series that shows too little of what may be a head the rest is waited for, up to the latest time. Instances
    that were cleaned by another decision are cleaned anew. None when the series has gone. Raises OSError.
    """
    series = FaceSeries.objects.filter(pk=series_pk).first()
    if series is None or series.state != State.PLANNING:
        return series
    FaceSeries.objects.filter(pk=series.pk).update(tries=series.tries + 1)
    rows = list(series.slices.all())
    said = saying(row.says_head for row in rows)
    known: study.Known = frozenset()
    if series.tries >= MOST_TRIES:
        face = Face(reason="not_read: gave up", open=bool(said))
    else:
        receipt = Receipt.objects.filter(pk__in=[row.receipt_id for row in rows])
        alive = set(receipt.exclude(state=Receipt.State.DISCARDED).values_list("pk", flat=True))
        try:
            with Files(_landed) as files:
                slices = [one for row in rows if row.receipt_id in alive for one in _slices(row, files)]
                face = look(slices, said, vault.series_key(series.organisation_id, series.digest))
                face, known = study.lent(series, rows, face, slices)
        except OSError:  # the storage, not the series: that is no try
            FaceSeries.objects.filter(pk=series.pk).update(tries=series.tries)
            raise
        planes = [one.plane for one in slices if not one.projection]
        latest = timezone.now() - timedelta(seconds=settings.FACE_LATEST_SECONDS)
        if series.first_at > latest and few(face, planes) and may_be_head(planes, said):
            series.advance(State.WAITING, tries=0)
            log.info("faces.rest_waited_for", series=series.pk, reason=face.reason, slices=len(rows))
            return series
    with transaction.atomic():
        _decide(series, face, rows, known)
    return series


def _decide(series: FaceSeries, face: Face, rows: Sequence[FaceSlice], known: study.Known) -> None:
    """The decision, its consequences and the work that follows, in the caller's transaction.

    known  the decisions about other series of the study that it was made by
    A face that was found once is never given back: slices that come later may leave a gap that hides it again.
    """
    frame = study.alone_in_frame(rows)
    if frame and study.known(series, frame) != known and face.reason != "not_read: gave up":
        series.advance(State.WAITING, tries=0, asked_at=None)  # another series was decided meanwhile
        return
    looked = [row.pk for row in rows]
    before = face_of(series)
    if face.plan is None and before.plan is not None:
        face = before
    changed = series.number == 0 or not face.same(before)
    number = series.number + int(changed)
    state = State.PLANNED if face.plan else State.OPEN if face.open else State.NONE
    plan = vault.cipher().encrypt(packed(face.plan)) if face.plan else b""
    values = {"plan": plan, "reason": face.reason[:40], "open": face.open, "number": number, "tries": 0}
    if not series.advance(state, **values):
        return
    if frame and face.plan is not None and face.reason != BORROWED and changed:
        study.have_looked_at_anew(series, frame, face.plan)
    FaceSlice.objects.filter(pk__in=looked).update(looked=True)
    # what came meanwhile goes on too: it is asked again whether it has to wait
    waiting = series.slices.filter(done__isnull=True).values("receipt_id")
    held = Receipt.objects.filter(pk__in=waiting, state=Receipt.State.RECEIVED, reason=WAITS_FOR_SERIES)
    receipts = list(held)
    held.update(reason="")
    outbox.emit_all("deidentify.face_decided", [receipt.pk for receipt in receipts])
    for receipt in receipts[:1]:  # one is enough for a page to be fetched anew
        receipt.reason = ""
        announce(receipt)
    again = series.slices.filter(done__isnull=False).exclude(done=number)
    outbox.emit_all("deidentify.face_changed", again.values_list("receipt_id", flat=True))
    log.info("faces.decided", series=series.pk, state=state, reason=face.reason, slices=len(looked), number=number)


def _hold(receipt: Receipt, series: FaceSeries, new: bool) -> None:
    now = timezone.now()
    if series.state in DECIDED:
        series.advance(State.WAITING, first_at=now, last_at=now)
    elif new:
        FaceSeries.objects.filter(pk=series.pk).update(last_at=now)
    waits = Receipt.objects.filter(pk=receipt.pk, state=Receipt.State.RECEIVED).exclude(reason=WAITS_FOR_SERIES)
    if waits.update(reason=WAITS_FOR_SERIES):
        receipt.reason = WAITS_FOR_SERIES
        announce(receipt)


def _known(series: FaceSeries, slices: Sequence[Frame]) -> bool:
    """Whether the plan of a series can be applied to an instance that came after it."""
    plan = face_of(series).plan
    seen = [plane for row in series.slices.filter(looked=True) for plane in planes_of(row)]
    ends = hull([one for one in slices if not one.projection])
    if plan is None or not seen:  # slices whose originals are gone are forgotten
        return False
    return not any(beyond(plan, plane) or beside(plane, seen) for plane in ends)


def _stored(slices: Sequence[Frame]) -> Any:
    """Where an instance lies, as FaceSlice.plane keeps it."""
    if len(slices) == 1 and slices[0].number == 0:
        return asdict(slices[0].plane)
    return [asdict(plane) for plane in hull(slices)]


def _slices(row: FaceSlice, files: Files) -> Iterator[Slice]:
    """The slices of an instance; where it has several frames, its header says where they lie."""

    def read(number: int) -> Any:
        return lambda: files.values(row.receipt_id, number)

    if isinstance(row.plane, dict):
        [plane] = planes_of(row)
        yield Slice(plane, row.modality, read(0), projection=row.projection)
        return
    try:
        found = files.frames(row.receipt_id)
    except (FileNotFoundError, *IMPOSSIBLE):
        return
    for one in found:
        yield Slice(one.plane, row.modality, read(one.number), one.kind, one.first, one.projection)


@contextmanager
def _landed(receipt_id: Any) -> Iterator[Opened]:
    landed = LandingFile.objects.filter(receipt_id=receipt_id).first()
    if landed is None:
        raise FileNotFoundError
    with local_copy(storage.landing(), landed.name) as path, opened(path) as file:
        yield file

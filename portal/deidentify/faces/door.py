"""Faces at the portal's door: CT and MR wait until their series can be looked at as a whole. Identity zone only.

An instance is told apart by its class; others are not even looked up. See the app's README, "At the door".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from portal.core import outbox, storage
from portal.deidentify import vault
from portal.deidentify.faces import Plan, Plane, header
from portal.deidentify.faces.whole import Face, Slice, beside, beyond, frame, look, packed, saying, unpacked
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


class Changed(Exception):
    """The series was decided anew, or has gone, while an instance of it was cleaned."""


@dataclass(frozen=True)
class Decided:
    """What becomes of the face in one instance, and by which decision about its series (None: by none)."""

    face: Face
    placed: bool = False
    series: int | None = None
    number: int = 0

    def report(self, painted: bool) -> dict[str, Any]:
        """What was done, without a value; JSON. painted: the instance shows a part of the face."""
        if self.face.plan is not None and self.placed:
            return {"done": "replaced", "here": painted}
        if self.face.plan is not None:
            return {"done": "open", "reason": "beyond_plan"}
        return {"done": "open" if self.face.open else "none", "reason": self.face.reason}


def decided(receipt: Receipt, found: Opened, held: bool = True) -> Decided | None:
    """What becomes of the face in an instance whose header is not cleaned yet; None where no face can be.

    held  an instance that came before its series was looked at waits. Raises Held then, and has written it down.
    """
    if receipt.source.privacy == Source.Privacy.DONE or found.header.sop_class not in header.LOOKED_AT:
        return None
    kind, place = header.modality(found.dataset), header.plane(found.dataset)
    said = header.says_head(found.dataset)
    digest = vault.series_digest(receipt.organisation_id, found.header.series_uid)
    rows = FaceSeries.objects.filter(organisation_id=receipt.organisation_id, digest=digest).defer("plan")
    if kind is None or place is None:  # no slice: nothing to look for it in, and nothing to wait for
        known = rows.filter(state=State.PLANNED).exists()
        return Decided(Face(reason="no_single_slices", open=bool(said) or known))
    if not held:
        series = rows.first()
        return None if series is None else _decided(series, place)
    with transaction.atomic():
        key = {"organisation_id": receipt.organisation_id, "digest": digest}
        FaceSeries.objects.get_or_create(**key, defaults={"state": State.WAITING})
        series = rows.select_for_update().get()
        one, new = FaceSlice.objects.get_or_create(
            receipt_id=receipt.pk,
            defaults={"series": series, "modality": kind, "plane": asdict(place), "says_head": said},
        )
        if series.state in DECIDED and (one.looked or _known(series, place)):
            if not one.looked:
                FaceSlice.objects.filter(pk=one.pk).update(looked=True)
            return _decided(series, place)
        _hold(receipt, series, new)
    raise Held


def _decided(series: FaceSeries, place: Plane) -> Decided:
    face = _face(series)
    return Decided(face, face.plan is None or not beyond(face.plan, place), series.pk, series.number)


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
    rested = Q(last_at__lte=quiet) & ~Q(organisation_id__in=busy)
    due = FaceSeries.objects.filter(rested | Q(first_at__lte=latest), state=State.WAITING)
    return sum(_ask(series) for series in due.defer("plan").order_by("first_at")[:limit])


def _ask(series: FaceSeries) -> bool:
    with transaction.atomic():
        moved = series.advance(State.PLANNING)
        if moved:
            outbox.emit("deidentify.series_quiet", series.pk)
    return moved


def look_at_series(series_pk: int) -> FaceSeries | None:
    """Look for the face in all slices of a series that are here, and let those that wait go on; twice as once.

    Instances that were cleaned by another decision are cleaned anew. None when the series has gone. Raises OSError.
    """
    series = FaceSeries.objects.filter(pk=series_pk).first()
    if series is None or series.state != State.PLANNING:
        return series
    FaceSeries.objects.filter(pk=series.pk).update(tries=series.tries + 1)
    rows = list(series.slices.all())
    said = saying(row.says_head for row in rows)
    if series.tries >= MOST_TRIES:
        face = Face(reason="not_read: gave up", open=bool(said))
    else:
        receipt = Receipt.objects.filter(pk__in=[row.receipt_id for row in rows])
        alive = set(receipt.exclude(state=Receipt.State.DISCARDED).values_list("pk", flat=True))
        key = vault.series_key(series.organisation_id, series.digest)
        slices = [Slice(_plane(row.plane), row.modality, partial(_values, row.receipt_id))
                  for row in rows if row.receipt_id in alive]  # fmt: skip
        try:
            face = look(slices, said, key)
        except OSError:  # the storage, not the series: that is no try
            FaceSeries.objects.filter(pk=series.pk).update(tries=series.tries)
            raise
    with transaction.atomic():
        _decide(series, face, [row.pk for row in rows])
    return series


def _decide(series: FaceSeries, face: Face, looked: list[int]) -> None:
    """The decision, its consequences and the work that follows, in the caller's transaction.

    A face that was found once is never given back: slices that come later may leave a gap that hides it again.
    """
    if face.plan is None and _face(series).plan is not None:
        face = _face(series)
    number = series.number + int(series.number == 0 or not face.same(_face(series)))
    state = State.PLANNED if face.plan else State.OPEN if face.open else State.NONE
    plan = vault.cipher().encrypt(packed(face.plan)) if face.plan else b""
    values = {"plan": plan, "reason": face.reason[:40], "open": face.open, "number": number, "tries": 0}
    if not series.advance(state, **values):
        return
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


def _known(series: FaceSeries, place: Plane) -> bool:
    """Whether the plan of a series can be applied to a slice that came after it."""
    plan = _face(series).plan
    planes = series.slices.filter(looked=True).values_list("plane", flat=True)
    return plan is not None and not beyond(plan, place) and not beside(place, map(_plane, planes))


def _face(series: FaceSeries) -> Face:
    """The last decision about a series."""
    return Face(_plan(series.pk, series.number), series.reason, series.open)


@lru_cache(maxsize=8)  # slices of a series come one after the other
def _plan(series_pk: int, number: int) -> Plan | None:
    sealed = FaceSeries.objects.filter(pk=series_pk, number=number).values_list("plan", flat=True).first()
    if sealed is None:
        raise Changed  # between the reading of the series and of its plan
    return unpacked(vault.cipher().decrypt(bytes(sealed))) if sealed else None


def _plane(stored: dict[str, Any]) -> Plane:
    return Plane(**{name: tuple(value) for name, value in stored.items()})


def _values(receipt_id: Any) -> Any:
    landed = LandingFile.objects.filter(receipt_id=receipt_id).first()
    if landed is None:
        raise FileNotFoundError
    with local_copy(storage.landing(), landed.name) as path, opened(path) as file:
        return header.measured(file.dataset, frame(file))

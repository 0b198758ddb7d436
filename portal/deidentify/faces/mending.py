"""Series at the door that were forgotten, and those that are over. Identity zone only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import structlog
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from portal.core import outbox
from portal.core.models import OutboxEvent
from portal.deidentify.faces.door import DECIDED, State
from portal.deidentify.models import FaceSeries, FaceSlice
from portal.ingest.models import LandingFile, Receipt

log = structlog.get_logger(__name__)
FORGOTTEN = timedelta(minutes=10)  # after which work that nobody owes any more is owed again
LIMIT = 500


def mend() -> int:
    """Owe again what nobody owes any more: looks at series, slices that may go on, instances to be cleaned anew.

    Work that failed too often is not owed any more (core.outbox), and no scan may wait for ever. Returns how much.
    """
    before = timezone.now() - FORGOTTEN
    stuck = FaceSeries.objects.filter(state=State.PLANNING, state_since__lt=before).defer("plan")
    lost = _not_owed("portal.deidentify.tasks.look_at_series", stuck.values_list("pk", flat=True)[:LIMIT])
    found = sum(series.advance(State.WAITING, asked_at=None) for series in stuck.filter(pk__in=lost))
    slices = FaceSlice.objects.filter(series__state__in=DECIDED, series__state_since__lt=before)
    waiting = slices.filter(done__isnull=True, at__lt=before)
    old = slices.filter(done__isnull=False).exclude(done=F("series__number"))
    for rows, state, topic, task in (
        (waiting, Receipt.State.RECEIVED, "deidentify.face_decided", "deidentify_receipt"),
        (old, Receipt.State.ARCHIVED, "deidentify.face_changed", "renew_face"),
    ):
        receipts = Receipt.objects.filter(pk__in=rows.values("receipt_id"), state=state)
        keys = _not_owed(f"portal.deidentify.tasks.{task}", receipts.values_list("pk", flat=True)[:LIMIT])
        outbox.emit_all(topic, keys)
        found += len(keys)
    if found:
        log.warning("faces.mended", found=found)
    return found


def forget() -> int:
    """Delete the slices whose originals have gone from the landing store, and series without any left."""
    landed = LandingFile.objects.filter(receipt_id=OuterRef("receipt_id"))
    gone, _ = FaceSlice.objects.filter(~Exists(landed)).delete()
    left = FaceSlice.objects.filter(series=OuterRef("pk"))
    before = timezone.now() - FORGOTTEN
    series, _ = FaceSeries.objects.filter(~Exists(left), last_at__lt=before).delete()
    return gone + series


def _not_owed(task: str, keys: Iterable[Any]) -> list[Any]:
    found = list(keys)
    living = OutboxEvent.objects.filter(task=task, key__in=map(str, found), state__in=["waiting", "leased"])
    owed = set(living.values_list("key", flat=True))
    return [key for key in found if str(key) not in owed]

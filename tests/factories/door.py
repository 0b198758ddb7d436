"""Files through the portal's door in the test's own process: what waits for its series is let go on."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset

from portal.archive.models import Instance
from portal.core import storage
from portal.core.models import OutboxEvent
from portal.deidentify.actions import deidentify_receipt
from portal.deidentify.faces import door
from portal.deidentify.models import FaceSeries
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source


def received(source: Source, content: bytes) -> Receipt:
    return receive(source, io.BytesIO(content))


def look() -> None:
    """Every series that waits has waited as long as it may, and is looked at."""
    FaceSeries.objects.filter(state="waiting").update(first_at=timezone.now() - timedelta(days=2))
    for series in FaceSeries.objects.filter(state="waiting"):
        series.advance("planning")
        door.look_at_series(series.pk)


def archived(receipt: Receipt) -> Dataset:
    """What lies in the archive of a receipt."""
    receipt.refresh_from_db()
    with storage.archive().open(Instance.objects.get(sop_uid=receipt.sop_uid).name) as file:
        return dcmread(io.BytesIO(file.read()))


def owed(topic: str) -> set[str]:
    """Keys of what is owed under a topic, or was."""
    return set(OutboxEvent.objects.filter(topic=topic).values_list("key", flat=True))


def cleaned(receipt_id: Any) -> Receipt:
    """De-identify a receipt; its series is looked at when it waits for that."""
    receipt = deidentify_receipt(receipt_id)
    if receipt.reason == "waits_for_series":
        look()
        receipt = deidentify_receipt(receipt_id)
    return receipt

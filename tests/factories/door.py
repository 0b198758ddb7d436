"""Files through the portal's door in the test's own process: what waits for its series is let go on."""

from __future__ import annotations

import io
from typing import Any

from portal.deidentify.actions import deidentify_receipt
from portal.deidentify.faces import door
from portal.deidentify.models import FaceSeries
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source


def received(source: Source, content: bytes) -> Receipt:
    return receive(source, io.BytesIO(content))


def look() -> None:
    """Every series that waits is quiet now, and is looked at."""
    for series in FaceSeries.objects.filter(state="waiting"):
        series.advance("planning")
        door.look_at_series(series.pk)


def cleaned(receipt_id: Any) -> Receipt:
    """De-identify a receipt; its series is looked at when it waits for that."""
    receipt = deidentify_receipt(receipt_id)
    if receipt.reason == "waits_for_series":
        look()
        receipt = deidentify_receipt(receipt_id)
    return receipt

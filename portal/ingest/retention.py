"""How long originals stay in the landing store; runs in the identity zone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.utils import timezone

from portal.core.storage import landing, local_path
from portal.ingest.landing import drop_leftovers
from portal.ingest.models import LandingFile, Receipt

log = structlog.get_logger(__name__)
BATCH = 1000


def delete_landing_file(receipt_id: str) -> bool:
    """Delete the bytes, then the row, of a receipt that is no longer needed. True when there were any.

    A receipt that lives on (an administrator was faster) keeps its bytes.
    """
    if Receipt.objects.filter(pk=receipt_id, state__in=[Receipt.State.RECEIVED, Receipt.State.QUARANTINED]).exists():
        return False
    row = LandingFile.objects.filter(receipt_id=receipt_id).first()
    if row is None:
        return False
    landing().delete(row.name)
    row.delete()
    return True


def expire() -> int:
    """Delete originals that were dealt with and are older than settings.LANDING_RETENTION_DAYS.

    What waits (received) or was set aside (quarantined) stays until someone decides. Returns how many.
    """
    before = timezone.now() - timedelta(days=settings.LANDING_RETENTION_DAYS)
    gone = 0
    rows = LandingFile.objects.filter(stored_at__lt=before).order_by("stored_at")
    for receipt_id in list(rows.values_list("receipt_id", flat=True)[:BATCH]):
        gone += delete_landing_file(str(receipt_id))
    dropped = drop_leftovers() + drop_orphans()
    if gone or dropped:
        log.info("ingest.expired", originals=gone, leftovers=dropped)
    return gone


def drop_orphans() -> int:
    """Delete files whose row was never committed (a crash between rename and commit), after a day."""
    root: Path | None = local_path(landing(), "")
    if root is None or not root.exists():
        return 0
    before = (timezone.now() - timedelta(days=1)).timestamp()
    old = [path for path in root.glob("[0-9a-f][0-9a-f]/*.dcm") if path.stat().st_mtime < before]
    dropped = 0
    for start in range(0, len(old), BATCH):
        names = {path.relative_to(root).as_posix(): path for path in old[start : start + BATCH]}
        known = set(LandingFile.objects.filter(name__in=names).values_list("name", flat=True))
        for name in names.keys() - known:
            names[name].unlink(missing_ok=True)
            dropped += 1
    return dropped

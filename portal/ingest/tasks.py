"""Work of the doors that only the identity zone may do."""

from portal.core.tasks import identity_task
from portal.ingest import retention


@identity_task
def delete_landing_file(receipt_id: str) -> None:
    """Delete the bytes of one discarded receipt."""
    retention.delete_landing_file(receipt_id)


@identity_task
def expire_landing() -> None:
    """Delete originals whose time is up (beat, hourly)."""
    retention.expire()

"""Tasks of the identity zone."""

from portal.core.tasks import identity_task
from portal.deidentify import actions


@identity_task
def deidentify_receipt(receipt_id: str) -> None:
    """Make the clean copy of a received file."""
    actions.deidentify_receipt(receipt_id)

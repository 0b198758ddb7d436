"""Tasks of the archive."""

from __future__ import annotations

from portal.archive import actions, scoring
from portal.core.tasks import identity_task, short_task


@identity_task
def store_receipt(receipt_id: str) -> None:
    """Put a de-identified file into the archive."""
    actions.store_receipt(receipt_id)


@identity_task
def replace_receipt(receipt_id: str) -> None:
    """Put the newly cleaned file of a receipt in the place of the archived one."""
    actions.replace_receipt(receipt_id)


@short_task
def settle_studies() -> None:
    """Close the studies to which nothing more came (beat, every two seconds)."""
    actions.settle_due_studies()


@short_task
def measure_study(study_pk: str) -> None:
    """Work out the quality of a study's images and of its patient's scans over time."""
    scoring.measure_study(int(study_pk))

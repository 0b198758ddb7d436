"""Tasks of the ledger."""

from portal.billing import actions
from portal.core.tasks import short_task


@short_task
def record_run(run_pk: str) -> None:
    """Enter the use of a run."""
    actions.record_run(run_pk)


@short_task
def record_reading(reading_pk: str) -> None:
    """Enter a reading."""
    actions.record_reading(int(reading_pk))


@short_task
def record_credits(case_pk: str) -> None:
    """Enter the credits that a scored case earned."""
    actions.record_credits(int(case_pk))

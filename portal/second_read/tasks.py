"""Tasks of the comparison."""

from portal.core.tasks import short_task
from portal.second_read import actions


@short_task
def compare_reading(reading_pk: str) -> None:
    """Compare a submitted reading with the model's output."""
    actions.compare_reading(int(reading_pk))


@short_task
def compare_run(run_pk: str) -> None:
    """Compare the readings that waited for a run."""
    actions.compare_run(run_pk)

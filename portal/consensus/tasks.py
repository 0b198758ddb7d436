"""Tasks of consensus."""

from portal.consensus import actions
from portal.core.tasks import short_task


@short_task
def merge_case(case_pk: str) -> None:
    """Merge the readings of a case."""
    actions.merge_case(int(case_pk))

"""Tasks of scoring."""

from portal.core.tasks import short_task
from portal.score import actions


@short_task
def score_case(case_pk: str) -> None:
    """Score a settled case."""
    actions.score_case(int(case_pk))

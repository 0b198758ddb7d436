"""Tasks of reports."""

from portal.core.tasks import short_task
from portal.reports import actions


@short_task
def write_report(case_pk: str) -> None:
    """Write the report of a settled case."""
    actions.write_report(int(case_pk))

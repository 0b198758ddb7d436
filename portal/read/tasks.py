"""Tasks of readings."""

from portal.core.tasks import short_task
from portal.read.workitems import subscribing


@short_task
def forget_reports() -> None:
    """Drop what subscribers to work items never came for (beat, every hour)."""
    subscribing.forget_reports()

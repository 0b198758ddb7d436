"""Tasks of the ways out."""

from portal.core.tasks import export_task, short_task
from portal.export import actions


@short_task
def queue_returns(case_pk: str) -> None:
    """Queue the result of a settled case for automatic destinations."""
    actions.queue_returns(int(case_pk))


@export_task
def send_return(return_pk: str) -> None:
    """Send one result to its PACS."""
    actions.send_return(return_pk)


@export_task
def build_data_set(data_set_pk: str) -> None:
    """Write the file of a data set."""
    actions.build_data_set(data_set_pk)

"""Tasks of the ways out."""

from portal.core.tasks import export_task, identity_task, short_task
from portal.export import actions
from portal.export.returns import actions as returns


@short_task
def queue_returns(case_pk: str) -> None:
    """Queue the result of a settled case for automatic destinations."""
    returns.queue_returns(int(case_pk))


@short_task
def queue_run_returns(run_pk: str) -> None:
    """Queue the results of a finished run for automatic destinations."""
    returns.queue_run_returns(run_pk)


@identity_task
def send_return(return_pk: str) -> None:
    """Send one result to its destination; in the identity zone, which alone can put the identity back."""
    returns.send_return(return_pk)


@short_task
def commitment_settled(commitment_pk: str) -> None:
    """A PACS has said which of the returned objects it keeps."""
    returns.commitment_settled(commitment_pk)


@short_task
def resend_due() -> None:
    """Queue failed returns whose pause is over (beat)."""
    returns.resend_due()


@export_task
def build_data_set(data_set_pk: str) -> None:
    """Write the file of a data set."""
    actions.build_data_set(data_set_pk)

"""Tasks of programmes."""

from portal.core.tasks import short_task
from portal.programmes import actions


@short_task
def make_cases(study_pk: str) -> None:
    """Put a settled study into the programmes it fits."""
    actions.make_cases(int(study_pk))


@short_task
def open_cases(run_pk: str) -> None:
    """Open the cases that waited for a run."""
    actions.open_cases(run_pk)


@short_task
def offer_second(case_pk: str) -> None:
    """Offer a second reading of a case."""
    actions.offer_second(int(case_pk))


@short_task
def expire_claims() -> None:
    """Give back claims whose time is up (beat, every minute)."""
    actions.expire_claims()


@short_task
def open_overdue() -> None:
    """Open cases that wait for a model that is not at work (beat, every minute)."""
    actions.open_overdue()


@short_task
def raise_priority(run_pk: str) -> None:
    """Raise what waits badly after a run."""
    actions.raise_priority(run_pk)

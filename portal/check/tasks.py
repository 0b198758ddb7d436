"""Tasks of the input check."""

from portal.check import actions
from portal.core.tasks import gpu_task, short_task


@short_task
def begin_check(study_pk: str) -> None:
    """Owe the check of a settled study."""
    actions.begin(int(study_pk))


@gpu_task
def check_study(check_pk: str) -> None:
    """Look at a study's images."""
    # here, because every process that sends tasks knows this module and only gpu workers need PyTorch
    from portal.check.look import check_study as look

    look(check_pk)


@short_task
def pass_overdue() -> None:
    """Pass on studies whose check is late (beat, every minute)."""
    actions.pass_overdue()

"""Tasks of inference."""

from portal.core.outbox import Held
from portal.core.tasks import gpu_group_task, short_task
from portal.infer import actions


@short_task
def plan_runs(study_pk: str) -> None:
    """Queue the fitting functions on a settled study."""
    actions.plan_runs(int(study_pk))


@short_task
def prepare_run(run_pk: str) -> None:
    """Make the network inputs of one run."""
    actions.prepare_run(run_pk)


@gpu_group_task
def execute_run(held: Held) -> None:
    """Run functions on the studies that wait, this one among them."""
    # here, because every process that sends tasks knows this module and only gpu workers need PyTorch
    from portal.infer.execute import execute_held

    execute_held(held)

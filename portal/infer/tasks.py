"""Tasks of inference."""

from portal.core.tasks import gpu_task, short_task
from portal.infer import actions


@short_task
def plan_runs(study_pk: str) -> None:
    """Queue the fitting functions on a settled study."""
    actions.plan_runs(int(study_pk))


@gpu_task
def execute_run(run_pk: str) -> None:
    """Run one function on one study."""
    # here, because every process that sends tasks knows this module and only gpu workers need PyTorch
    from portal.infer.execute import execute_run as execute

    execute(run_pk)

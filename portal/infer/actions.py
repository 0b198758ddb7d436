"""Planning runs and asking again; the run itself is in execute.py, which alone needs PyTorch."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from portal.archive.models import Study
from portal.check.models import SeriesCheck
from portal.check.queries import held, sentence
from portal.core import live, outbox
from portal.core.errors import Refused
from portal.functions.models import FunctionVersion
from portal.functions.queries import choose, offer
from portal.functions.rules import fits
from portal.infer.inputs import preparation_of, prepare_study
from portal.infer.models import Run

log = structlog.get_logger(__name__)

PREPARING = "preparing"
WAITING = (Run.State.QUEUED, Run.State.HELD)
MISMATCH = "input_mismatch"
UNSAID = {"error_code": "", "error": ""}


def plan_runs(study_pk: int) -> list[Run]:
    """Queue one run of every fitting function on the study as it is now; twice has the effect of once.

    Runs of earlier revisions, and of functions that no longer fit, are cancelled while they wait. A function that asks
    for the category of a series whose picture shows another one is held until that is decided. No fitting function:
    no run, and the case goes to people as it is. Returns the runs that are new.
    """
    with transaction.atomic():
        # the lock between this and a decision about the study, which is followed by another planning
        study = Study.objects.select_for_update().get(pk=study_pk)
        fitting, waits = choose(study), held(study)
        _withdraw(study, [version.pk for version in fitting])
        return [run for version in fitting if (run := queue_run(study, version, waits))]


def queue_run(study: Study, version: FunctionVersion, waits: Sequence[SeriesCheck] = ()) -> Run | None:
    """Queue a run at the study's present revision, or hold it; None when it is there already.

    waits  series of the study that wait for a decision
    """
    category = offer(version)
    why = next((w for w in waits if fits(category, [w.series.modality], w.series.body_part)), None)
    state = Run.State.HELD if why else Run.State.QUEUED
    reason = {"error_code": MISMATCH, "error": f"{sentence(why)} It waits for a decision."} if why else UNSAID
    with transaction.atomic():
        run, new = Run.objects.get_or_create(
            study=study,
            version=version,
            study_revision=study.revision,
            defaults={
                "organisation_id": study.organisation_id,
                "priority": study.priority,
                "state": state,
                **reason,
            },
        )
        anew = {"ready": False, "stage": "", **reason}
        moved = not new and run.state in WAITING and run.state != state and run.advance(state, **anew)
        if run.state == Run.State.QUEUED and (new or moved):
            outbox.emit("infer.run_planned", run.pk)
    return run if new else None


def _withdraw(study: Study, fitting: Sequence[int]) -> None:
    """Cancel waiting runs of earlier revisions and of functions that no longer fit; their cases wait no longer."""
    outdated = Q(study_revision__lt=study.revision) | ~Q(version__in=fitting)
    for run in Run.objects.filter(outdated, study=study, state__in=WAITING):
        if run.advance(Run.State.CANCELLED, finished_at=timezone.now(), stage="cancelled", **UNSAID):
            outbox.emit("infer.run_finished", run.pk)


def prepare_run(run_pk: uuid.UUID | str) -> None:
    """Make the inputs of a queued run, then hand it to the gpu workers, whether or not they could be made.

    Tried once: a run at which a worker died while it prepared goes on as it is, and its own attempts are counted.
    """
    run = Run.objects.select_related("version", "study").get(pk=run_pk)
    if run.state != Run.State.QUEUED or run.ready:
        return
    preparation = preparation_of(run.version.manifest)
    waiting = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED, ready=False)
    if preparation is not None and run.stage != PREPARING and waiting.update(stage=PREPARING):
        try:
            prepare_study(run.study, preparation)
        except Exception:  # whatever it is, the run meets it again and says so
            log.exception("infer.not_prepared", run=str(run.pk))
    with transaction.atomic():
        if waiting.update(ready=True, stage=""):
            outbox.emit("infer.run_queued", run.pk)


def cancel(run: Run) -> Run:
    """Take a waiting or running run back; a worker that has it gives it up within a second.

    Raises Refused for one that has ended.
    """
    with transaction.atomic():
        if not run.advance(Run.State.CANCELLED, finished_at=timezone.now(), stage="cancelled"):
            raise Refused("wrong_state", "The run has ended already.")
        data = {"run": str(run.pk), "study_uid": run.study.study_uid, "state": run.state}
        live.announce([live.audience_group(run.organisation_id, "output")], "run.finished", data)
    return run


def retry(run: Run) -> Run:
    """Queue a failed run again, with its attempts counted anew. Raises Refused for any other."""
    with transaction.atomic():
        fresh = {"error": "", "error_code": "", "progress": 0.0, "stage": "", "attempts": 0, "ready": True}
        if run.state != Run.State.FAILED or not run.advance(Run.State.QUEUED, **fresh):
            raise Refused("wrong_state", "Only a failed run can be tried again.")
        outbox.emit("infer.run_queued", run.pk)
    return run

"""Every write of inference: planning runs, executing one, asking again."""

from __future__ import annotations

import gzip
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from inference.findings import Findings
from inference.package.errors import PackageError
from inference.preprocess.errors import ImageError
from portal.archive.files import local_copy
from portal.archive.models import Instance, Study
from portal.core import live, outbox, storage
from portal.core.errors import Refused
from portal.functions.models import FunctionVersion
from portal.functions.queries import choose
from portal.infer.models import CaseResult, ImageResult, Matrix, Run
from portal.infer.packages import package_for

log = structlog.get_logger(__name__)

MAX_IMAGES = 64
PROGRESS_SECONDS = 0.25
ERROR_WORDS = 500


def plan_runs(study_pk: int) -> list[Run]:
    """Queue one run of every fitting function on the study as it is now; twice has the effect of once."""
    study = Study.objects.get(pk=study_pk)
    return [run for version in choose(study) if (run := queue_run(study, version))]


def queue_run(study: Study, version: FunctionVersion) -> Run | None:
    """Queue a run at the study's present revision; None when it is there already."""
    with transaction.atomic():
        run, new = Run.objects.get_or_create(
            study=study,
            version=version,
            study_revision=study.revision,
            defaults={"organisation_id": study.organisation_id, "state": Run.State.QUEUED},
        )
        if new:
            outbox.emit("infer.run_queued", run.pk)
    return run if new else None


def retry(run: Run) -> Run:
    """Queue a failed run again. Raises Refused for any other."""
    with transaction.atomic():
        if run.state != Run.State.FAILED or not run.advance(Run.State.QUEUED, error="", error_code="", progress=0):
            raise Refused("wrong_state", "Only a failed run can be tried again.")
        outbox.emit("infer.run_queued", run.pk)
    return run


def execute_run(run_pk: uuid.UUID | str) -> Run:
    """Run the function and store its findings, whole or not at all; twice has the effect of once.

    A run found `running` belongs to a worker that died: its outbox lease is held by this caller alone, so it
    is started over. Errors of packages and images close the run as failed with a code; others are tried again.
    """
    run = Run.objects.select_related("version__function", "study").get(pk=run_pk)
    if run.state == Run.State.RUNNING:
        run.advance(Run.State.QUEUED)
    started = timezone.now()
    if run.state != Run.State.QUEUED or not run.advance(
        Run.State.RUNNING, started_at=started, attempts=run.attempts + 1, progress=0, stage="loading"
    ):
        return run
    report = _Progress(run)
    report(0.0, "loading")
    try:
        instances = list(_instances(run.study))
        package = package_for(run.version)
        with ExitStack() as stack:
            paths = [stack.enter_context(local_copy(storage.archive(), i.name)) for i in instances]
            findings = package.run(paths, progress=report)
    except (PackageError, ImageError, ValueError, FileNotFoundError) as error:
        return _fail(run, type(error).__name__, _words(error))
    _store(run, instances, findings)
    return run


def _instances(study: Study) -> Sequence[Instance]:
    rows = study.instances.filter(rows__gt=0).defer("headers", "frame_table").order_by("series__number", "number", "pk")
    found = list(rows[:MAX_IMAGES])
    if not found:
        raise ValueError("the study has no images")
    return found


def _words(error: Exception) -> str:
    """The error in words, without the paths of the house."""
    text = str(error)
    for part in text.split():
        if "/" in part and Path(part.strip("'\":")).is_absolute():
            text = text.replace(part, Path(part.strip("'\":")).name)
    return text[:ERROR_WORDS]


class _Progress:
    """Tells the browsers how far a run is, a few times a second at most."""

    def __init__(self, run: Run) -> None:
        self.run, self.last = run, 0.0

    def __call__(self, part: float, stage: str) -> None:
        now = time.monotonic()
        if part < 1 and now - self.last < PROGRESS_SECONDS:
            return
        self.last = now
        Run.objects.filter(pk=self.run.pk, state=Run.State.RUNNING).update(progress=part, stage=stage[:40])
        data = {
            "run": str(self.run.pk),
            "study_uid": self.run.study.study_uid,
            "function": self.run.version.function.slug,
            "progress": round(part, 3),
            "stage": stage,
        }
        live.announce([live.org_group(self.run.organisation_id)], "run.progress", data)


def _finish(run: Run, state: str, **fields: Any) -> None:
    if not run.advance(state, finished_at=timezone.now(), **fields):
        raise Refused("wrong_state", "The run was taken from this worker.")
    outbox.emit("infer.run_finished", run.pk)
    data = {"run": str(run.pk), "study_uid": run.study.study_uid, "state": state}
    live.announce([live.org_group(run.organisation_id)], "run.finished", data)


@transaction.atomic
def _fail(run: Run, code: str, words: str) -> Run:
    log.warning("infer.failed", run=str(run.pk), code=code)
    _finish(run, Run.State.FAILED, error_code=code[:40], error=words, stage="failed")
    return run


@transaction.atomic
def _store(run: Run, instances: Sequence[Instance], findings: Findings) -> None:
    """All rows of the result in one transaction; what a dead attempt left is replaced."""
    ImageResult.objects.filter(run=run).delete()
    CaseResult.objects.filter(run=run).delete()
    by_uid = {instance.sop_uid: instance for instance in instances}
    thresholds = dict(findings.parameters.get("thresholds") or {})
    classes = list(findings.parameters.get("classes") or [])
    for image in findings.images:
        row = ImageResult.objects.create(
            run=run,
            instance=by_uid[image.sop_instance_uid],
            score=image.score,
            classes=classes,
            global_probabilities=_rounded(image.global_probabilities),
            present=image.present,
            thresholds=thresholds,
            any_abnormality=image.any_abnormality,
            regions=[region.to_dict() for region in image.regions],
        )
        Matrix.objects.bulk_create(
            Matrix(image=row, row=n, shape=list(m.shape), data=gzip.compress(m.tobytes(), 6, mtime=0))
            for n, m in image.matrices.items()
        )
    _store_case(run, findings)
    provenance = {
        "function": findings.function_id,
        "version": findings.version,
        "weights_sha256": findings.weights_sha256,
        "code_version": findings.code_version,
        "device": findings.device,
        "parameters": findings.parameters,
        "inputs": [{"sop_uid": i.sop_uid, "sha256": i.sha256} for i in instances],
    }
    _finish(run, Run.State.DONE, provenance=provenance, timings_ms=findings.timings_ms, progress=1.0, stage="done")


def _store_case(run: Run, findings: Findings) -> None:
    warnings = [*findings.warnings, *(w for image in findings.images for w in image.warnings)]
    if findings.case is None:
        top = max((p for i in findings.images for p in i.global_probabilities.values()), default=None)
        call = any(i.any_abnormality for i in findings.images)
        CaseResult.objects.create(run=run, score=top, call=call, warnings=warnings)
        return
    case = findings.case
    lesions = [{**lesion.to_dict(), "sop_uid": lesion.sop_instance_uid} for lesion in case.lesions]
    for lesion in lesions:
        lesion.pop("sop_instance_uid")
    CaseResult.objects.create(
        run=run,
        score=case.score,
        call=case.call,
        threshold=case.threshold,
        sides=case.sides,
        views=case.views,
        missing_views=list(case.missing_views),
        lesions=lesions,
        warnings=warnings,
    )


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}

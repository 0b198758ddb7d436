"""One run of one function on one study. Imported by gpu workers only: it brings PyTorch."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from inference.package.errors import BadManifest, MissingFile, PackageError, WrongHash
from inference.preprocess import ViewHint
from inference.preprocess.errors import ImageError
from inference.serving import Cancelled, TooSlow
from portal.archive.files import local_copy
from portal.archive.models import Instance, Study
from portal.core import live, outbox, storage
from portal.core.errors import Refused
from portal.infer.models import Run
from portal.infer.results import store_findings
from portal.infer.serving import engine, package_for

log = structlog.get_logger(__name__)

MAX_IMAGES = 64
MAX_ATTEMPTS = 4
PROGRESS_SECONDS = 0.25
LOOK_SECONDS = 1.0
ERROR_WORDS = 500

# What closes a run at once, because trying again would end the same way.
CODES: tuple[tuple[type[BaseException], str], ...] = (
    (WrongHash, "wrong_hash"),
    (MissingFile, "missing_package"),
    (BadManifest, "bad_package"),
    (PackageError, "bad_package"),
    (ImageError, "unreadable_image"),
    (FileNotFoundError, "missing_image"),
    (MemoryError, "out_of_memory"),
    (TooSlow, "too_slow"),
)


class NoImages(ImageError):
    """The study holds nothing that a function could look at."""


def execute_run(run_pk: uuid.UUID | str) -> Run:
    """Run the function and store its findings, whole or not at all; twice has the effect of once.

    A run found `running` belongs to a worker that died: its outbox lease is held by this caller alone, so it
    is started over. Errors of packages and images close the run as failed with a code of CODES; anything else
    puts it back and is tried again, MAX_ATTEMPTS times in all, so that no scan stops the queue.
    """
    run = Run.objects.select_related("version__function", "study").get(pk=run_pk)
    if run.state == Run.State.RUNNING:
        run.advance(Run.State.QUEUED)
    if run.state != Run.State.QUEUED:
        return run
    values = {"started_at": timezone.now(), "attempts": run.attempts + 1, "progress": 0.0, "stage": "loading"}
    if not run.advance(Run.State.RUNNING, **values):
        return run
    if run.attempts > MAX_ATTEMPTS:
        return _fail(run, "worker_died", f"The worker ended {MAX_ATTEMPTS} times while it ran this.")
    try:
        _run(run)
    except Refused:
        raise
    except Cancelled:
        run.refresh_from_db()
        if run.state == Run.State.RUNNING:  # the process ends: another one takes it
            run.advance(Run.State.QUEUED)
            raise
        return run
    except Exception as error:
        code = next((code for kind, code in CODES if isinstance(error, kind)), "")
        if not code and run.attempts < MAX_ATTEMPTS:
            run.advance(Run.State.QUEUED)
            raise
        return _fail(run, code or "unexpected", words(error))
    return run


def _run(run: Run) -> None:
    report = _Progress(run)
    report(0.0, "loading")
    instances = _instances(run.study)
    package = package_for(run.version)
    hints = [ViewHint(i.laterality or None, i.view or None) for i in instances]
    with ExitStack() as stack:
        paths = [stack.enter_context(local_copy(storage.archive(), i.name)) for i in instances]
        findings = engine().run(
            package,
            paths,
            hints,
            progress=report,
            cancelled=report.taken,
            priority=run.study.priority,
            limit_s=settings.INFERENCE_LIMIT_SECONDS,
        )
    with transaction.atomic():
        provenance = store_findings(run, instances, findings)
        _finish(run, Run.State.DONE, provenance=provenance, timings_ms=findings.timings_ms, progress=1.0, stage="done")


def _instances(study: Study) -> Sequence[Instance]:
    rows = study.instances.filter(rows__gt=0, series__set_aside=False).defer("headers", "frame_table")
    found = list(rows.order_by("series__number", "series_id", "number", "pk")[:MAX_IMAGES])
    if not found:
        raise NoImages("The study has no images.")
    return found


def words(error: BaseException) -> str:
    """The error for people: without the folders of the house, at most ERROR_WORDS characters."""
    text = re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", str(error)).strip()
    return (text or type(error).__name__)[:ERROR_WORDS]


class _Progress:
    """Tells the browsers how far a run is, a few times a second at most."""

    def __init__(self, run: Run) -> None:
        self.run, self.last, self.looked = run, 0.0, time.monotonic()

    def taken(self) -> bool:
        """Whether the run was cancelled or given to another worker; asks the database once a second."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return False
        self.looked = now
        return not Run.objects.filter(pk=self.run.pk, state=Run.State.RUNNING).exists()

    def __call__(self, part: float, stage: str) -> None:
        now = time.monotonic()
        if now - self.last < PROGRESS_SECONDS:
            return  # the end is announced when the results are stored
        self.last = now
        Run.objects.filter(pk=self.run.pk, state=Run.State.RUNNING).update(progress=part, stage=stage[:40])
        data = {
            "run": str(self.run.pk),
            "study_uid": self.run.study.study_uid,
            "function": self.run.version.function.slug,
            "progress": round(part, 3),
            "stage": stage,
        }
        live.announce([live.audience_group(self.run.organisation_id, "output")], "run.progress", data)


def _finish(run: Run, state: str, **fields: Any) -> None:
    if not run.advance(state, finished_at=timezone.now(), **fields):
        raise Refused("wrong_state", "The run was taken from this worker.")
    outbox.emit("infer.run_finished", run.pk)
    data = {"run": str(run.pk), "study_uid": run.study.study_uid, "state": state}
    live.announce([live.audience_group(run.organisation_id, "output")], "run.finished", data)


@transaction.atomic
def _fail(run: Run, code: str, message: str) -> Run:
    log.warning("infer.failed", run=str(run.pk), code=code)
    _finish(run, Run.State.FAILED, error_code=code, error=message, stage="failed")
    return run

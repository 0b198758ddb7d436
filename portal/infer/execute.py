"""Runs of functions on studies, several at a time. Imported by gpu workers only: it brings PyTorch."""

from __future__ import annotations

import queue
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from inference.package.errors import BadManifest, MissingFile, PackageError, WrongHash
from inference.preprocess.errors import ImageError
from inference.serving import Cancelled, Request, TooSlow, ended
from portal.archive.models import Instance
from portal.core import live, outbox
from portal.core.rows import update_each
from portal.infer.inputs import images_of, prepared, read_by
from portal.infer.models import Run
from portal.infer.pace import Pace
from portal.infer.results import Found, provenance, store_findings
from portal.infer.serving import engine, package_for

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 4
LOOK_SECONDS = 1.0
ERROR_WORDS = 500
PACE = Pace()

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


def execute_held(held: outbox.Held) -> None:
    """Run what the worker holds and, with it, about a second's worth of what waits, the most urgent first.

    A run that was tried before is run without company of other runs' first attempts, since it may have ended a worker.
    """
    first = Run.objects.filter(pk__in=held.keys, attempts=0).exists()
    room = PACE.group(settings.INFERENCE_BATCH, settings.INFERENCE_GROUP) - len(held.keys)
    if (first or not held.keys) and room > 0:
        with transaction.atomic():
            waiting = Run.objects.filter(state=Run.State.QUEUED, ready=True, attempts=0).exclude(pk__in=held.keys)
            rows = waiting.order_by("-priority", "queued_at").select_for_update(skip_locked=True)
            held.take([str(pk) for pk in rows.values_list("pk", flat=True)[:room]])
    began = time.monotonic()
    for pk, error in execute_runs(held.keys).items():
        held.again(str(pk), error)
    PACE.saw(len(held.keys), time.monotonic() - began)


def execute_run(run_pk: uuid.UUID | str) -> Run:
    """Run one function on one study. Raises what `execute_runs` says is to be tried again."""
    for error in execute_runs([run_pk]).values():
        raise error
    return Run.objects.select_related("version__function", "study").get(pk=run_pk)


def execute_runs(run_pks: Iterable[uuid.UUID | str]) -> dict[uuid.UUID, BaseException]:
    """Run functions and store their findings, each run's whole or not at all; twice has the effect of once.

    A run found `running` belongs to a worker that died: its outbox lease is held by this caller alone, so it
    is started over. Errors of packages and images close a run as failed with a code of CODES; anything else
    puts it back and is returned to be tried again, MAX_ATTEMPTS times in all, so that no scan stops the queue.
    """
    runs = _claimed(list(run_pks))
    again: dict[uuid.UUID, BaseException] = {}
    images = images_of([run.study for run in runs])
    into: queue.SimpleQueue[Request] = queue.SimpleQueue()
    asked: dict[Request, Run] = {}
    for run in runs:
        try:
            if run.attempts > MAX_ATTEMPTS:
                _fail(run, "worker_died", f"The worker ended {MAX_ATTEMPTS} times while it ran this.")
            else:
                asked[_submit(run, images[run.study_id], into)] = run
        except Exception as error:
            _close(run, error, again)
    watch = _Watch(asked)
    for requests in ended(list(asked), into, watch):
        good: list[Found] = []
        for request in requests:
            run = asked[request]
            if request.findings is not None:
                good.append((run, images[run.study_id], request.findings))
            elif request.error is not None:
                _close(run, request.error, again)
        try:
            _store(good)
        except Exception as error:
            for found in good:
                if len(good) == 1:
                    _close(found[0], error, again)
                else:
                    _alone(found, again)
    return again


def _claimed(pks: list[uuid.UUID | str]) -> list[Run]:
    """Those of the runs that are this worker's now, in the state running."""
    with transaction.atomic():
        Run.advance_all(pks, Run.State.RUNNING, Run.State.QUEUED)
        fresh = {"started_at": timezone.now(), "progress": 0.0, "stage": "loading", "attempts": F("attempts") + 1}
        moved = Run.advance_all(pks, Run.State.QUEUED, Run.State.RUNNING, **fresh)
    return list(Run.objects.select_related("version__function", "study").filter(pk__in=moved).order_by("queued_at"))


def _submit(run: Run, instances: Sequence[Instance], into: queue.SimpleQueue[Request]) -> Request:
    if not instances:
        raise NoImages("The study has no images.")
    package = package_for(run.version)
    if package.keeps_inputs:
        sources = [partial(prepared, instance, package.preparation, package.limits) for instance in instances]
    else:
        sources = [partial(read_by, instance, package.read) for instance in instances]
    return engine().submit(package, sources, run.priority, settings.INFERENCE_LIMIT_SECONDS, into)


def _store(found: Sequence[Found]) -> None:
    """Close runs as done with their results, in one transaction; those taken from this worker store nothing."""
    if not found:
        return
    now = timezone.now()
    with transaction.atomic():
        fields = {"finished_at": now, "progress": 1.0, "stage": "done"}
        moved = set(Run.advance_all([run.pk for run, _, _ in found], Run.State.RUNNING, Run.State.DONE, **fields))
        mine = [one for one in found if one[0].pk in moved]
        for run, instances, findings in mine:
            run.provenance, run.timings_ms = provenance(instances, findings), findings.timings_ms
        update_each([run for run, _, _ in mine], ("provenance", "timings_ms"))
        store_findings(mine)
        _announce_end([run for run, _, _ in mine], Run.State.DONE)


def _alone(found: Found, again: dict[uuid.UUID, BaseException]) -> None:
    """Store one of several that could not be stored together: one scan's fault is not its neighbours'."""
    try:
        _store([found])
    except Exception as error:
        _close(found[0], error, again)


def _close(run: Run, error: BaseException, again: dict[uuid.UUID, BaseException]) -> None:
    """End a run that went wrong, or put it back."""
    if isinstance(error, Cancelled):
        if run.advance(Run.State.QUEUED):  # the process ends: another one takes it
            again[run.pk] = error
        return
    code = next((code for kind, code in CODES if isinstance(error, kind)), "")
    if code or run.attempts >= MAX_ATTEMPTS:
        _fail(run, code or "unexpected", words(error))
    elif run.advance(Run.State.QUEUED):
        again[run.pk] = error


@transaction.atomic
def _fail(run: Run, code: str, message: str) -> None:
    fields = {"error_code": code, "error": message, "stage": "failed", "finished_at": timezone.now()}
    if run.advance(Run.State.FAILED, **fields):
        log.warning("infer.failed", run=str(run.pk), code=code)
        _announce_end([run], Run.State.FAILED)


def _announce_end(runs: Sequence[Run], state: str) -> None:
    outbox.emit_all("infer.run_finished", [run.pk for run in runs])
    for run in runs:
        data = {"run": str(run.pk), "study_uid": run.study.study_uid, "state": state}
        live.announce([live.audience_group(run.organisation_id, "output")], "run.finished", data)


def words(error: BaseException) -> str:
    """The error for people: without the folders of the house, at most ERROR_WORDS characters."""
    text = re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", str(error)).strip()
    return (text or type(error).__name__)[:ERROR_WORDS]


class _Watch:
    """Looks at the open runs of a group: tells the browsers how far they are, ends those that were cancelled."""

    def __init__(self, runs: dict[Request, Run]) -> None:
        self.runs, self.looked = runs, time.monotonic()

    def __call__(self, waiting: Sequence[Request]) -> None:
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:  # most runs end before anybody could read how far they are
            return
        self.looked = now
        mine = Run.objects.filter(pk__in=[self.runs[r].pk for r in waiting], state=Run.State.RUNNING)
        left = set(mine.values_list("pk", flat=True))
        for request in waiting:
            if self.runs[request].pk not in left:
                request.fail(Cancelled("it was cancelled, or given to another worker"))
        parts = sorted(waiting, key=lambda request: request.part)
        for part, group in groupby(parts, key=lambda request: round(0.95 * request.part, 3)):
            moved = [r for request in group if (r := self.runs[request]).progress < part or r.stage == "loading"]
            if moved:
                report(moved, part)


def report(runs: Sequence[Run], part: float) -> None:
    """Tell the browsers that runs have come so far, from 0 to 1."""
    stage = "analysing"
    Run.objects.filter(pk__in=[run.pk for run in runs], state=Run.State.RUNNING).update(progress=part, stage=stage)
    for run in runs:
        run.progress, run.stage = part, stage
        data = {
            "run": str(run.pk),
            "study_uid": run.study.study_uid,
            "function": run.version.function.slug,
            "progress": part,
            "stage": stage,
        }
        live.announce([live.audience_group(run.organisation_id, "output")], "run.progress", data)

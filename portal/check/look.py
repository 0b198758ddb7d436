"""Looking at the images of a study. Imported by gpu workers only: it brings PyTorch."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import cache

import structlog
from django.db.models import F

from inference import __version__
from inference.check import InputCheck
from inference.check.check import InputChecker, Shown, load_checker
from inference.package.errors import PackageError
from inference.preprocess.errors import ImageError
from portal.archive.files import local_copy
from portal.archive.models import Instance, Series
from portal.check import actions, rules
from portal.check.models import StudyCheck
from portal.check.package import folder, why_off
from portal.core import storage

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 4
State = StudyCheck.State
_lock = threading.Lock()  # the checker is not for several threads at once, and a worker has several


@cache
def checker() -> InputChecker:
    """The check of this process. PackageError when it is missing or damaged."""
    path = folder()
    if path is None:
        raise PackageError(why_off())
    return load_checker(path)


def check_study(check_pk: int | str) -> StudyCheck:
    """Look at a few images of each series and store what they show; twice has the effect of once.

    A check that cannot be made ends with words and the study goes on unchecked: missing or damaged packages at once,
    anything else after MAX_ATTEMPTS, of which those count too that ended with their worker.
    """
    check = StudyCheck.objects.select_related("study").get(pk=check_pk)
    if check.state not in {State.WAITING, State.OVERDUE}:
        return check
    if check.study.revision != check.study_revision:
        actions.close(check, State.SKIPPED, "More of the study came; it is checked as it is now.")
        return check
    StudyCheck.objects.filter(pk=check.pk).update(attempts=F("attempts") + 1)
    check.refresh_from_db(fields=["attempts"])
    if check.attempts > MAX_ATTEMPTS:
        actions.close(check, State.FAILED, f"The worker ended {MAX_ATTEMPTS} times while it looked at this.")
        return check
    try:
        with _lock:
            made = checker()
    except PackageError as error:
        actions.close(check, State.SKIPPED, f"The package of the input check cannot be used: {type(error).__name__}.")
        return check
    try:
        _look(check, made)
    except Exception as error:
        if check.attempts < MAX_ATTEMPTS:
            raise
        log.exception("check.failed", check=check.pk)
        actions.close(check, State.FAILED, f"The check ended with {type(error).__name__}.")
    return check


def _look(check: StudyCheck, made: InputChecker) -> None:
    chosen = _chosen(check)
    shown = {series.pk: _read(made, instances) for series, instances in chosen}
    with _lock:
        said = iter(made.pictures([one for some in shown.values() for one in some]))
    results: list[tuple[Series, rules.Said | None, list[InputCheck]]] = []
    for series, _ in chosen:
        images = [next(said) for _ in shown[series.pk]]
        claims = [one.claim for one in shown[series.pk] if one.claim]
        whole = rules.together(claims[0], images, made.manifest.thresholds) if images and claims else None
        results.append((series, whole, images))
    made_with = {
        "function_id": made.manifest.id,
        "version": made.manifest.version,
        "weights_sha256": made.manifest.weights_sha256,
        "code_version": __version__,
    }
    actions.store(check, results, made_with)


def _chosen(check: StudyCheck) -> list[tuple[Series, list[Instance]]]:
    """A few images of each series that has any, IMAGES_A_STUDY in all at most."""
    rows = Instance.objects.filter(study=check.study_id, rows__gt=0).defer("headers", "frame_table")
    by_series: dict[int, list[Instance]] = {}
    for instance in rows.order_by("series__number", "series_id", "number", "pk"):
        by_series.setdefault(instance.series_id, []).append(instance)
    known = Series.objects.in_bulk(by_series)
    each = max(1, min(rules.IMAGES_A_SERIES, rules.IMAGES_A_STUDY // max(1, len(by_series))))
    picked = [(known[pk], [some[i] for i in rules.representatives(len(some), each)]) for pk, some in by_series.items()]
    return picked[: rules.IMAGES_A_STUDY]


def _read(made: InputChecker, instances: list[Instance]) -> list[Shown]:
    """The images that can be displayed; a series of which none can be is stored as not looked at."""
    shown = []
    for instance in instances:
        with ExitStack() as stack:
            try:
                shown.append(made.read(stack.enter_context(local_copy(storage.archive(), instance.name))))
            except (ImageError, FileNotFoundError) as error:
                log.info("check.unreadable", instance=instance.pk, error=type(error).__name__)
    return shown

"""The named cast of the demo, cases with model output, and readings; tasks run by hand, in the pipeline's order."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydicom.uid import generate_uid

from portal.accounts.models import Organisation, User
from portal.archive.models import Study
from portal.core.models import OutboxEvent
from portal.demo.people import set_up
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.infer.models import CaseResult, ImageResult, Run
from portal.programmes.actions import make_cases, open_cases
from portal.programmes.models import Assignment, Case
from portal.read.actions import submit_reading
from portal.read.models import Reading
from tests.factories.archive import image, stored

PASSWORD = "three-plain-words-26"


class Cast:
    """alice, bob, carol, erin, dave, grace and mallory, with their programmes."""

    def __init__(self) -> None:
        set_up(PASSWORD, {})
        self.lakeside = Organisation.objects.get(slug="lakeside")

    def __getattr__(self, name: str) -> User:
        return User.objects.get(username=name)


@pytest.fixture
def cast(transactional_db: Any, settings: Any) -> Cast:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # seconds a test otherwise
    return Cast()


def mammography(cast: Cast) -> Study:
    """A settled four-view study."""
    study_uid = generate_uid()
    for seed, (side, view) in enumerate([("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")]):
        series = generate_uid()
        ds = image("MG", study=study_uid, series=series, seed=seed, ImageLaterality=side, ViewPosition=view)
        receipt = stored(ds, cast.lakeside)
    study = Study.objects.get(study_uid=receipt.study_uid)
    Study.objects.filter(pk=study.pk).update(state="settled")
    study.refresh_from_db()
    return study


def function_in_service(kind: str = "malignancy", modality: str = "MG") -> FunctionVersion:
    function, _ = InferenceFunction.objects.get_or_create(
        slug=f"test-{kind}", defaults={"name": kind, "output_type": kind, "modalities": [modality]}
    )
    version, _ = FunctionVersion.objects.get_or_create(
        function=function,
        version="1",
        defaults={"state": "in_service", "package": "none", "weights_sha256": "0" * 64},
    )
    return version


def finished_run(study: Study, score: float, threshold: float = 0.5, **case: Any) -> Run:
    """A malignancy run as it is stored when it is done."""
    run = Run.objects.create(
        organisation_id=study.organisation_id,
        study=study,
        study_revision=study.revision,
        version=function_in_service(),
        state=Run.State.DONE,
    )
    sides = case.pop("sides", {"L": score, "R": 0.1})
    call = score > threshold
    CaseResult.objects.create(run=run, score=score, threshold=threshold, call=call, sides=sides, **case)
    for instance in study.instances.all():
        ImageResult.objects.create(run=run, instance=instance, score=score)
    return run


def open_case(cast: Cast, score: float = 0.9, **result: Any) -> Case:
    """A mammography case whose model output is there, offered to the readers."""
    study = mammography(cast)
    run = finished_run(study, score, **result)
    make_cases(study.pk)
    open_cases(run.pk)
    return Case.objects.get(study=study)


def answers(recall: bool, malignancy: float | None = None, **more: Any) -> dict[str, Any]:
    rating = malignancy if malignancy is not None else (90 if recall else 5)
    return {"recall": recall, "malignancy": rating, "birads": "4" if recall else "1", "density": "B", **more}


def submit(user: User, assignment: Assignment, what: dict[str, Any], **body: Any) -> Reading:
    """Submit a reading as the viewer does."""
    fresh = Assignment.objects.select_related("case__programme", "case__protocol", "case__study").get(pk=assignment.pk)
    content = {"answers": what, "marks": [], "active_ms": 60_000, "key": str(uuid.uuid4()), **body}
    return submit_reading(user, fresh, content)


def owed(topic: str) -> list[str]:
    """Keys for which work is owed under a topic."""
    return list(OutboxEvent.objects.filter(topic=topic).order_by("pk").values_list("key", flat=True).distinct())

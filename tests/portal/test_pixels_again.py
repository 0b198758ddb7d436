"""Pixels that are replaced in the archive: what was made of the older ones is made again, once, and kept beside."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.accounts.models import Role, User
from portal.archive.actions import replace_receipt, settle_due_studies
from portal.archive.models import Instance, Study
from portal.check.tasks import begin_check
from portal.core.models import OutboxEvent
from portal.deidentify.models import PixelQuestion
from portal.deidentify.pixels import review
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.infer.actions import plan_runs
from portal.infer.models import CaseResult, Run
from portal.infer.queries import newest_runs
from portal.ingest.models import Receipt, Source
from tests.factories import archive as make
from tests.portal.test_deidentify_review import arrived

pytestmark = pytest.mark.django_db(transaction=True)
SETTLED = "archive.study_settled"


@pytest.fixture
def dave() -> User:
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


@pytest.fixture
def receipt(dave: User) -> Receipt:
    function = InferenceFunction.objects.create(slug="shots", name="Shots", output_type="heatmap", modalities=["OT"])
    FunctionVersion.objects.create(
        function=function, version="1", state="in_service", package="none", weights_sha256="1" * 64
    )
    source = Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")
    found, _ = arrived(source)
    settle()
    return found


def settle() -> int:
    Study.objects.filter(state="arriving").update(last_instance_at=timezone.now() - timedelta(hours=1))
    return settle_due_studies()


def shown_again(dave: User, receipt: Receipt) -> None:
    question = PixelQuestion.objects.get()
    review.decide(dave, question, "keep")
    review.show_again(question.pk)
    assert replace_receipt(receipt.pk)


def test_functions_run_on_the_pixels_as_they_are_now_and_the_older_output_stays(dave: User, receipt: Receipt) -> None:
    study = Study.objects.get()
    [old] = plan_runs(study.pk)
    assert plan_runs(study.pk) == []
    Run.objects.filter(pk=old.pk).update(state="done")
    CaseResult.objects.create(run=old, score=0.25)
    OutboxEvent.objects.all().delete()

    shown_again(dave, receipt)
    study.refresh_from_db()
    assert (study.state, study.revision) == ("arriving", 2)
    assert settle() == 1
    assert OutboxEvent.objects.filter(topic=SETTLED, task="portal.check.tasks.begin_check").count() == 1
    begin_check(str(study.pk))
    [new] = plan_runs(study.pk)
    old.refresh_from_db()
    assert (old.state, old.result.score, old.study_revision) == ("done", 0.25, 1)
    assert (new.state, new.study_revision) == ("queued", 2) and newest_runs(study) == [new]


def test_nothing_happens_twice_and_nothing_without_other_pixels(dave: User, receipt: Receipt) -> None:
    shown_again(dave, receipt)
    settle()
    revision, digest = Study.objects.get().revision, Instance.objects.get().sha256
    OutboxEvent.objects.all().delete()
    assert not replace_receipt(receipt.pk)  # the copy went in
    review.show_again(PixelQuestion.objects.get().pk)  # a task that comes twice: the same bytes
    replace_receipt(receipt.pk)
    study = Study.objects.get()
    assert (study.state, study.revision, Instance.objects.get().sha256) == ("settled", revision, digest)
    assert settle() == 0 and not OutboxEvent.objects.filter(topic=SETTLED).exists()


def test_a_run_that_waits_for_the_older_pixels_is_withdrawn(dave: User, receipt: Receipt) -> None:
    study = Study.objects.get()
    [old] = plan_runs(study.pk)
    shown_again(dave, receipt)
    settle()
    [new] = plan_runs(study.pk)
    old.refresh_from_db()
    assert (old.state, new.state) == ("cancelled", "queued")

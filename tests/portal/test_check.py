"""The input check: made once though workers die, holding what it must, decided by those who may, counted fairly."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command
from django.utils import timezone

from inference.package.errors import WrongHash
from portal.accounts.models import Organisation
from portal.archive.models import Instance, Series, Study
from portal.archive.queries import category
from portal.check import actions, look, queries, tasks
from portal.check.models import SeriesCheck, StudyCheck
from portal.core import storage
from portal.core.errors import Refused
from portal.core.models import OutboxEvent
from portal.functions.queries import choose
from portal.infer.actions import plan_runs
from portal.infer.models import Run
from portal.programmes.actions import make_cases
from portal.programmes.models import Case
from tests.factories import archive as make
from tests.factories.checking import DX, arrived, checked, phantom, upside_down_tones
from tests.factories.reading import Cast, cast

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    return make.organisation()


@pytest.fixture
def dave(lakeside: Organisation) -> Any:
    return make.user("dave", lakeside, "pacs_admin")


def only(study: Study) -> SeriesCheck:
    return SeriesCheck.objects.select_related("study", "series").get(study=study)


def slugs(study: Study) -> list[str]:
    return [version.function.slug for version in choose(study)]


def owed(topic: str) -> int:
    return OutboxEvent.objects.filter(topic=topic).count()


def test_a_mislabelled_mammogram_waits_and_runs_as_what_it_is(lakeside: Organisation, dave: Any) -> None:
    study = arrived([phantom("breast", **DX)], lakeside)
    row = only(study)
    assert (row.state, row.verdict, row.claimed, row.found) == ("held", "mismatch", "chest_frontal", "mammogram")
    assert row.probability > 0.7 and row.claim_words == "DX CHEST PA" and len(row.images) == 1
    assert "The header says DX CHEST PA; the picture looks like a mammogram" in queries.sentence(row)
    [run] = Run.objects.all()
    assert (run.state, run.version.function.slug, run.error_code) == ("held", "heatmap-chest-phantom", "input_mismatch")
    assert "It waits for a decision." in run.error and owed("infer.run_queued") == 0

    settled = owed("check.settled")
    decided = actions.decide(dave, row, "correct", "mammogram", "seen by eye")
    assert decided.state == "corrected" and owed("check.settled") - settled == 2  # runs and cases
    plan_runs(study.pk)
    assert category(study) == (["MG"], "BREAST") and slugs(study) == ["malignancy-mammo-phantom"]
    run.refresh_from_db()
    assert (run.state, run.error) == ("cancelled", "")
    assert Run.objects.get(version__function__slug="malignancy-mammo-phantom").state == "queued"
    # the header is as it came, in the rows and in the file
    series, instance = Series.objects.get(), Instance.objects.get()
    assert series.modality == "DX" and study.modalities == ["DX"]
    assert instance.headers["00080060"]["Value"] == ["DX"]
    [event] = series.category_events.all()  # type: ignore[attr-defined]
    assert (event.modality, event.given_modality, event.given_body_part) == ("DX", "MG", "BREAST")
    last = row.events.select_related("pgh_context").order_by("-pgh_id").first()  # type: ignore[attr-defined]
    assert last.pgh_context.metadata == {"by": "dave", "note": "seen by eye"}


def test_a_right_header_is_let_through(lakeside: Organisation) -> None:
    study = arrived([phantom("chest")], lakeside)
    row = only(study)
    assert (row.state, row.verdict, row.found, row.inverted, row.rotation) == (
        "passed", "agrees", "chest_frontal", False, 0,
    )  # fmt: skip
    assert queries.sentence(row) == "" and Run.objects.get().state == "queued"
    check = StudyCheck.objects.get()
    assert check.state == "done" and check.function_id == "input-check" and len(check.weights_sha256) == 64
    assert not queries.alerts(make.user("dave", lakeside, "pacs_admin")).exists()


def test_inverted_tones_are_noted_and_hold_nothing(lakeside: Organisation) -> None:
    ds = upside_down_tones(phantom("chest"))
    assert ds.PhotometricInterpretation == "MONOCHROME2"
    row = only(arrived([ds], lakeside))
    assert (row.state, row.verdict, row.inverted) == ("noted", "agrees", True)
    assert queries.sentence(row) == "The tones look inverted: what is dense is dark."
    assert Run.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("policy", "state", "runs"),
    [
        ("hold", "held", {"heatmap-chest-phantom": "held"}),
        ("correct", "reassigned", {"malignancy-mammo-phantom": "queued"}),
        ("note", "noted", {"heatmap-chest-phantom": "queued"}),
    ],
)
def test_a_source_says_what_follows(lakeside: Organisation, policy: str, state: str, runs: dict[str, str]) -> None:
    study = arrived([phantom("breast", **DX)], lakeside, policy)
    assert only(study).state == state
    assert {run.version.function.slug: run.state for run in Run.objects.all()} == runs


def test_a_person_may_think_again(lakeside: Organisation, dave: Any) -> None:
    study = arrived([phantom("breast", **DX)], lakeside)
    row = only(study)
    states = []
    for decision, given in (("keep", ""), ("discard", ""), ("correct", "mammogram"), ("correct", "ct"), ("keep", "")):
        row = actions.decide(dave, row, decision, given)
        plan_runs(study.pk)
        states.append((row.state, category(study), sorted(Run.objects.values_list("state", flat=True))))
    assert states == [
        ("kept", (["DX"], "CHEST"), ["queued"]),
        ("discarded", ([], ""), ["cancelled"]),
        ("corrected", (["MG"], "BREAST"), ["cancelled", "queued"]),
        ("corrected", (["CT"], "CHEST"), ["cancelled", "cancelled"]),
        ("kept", (["DX"], "CHEST"), ["cancelled", "cancelled"]),
    ]
    events = owed("check.settled")
    assert actions.decide(dave, row, "keep").state == "kept" and owed("check.settled") == events
    for decision, given in (("burn", ""), ("correct", ""), ("correct", "x-ray")):
        with pytest.raises(Refused):
            actions.decide(dave, row, decision, given)


def test_nobody_is_given_a_held_scan_to_read(cast: Cast) -> None:
    call_command("concord_register_packages")
    study = arrived([phantom("chest", Modality="MG", BodyPartExamined="BREAST")], cast.lakeside)
    assert only(study).state == "held"
    assert make_cases(study.pk) == [] and not Case.objects.exists()
    actions.decide(cast.dave, only(study), "keep")
    [case] = make_cases(study.pk)
    assert case.programme.slug == "screening-mammography"
    actions.decide(cast.dave, only(study), "discard")
    Case.objects.all().delete()
    assert make_cases(study.pk) == []


def test_a_decision_outlives_a_late_image(lakeside: Organisation, dave: Any) -> None:
    first = phantom("breast", **DX)
    study = arrived([first], lakeside)
    actions.decide(dave, only(study), "correct", "mammogram")
    late = phantom("chest", StudyInstanceUID=first.StudyInstanceUID, SeriesNumber=2)
    study = make.settled([late], lakeside)
    rows = checked(study)
    assert [(row.state, row.found) for row in rows] == [("corrected", "mammogram"), ("passed", "chest_frontal")]
    assert category(study)[0] == ["DX", "MG"] and StudyCheck.objects.count() == 2


def test_twice_is_once_and_a_dead_worker_leaves_nothing_by_half(lakeside: Organisation) -> None:
    study = make.settled([phantom("breast", **DX)], lakeside)
    for _ in range(2):
        tasks.begin_check(str(study.pk))
    assert owed("check.wanted") == 1
    check = StudyCheck.objects.get()
    with mock.patch.object(actions, "_announce", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        tasks.check_study(str(check.pk))  # dies in the transaction that stores
    check.refresh_from_db()
    assert check.state == "waiting" and not SeriesCheck.objects.exists() and owed("check.settled") == 0
    for _ in range(2):
        tasks.check_study(str(check.pk))
    check.refresh_from_db()
    assert (check.state, check.attempts, SeriesCheck.objects.count(), owed("check.settled")) == ("done", 2, 1, 2)


def test_a_scan_that_kills_every_worker_goes_on_unchecked(lakeside: Organisation) -> None:
    check = actions.begin(make.settled([phantom("chest")], lakeside).pk)
    with mock.patch.object(look, "_look", side_effect=KeyboardInterrupt):
        for _ in range(look.MAX_ATTEMPTS):
            with pytest.raises(KeyboardInterrupt):
                look.check_study(check.pk)
    assert look.check_study(check.pk).state == "failed" and owed("check.settled") == 2


def test_unforeseen_errors_are_tried_again_then_passed_on(lakeside: Organisation) -> None:
    check = actions.begin(make.settled([phantom("chest")], lakeside).pk)
    with mock.patch.object(look, "_look", side_effect=ZeroDivisionError):
        for _ in range(look.MAX_ATTEMPTS - 1):
            with pytest.raises(ZeroDivisionError):
                look.check_study(check.pk)
        done = look.check_study(check.pk)
    assert (done.state, done.words) == ("failed", "The check ended with ZeroDivisionError.")
    assert owed("check.settled") == 2


def test_without_a_package_scans_go_on_and_it_is_said(lakeside: Organisation, settings: Any, tmp_path: Path) -> None:
    study = make.settled([phantom("breast", **DX)], lakeside)
    for name, words in (("gone", "there is no package gone"), ("off", "turned off")):
        settings.INPUT_CHECK = name
        StudyCheck.objects.all().delete()
        check = actions.begin(study.pk)
        assert check.state == "skipped" and words in check.words
    assert owed("check.wanted") == 0 and owed("check.settled") == 4
    [run] = plan_runs(study.pk)
    assert run.state == "queued"
    # one that is there and damaged ends the same way, in the worker
    settings.INPUT_CHECK = "input-check"
    StudyCheck.objects.all().delete()
    check = actions.begin(study.pk)
    with mock.patch.object(look, "checker", side_effect=WrongHash("weights.safetensors is another")):
        assert look.check_study(check.pk).state == "skipped"


def test_a_check_that_is_late_passes_the_scan_on_and_still_counts(lakeside: Organisation) -> None:
    study = make.settled([phantom("breast", **DX)], lakeside)
    check = actions.begin(study.pk)
    assert actions.pass_overdue() == 0
    StudyCheck.objects.update(state_since=timezone.now() - timezone.timedelta(minutes=20))
    for _ in range(2):
        tasks.pass_overdue()
    check.refresh_from_db()
    assert check.state == "overdue" and owed("check.settled") == 2
    [run] = plan_runs(study.pk)
    assert run.state == "queued"
    look.check_study(check.pk)
    plan_runs(study.pk)
    run.refresh_from_db()
    assert run.state == "held"  # it had not begun


def test_what_cannot_be_looked_at_holds_nothing(lakeside: Organisation) -> None:
    study = make.settled([phantom("breast", **DX)], lakeside)
    Path(storage.archive().path(Instance.objects.get().name)).unlink()
    [row] = checked(study)
    assert (row.state, row.verdict, row.found, row.images) == ("passed", "unseen", "", [])
    assert Run.objects.get().state == "queued"


def test_a_long_series_is_looked_at_in_three_places(lakeside: Organisation) -> None:
    study, series = make.generate_uid(), make.generate_uid()
    images = [make.image("CT", study=study, series=series, seed=n, InstanceNumber=n + 1) for n in range(9)]
    [row] = checked(make.settled(images, lakeside))
    wanted = Instance.objects.filter(number__in=[2, 5, 8]).order_by("number").values_list("sop_uid", flat=True)
    assert [image["sop_instance_uid"] for image in row.images] == list(wanted)


def test_a_set_aside_series_is_kept_from_functions(lakeside: Organisation, dave: Any) -> None:
    from portal.infer.inputs import images_of

    good = phantom("chest")
    bad = phantom("breast", **DX, StudyInstanceUID=good.StudyInstanceUID, SeriesNumber=2)
    study = arrived([good, bad], lakeside)
    [run] = Run.objects.all()
    assert run.state == "held"  # the function would be given the mammogram too
    actions.decide(dave, SeriesCheck.objects.get(study=study, state="held"), "discard")
    plan_runs(study.pk)
    run.refresh_from_db()
    assert run.state == "queued" and [i.sop_uid for i in images_of([study])[study.pk]] == [good.SOPInstanceUID]


def test_scores_count_what_was_decided(lakeside: Organisation, dave: Any) -> None:
    """Five series as given here, counted by hand."""
    study = arrived([phantom("chest")], lakeside)
    source, check = study.source, StudyCheck.objects.get()
    row = only(study)
    made = [  # verdict, state, found, given category
        ("mismatch", "corrected", "mammogram", "mammogram"),
        ("mismatch", "corrected", "mammogram", "ct"),
        ("mismatch", "kept", "mammogram", ""),
        ("uncertain", "kept", "ct", ""),
        ("mismatch", "held", "ct", ""),
        ("mismatch", "discarded", "ct", ""),
        ("agrees", "corrected", "chest_frontal", "chest_lateral"),
        ("mismatch", "reassigned", "mammogram", "mammogram"),
    ]
    for number, (verdict, state, found, given) in enumerate(made):
        series = Series.objects.create(
            organisation=lakeside, study=study, series_uid=f"1.2.{number}", modality="DX", number=number + 5
        )
        SeriesCheck.objects.create(
            organisation=lakeside, source=source, study=study, series=series, check_made=check,
            verdict=verdict, state=state, found=found, category=given,
        )  # fmt: skip
    rows = queries.checks(dave)
    headers = queries.headers_of(rows.filter(source=source))
    # right: the chest that agreed, two kept; wrong: three corrected, one by policy
    assert (headers["share"].right, headers["share"].of) == (3, 7)
    assert (headers["open"], headers["discarded"], headers["at_once"], headers["corrected"]) == (1, 1, 1, 3)
    own = queries.own_score(rows)
    shares = {name: (own[name].right, own[name].of) for name in ("confirmed", "certain", "uncertain", "category")}
    assert shares == {"confirmed": (2, 4), "certain": (2, 3), "uncertain": (0, 1), "category": (1, 2)}
    assert (own["missed"], own["checked"], own["open"]) == (1, 9, 1)
    assert row.state == "passed"

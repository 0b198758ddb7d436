"""The queue: who gets which case, of how many, when many ask at once, and when a claim ends."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import Refused
from portal.functions.models import FunctionVersion
from portal.infer.models import Run
from portal.programmes import queries, rules, tasks
from portal.programmes.actions import claim, claim_next, make_cases, offer_second, open_cases
from portal.programmes.models import Assignment, Case, PanelMember, Programme
from portal.read.actions import save_draft, start
from portal.read.models import Reading
from portal.read.queries import assignment_json, worklist
from tests.factories.queue import panel, queued, taken
from tests.factories.reading import Cast, cast, finished_run, function_in_service, mammography

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def programme(cast: Cast) -> Programme:
    return Programme.objects.get(slug="screening-mammography")


def of(assignment: Assignment) -> Assignment:
    return Assignment.objects.get(pk=assignment.pk)


# --- any length -------------------------------------------------------------------------------------
def test_the_last_of_more_than_a_thousand_is_a_second_reading_and_comes_first(cast: Cast, programme: Programme) -> None:
    queued(programme, 1100, priority=9)
    (second,) = queued(programme, 1, kind="second", created_at=timezone.now())
    assert worklist(cast.bob)[0].pk == second.pk
    assert claim_next(cast.bob).pk == second.pk  # type: ignore[union-attr]


def test_an_arbiter_finds_the_arbitration_behind_a_thousand_readings(cast: Cast, programme: Programme) -> None:
    queued(programme, 1100, priority=9)
    (third,) = queued(programme, 1, kind="arbitration", created_at=timezone.now())
    assert [a.pk for a in worklist(cast.carol)] == [third.pk]
    assert claim_next(cast.carol).pk == third.pk  # type: ignore[union-attr]


def test_the_only_case_that_the_reader_has_not_read_is_found_behind_a_thousand(
    cast: Cast, programme: Programme
) -> None:
    taken(cast.alice, queued(programme, 1100, priority=9))
    (fresh,) = queued(programme, 1, created_at=timezone.now())
    assert [a.pk for a in worklist(cast.alice)] == [fresh.pk]
    assert claim_next(cast.alice).pk == fresh.pk  # type: ignore[union-attr]
    assert claim_next(cast.alice).pk == fresh.pk  # type: ignore[union-attr]  # still open: the same one


@pytest.mark.parametrize("seed", range(3))
def test_the_query_says_what_the_rule_says(cast: Cast, programme: Programme, seed: int) -> None:
    rng = random.Random(seed)
    other = Programme.objects.exclude(pk=programme.pk).filter(organisation=cast.lakeside).first()
    assert other is not None
    people = [cast.alice, cast.bob, cast.carol]
    PanelMember.objects.create(programme=other, user=cast.alice, part="arbiter")
    PanelMember.objects.filter(user=cast.bob, programme=other).update(quota=rng.choice([None, 0, 1]))
    for kind in ("first", "second", "arbitration") * 6:
        where, who = rng.choice([programme, other]), rng.choice([None, None, *people])
        offers = queued(where, 2, kind=kind, priority=rng.randint(0, 2), reader=who)
        if rng.random() < 0.5 and who is None:
            taken(rng.choice(people), offers)
    now = list(Assignment.objects.filter(state="offered").select_related("case"))
    for person in people:
        full = queries.reader(person)
        pushed = Assignment.objects.filter(reader=person).values_list("case_id", flat=True)
        who = rules.Reader(person.pk, full.parts, full.qualified, frozenset(pushed), full.full)
        expected = [o.key for o in rules.next_for(who, map(queries.as_offer, now))]
        found = [str(a.pk) for kind in queries.KINDS for a in queries.takeable(full, kind)]
        assert found == expected
        for offer in now:  # the door of one assignment decides alike
            one = queries.reader(person, offer.case_id)
            assert rules.eligible(one, queries.as_offer(offer)) is (str(offer.pk) in expected)
    for person in people:  # and so does the claim, again and again until nothing is left
        while True:
            full = queries.reader(person)
            rows = list(Assignment.objects.filter(state="offered").select_related("case"))
            held = Assignment.objects.filter(reader=person).exclude(state="cancelled").values_list("case_id", flat=True)
            who = rules.Reader(person.pk, full.parts, full.qualified, frozenset(held), full.full)
            expected = [o.key for o in rules.next_for(who, map(queries.as_offer, rows))][:1]
            got = claim_next(person)
            assert [str(a.pk) for a in (got,) if a] == expected
            if got is None:
                break
            Assignment.objects.filter(pk=got.pk).update(state=rng.choice(["submitted", "cancelled"]))


# --- races ------------------------------------------------------------------------------------------
def all_at_once(users: Sequence[User], what: Callable[[User], Any]) -> list[Any]:
    """What each user got, all having begun at the same moment; an exception counts as what was got."""
    barrier, got = threading.Barrier(len(users)), []

    def run(user: User) -> None:
        try:
            barrier.wait()
            got.append(what(user))
        except Exception as error:
            got.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.mark.parametrize("slots", [1, 3])
def test_sixty_readers_race_for_twenty_cases(cast: Cast, programme: Programme, slots: int) -> None:
    offers = queued(programme, 20, slots=slots)
    got = all_at_once(panel(programme, 60), claim_next)
    assert [g for g in got if isinstance(g, Exception)] == []
    claimed = [a.pk for a in got if a is not None]
    assert sorted(claimed) == sorted(a.pk for a in offers)  # every place given, none twice, nobody left out of 60
    rows = Assignment.objects.filter(state="claimed")
    assert rows.count() == 20 * slots == len(set(rows.values_list("reader", flat=True)))


def test_sixty_readers_race_for_one_place(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1)
    got = all_at_once(panel(programme, 60), lambda user: claim(user, of(offer)))
    assert sorted(type(g).__name__ for g in got) == ["Assignment"] + ["Refused"] * 59


def test_one_reader_in_many_windows_gets_one_case_and_not_more_than_the_quota(cast: Cast, programme: Programme) -> None:
    offers = queued(programme, 12)
    PanelMember.objects.filter(user=cast.alice).update(quota=2)
    got = all_at_once([cast.alice] * 12, claim_next)
    assert len({a.pk for a in got}) == 1
    left = iter([a for a in offers if a.pk != got[0].pk])
    got = all_at_once([cast.alice] * 11, lambda user: claim(user, of(next(left))))
    assert sum(isinstance(g, Assignment) for g in got) == 1
    assert Assignment.objects.filter(reader=cast.alice, state="claimed").count() == 2


def test_an_assignment_carries_its_case_s_programme_whatever_is_written(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1)
    other = Programme.objects.exclude(pk=programme.pk).first()
    assert of(offer).programme_id == programme.pk
    Assignment.objects.filter(pk=offer.pk).update(programme=other)
    assert of(offer).programme_id == programme.pk


def test_a_claim_inside_a_transaction_goes_with_it(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert claim_next(cast.alice).pk == offer.pk  # type: ignore[union-attr]
        raise ZeroDivisionError
    assert of(offer).state == "offered"
    bob = cast.bob
    with CaptureQueriesContext(connection) as asked:  # what came with it needs no further question
        got = claim_next(bob)
        assert got is not None and assignment_json(got)["case"]["modality"] == "MG"
    assert got.pk == offer.pk and asked.captured_queries == []


# --- pushed to one reader -----------------------------------------------------------------------------
def test_a_reading_pushed_to_one_reader_is_taken_by_that_reader(cast: Cast, programme: Programme) -> None:
    (pushed,) = queued(programme, 1, reader=cast.alice)
    assert worklist(cast.bob) == [] and claim_next(cast.bob) is None
    with pytest.raises(Refused):
        claim(cast.bob, pushed)
    assert [a.pk for a in worklist(cast.alice)] == [pushed.pk]
    assert claim_next(cast.alice).pk == pushed.pk  # type: ignore[union-attr]


def test_who_has_a_case_pushed_is_not_offered_its_other_places(cast: Cast, programme: Programme) -> None:
    offers = queued(programme, 1, slots=2)
    Assignment.objects.filter(pk=offers[1].pk).update(reader=cast.alice)
    assert [a.pk for a in worklist(cast.alice)] == [offers[1].pk]
    with pytest.raises(Refused):
        claim(cast.alice, of(offers[0]))
    assert claim(cast.alice, of(offers[1])).state == "claimed"


# --- opening ------------------------------------------------------------------------------------------
def test_a_case_opens_though_its_function_changed_version_meanwhile(cast: Cast) -> None:
    old = function_in_service()
    study = mammography(cast)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    assert case.state == "waiting"
    run = finished_run(study, 0.2)
    FunctionVersion.objects.filter(pk=old.pk).update(state="retired")
    FunctionVersion.objects.create(
        function=old.function, version="2", state="in_service", package="none", weights_sha256="1" * 64
    )
    open_cases(run.pk)
    case.refresh_from_db()
    assert case.state == "open" and case.assignments.count() == 1


def test_a_case_for_which_no_run_was_planned_opens_by_the_clock(cast: Cast) -> None:
    function_in_service()
    forgotten, at_work = mammography(cast), mammography(cast)
    for study in (forgotten, at_work):
        make_cases(study.pk)
    Run.objects.create(
        organisation=cast.lakeside, study=at_work, study_revision=at_work.revision, version=function_in_service(),
        state="running",
    )  # fmt: skip
    tasks.open_overdue()
    assert set(Case.objects.values_list("state", flat=True)) == {"waiting"}  # not yet
    Case.objects.update(state_since=timezone.now() - timedelta(minutes=16))
    tasks.open_overdue()
    tasks.open_overdue()
    assert Case.objects.get(study=at_work).state == "waiting"
    case = Case.objects.get(study=forgotten)
    assert case.state == "open" and case.assignments.count() == 1


# --- claims end ---------------------------------------------------------------------------------------
def late(assignment: Assignment, **by: float) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(expires_at=timezone.now() - timedelta(**by))


def draft(revision: int, **more: Any) -> dict[str, Any]:
    return {"revision": revision, "answers": {"recall": True}, "marks": [], "active_ms": 1, "client": "one", **more}


def test_a_claim_that_was_opened_and_never_saved_expires(cast: Cast, programme: Programme) -> None:
    first, second = queued(programme, 2)
    start(cast.alice, first)
    claim(cast.bob, second)
    tasks.expire_claims()
    assert {of(first).state, of(second).state} == {"claimed"}
    late(first, seconds=1)
    late(second, seconds=1)
    tasks.expire_claims()
    tasks.expire_claims()
    for row in (of(first), of(second)):
        assert (row.state, row.reader, row.expires_at, row.claimed_at) == ("offered", None, None, None)
    assert start(cast.bob, first).reader == cast.bob  # whoever comes may take it


def test_a_claim_with_a_draft_is_kept_three_days_longer_and_its_draft_after_that(
    cast: Cast, programme: Programme
) -> None:
    (offer,) = queued(programme, 1)
    save_draft(cast.alice, offer, draft(0))
    late(offer, hours=71)
    tasks.expire_claims()
    assert of(offer).state == "claimed"
    late(offer, hours=73)
    tasks.expire_claims()
    assert of(offer).state == "offered"
    reading = start(cast.alice, offer)  # nobody else began: the draft is there
    assert (reading.revision, reading.answers) == (1, {"recall": True})


def test_a_saved_draft_renews_the_claim(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1)
    save_draft(cast.alice, offer, draft(0))
    late(offer, hours=80)
    save_draft(cast.alice, offer, draft(1))
    tasks.expire_claims()
    assert of(offer).state == "claimed"


def test_the_draft_of_an_earlier_reader_does_not_keep_a_claim(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1)
    save_draft(cast.alice, offer, draft(0))
    late(offer, hours=73)
    tasks.expire_claims()
    claim(cast.bob, of(offer))  # taken from the list, not opened
    late(offer, seconds=1)
    tasks.expire_claims()
    assert of(offer).state == "offered"
    assert Reading.objects.get(assignment=offer).reader == cast.alice


def test_a_second_reading_is_offered_once(cast: Cast, programme: Programme) -> None:
    (offer,) = queued(programme, 1, state="second")
    assert offer_second(offer.case_id) == offer_second(offer.case_id)

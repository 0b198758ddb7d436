"""Drafts: nobody saves over what they have not seen, and a request that comes too late touches nothing."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import connections

from portal.core.errors import Refused
from portal.programmes.actions import claim, release
from portal.programmes.models import Assignment, Programme
from portal.read.actions import reveal, save_draft, start, submit_reading
from portal.read.models import Reading
from tests.factories.queue import queued
from tests.factories.reading import Cast, answers, cast

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def offer(cast: Cast) -> Assignment:
    return queued(Programme.objects.get(slug="screening-mammography"), 1)[0]


def as_seen(offer: Assignment) -> Assignment:
    """The assignment as a request sees it that began now."""
    return Assignment.objects.select_related("case__programme", "case__protocol", "case__study").get(pk=offer.pk)


def body(revision: int, said: str = "", **more: Any) -> dict[str, Any]:
    return {"revision": revision, "answers": {"comment": said}, "marks": [], "active_ms": 1, **more}


def refused(status: int, call: Any, *args: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*args)
    assert caught.value.status == status
    return caught.value


def kept(offer: Assignment) -> tuple[str, int, str]:
    reading = Reading.objects.select_related("reader").get(assignment=offer)
    return reading.reader.username, reading.revision, reading.answers.get("comment", "")


def test_requests_that_began_before_another_reader_took_the_case_touch_nothing(cast: Cast, offer: Assignment) -> None:
    before_claim = as_seen(offer)  # offered: Bob's window began to load
    save_draft(cast.alice, as_seen(offer), body(0, "alice"))
    for late in (lambda: start(cast.bob, before_claim), lambda: save_draft(cast.bob, before_claim, body(0, "bob"))):
        refused(410, late)
    hers = as_seen(offer)  # Alice's window, before she gives it back in another
    release(cast.alice, as_seen(offer))
    save_draft(cast.bob, as_seen(offer), body(0, "bob"))
    final = {"answers": answers(True), "marks": [], "key": "6f0e0d52-8f5c-4b6e-9d0f-0c3a5f6f7a11"}
    refused(410, start, cast.alice, hers)
    refused(410, save_draft, cast.alice, hers, body(1, "alice again"))
    refused(410, submit_reading, cast.alice, hers, final)
    refused(410, reveal, cast.alice, hers)
    assert kept(offer) == ("bob", 1, "bob")


def test_an_earlier_draft_is_found_again_by_its_reader_and_not_shown_to_another(cast: Cast, offer: Assignment) -> None:
    save_draft(cast.alice, as_seen(offer), body(0, "alice"))
    release(cast.alice, as_seen(offer))
    assert start(cast.alice, as_seen(offer)).answers == {"comment": "alice"}
    release(cast.alice, as_seen(offer))
    assert start(cast.bob, as_seen(offer)).answers == {}
    states = Reading.objects.get(assignment=offer).events.order_by("pgh_id").values_list("answers", flat=True)
    assert {"comment": "alice"} in list(states)  # history keeps it


def test_windows_without_a_name_do_not_save_over_each_other(cast: Cast, offer: Assignment) -> None:
    save_draft(cast.alice, offer, body(0, "one"))
    answer = refused(409, save_draft, cast.alice, offer, body(0, "two"))
    assert answer.extra["draft"]["answers"] == {"comment": "one"} and answer.extra["draft"]["revision"] == 1
    refused(409, save_draft, cast.alice, offer, body(7, "two"))  # a revision that never was
    save_draft(cast.alice, offer, body(1, "two"))
    assert kept(offer) == ("alice", 2, "two")


def test_a_window_whose_answers_were_lost_saves_again_and_again(cast: Cast, offer: Assignment) -> None:
    for said in ("a", "ab", "abc"):  # three times no answer came back: it still knows revision 0 only
        save_draft(cast.alice, offer, body(0, said, client="tab-1"))
    assert kept(offer) == ("alice", 3, "abc")
    save_draft(cast.alice, offer, body(3, "abcd", client="tab-1"))
    refused(409, save_draft, cast.alice, offer, body(0, "old", client="tab-1"))  # a request that took a long way
    assert kept(offer) == ("alice", 4, "abcd")


def test_a_window_whose_answer_was_lost_does_not_save_over_another(cast: Cast, offer: Assignment) -> None:
    save_draft(cast.alice, offer, body(0, "a", client="tab-1"))  # the answer is lost
    save_draft(cast.alice, offer, body(1, "b", client="tab-2"))
    refused(409, save_draft, cast.alice, offer, body(0, "ac", client="tab-1"))
    refused(409, save_draft, cast.alice, offer, body(1, "ac", client="tab-1"))
    assert kept(offer) == ("alice", 2, "b")


def final(key: int, recall: bool, **more: Any) -> dict[str, Any]:
    return {"answers": answers(recall), "marks": [], "key": str(uuid.UUID(int=key)), **more}


def test_an_old_window_does_not_submit_over_a_newer_draft(cast: Cast, offer: Assignment) -> None:
    save_draft(cast.alice, offer, body(0, "one", client="tab-1"))
    save_draft(cast.alice, offer, body(1, "two", client="tab-2"))
    for old in ({"revision": 1}, {"revision": 0}, {"revision": 3}, {}):  # none at all: a program that saw no draft
        answer = refused(409, submit_reading, cast.alice, offer, final(1, True, **old))
        assert answer.extra["revision"] == 2 and answer.extra["draft"]["answers"] == {"comment": "two"}
    assert kept(offer) == ("alice", 2, "two") and Reading.objects.get(assignment=offer).state == "draft"
    done = submit_reading(cast.alice, offer, final(1, True, revision=2))
    assert done.state == "submitted"
    # the answer was lost: the same key again, whatever it says of revisions
    assert submit_reading(cast.alice, offer, final(1, True, revision=2)).pk == done.pk


def test_a_program_without_drafts_submits_without_a_revision(cast: Cast, offer: Assignment) -> None:
    refused(422, submit_reading, cast.alice, offer, final(1, True, revision="0"))
    assert submit_reading(cast.alice, offer, final(1, True)).state == "submitted"


def test_of_windows_that_save_at_once_one_is_kept(cast: Cast, offer: Assignment) -> None:
    claim(cast.alice, offer)
    barrier, got = threading.Barrier(8), []

    def save(name: str) -> None:
        try:
            barrier.wait()
            save_draft(cast.alice, as_seen(offer), body(0, name, client=name))
            got.append(name)
        except Refused as error:
            got.append(error.status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=save, args=(f"tab-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [g for g in got if isinstance(g, str)]
    assert len(winners) == 1 and got.count(409) == 7
    assert kept(offer) == ("alice", 1, winners[0])

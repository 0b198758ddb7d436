"""One statement for many rows, each with its own values."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.utils import timezone

from portal.core.models import OutboxEvent
from portal.core.rows import insert, insert_all, update_each
from portal.ingest.models import LandingFile

pytestmark = pytest.mark.django_db


def events(count: int) -> list[OutboxEvent]:
    return OutboxEvent.objects.bulk_create(OutboxEvent(topic="t", task="a.b", key=str(n)) for n in range(count))


def test_each_row_gets_its_own_values_and_nothing_else_changes() -> None:
    first, second, other = events(3)
    when = timezone.now().replace(microsecond=123456) + dt.timedelta(days=1)
    first.payload, first.next_at, first.error = {"a": [1, None, "ä'\"%s"]}, when, "it's 100 % gone"
    second.payload, second.next_at, second.error = {}, when + dt.timedelta(hours=1), ""
    first.key = "not named"
    update_each([first, second], ("payload", "next_at", "error"))
    a, b, c = OutboxEvent.objects.order_by("pk")
    assert (a.payload, a.next_at, a.error, a.key) == (first.payload, when, first.error, "0")
    assert (b.payload, b.next_at, b.error) == ({}, second.next_at, "")
    assert (c.payload, c.next_at, c.error) == (other.payload, other.next_at, other.error)


def test_no_rows_need_no_statement(django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        update_each([], ("error",))
    rows = events(20)
    with django_assert_num_queries(1):
        update_each(rows, ("error", "payload"))


def test_empty_is_written_as_nothing() -> None:
    (row,) = events(1)
    row.lease = uuid.uuid4()
    update_each([row], ("lease",))
    row.refresh_from_db()
    assert row.lease is not None
    row.lease = None
    update_each([row], ("lease",))
    row.refresh_from_db()
    assert row.lease is None


def test_rows_are_inserted_as_django_would() -> None:
    when = timezone.now() - dt.timedelta(days=400)
    values: list[dict[str, Any]] = [
        {"payload": {"ä": [None, 1.5, "\\N\t\n"]}, "error": "tab\tand \\N and 'quote'", "next_at": when},
        {"payload": {}, "lease": uuid.uuid4(), "leased_until": when, "attempts": 3, "next_at": when},
    ]
    copied = [OutboxEvent(topic="t", task="a.b", key=f"copied {n}", **v) for n, v in enumerate(values)]
    usual = [OutboxEvent(topic="t", task="a.b", key=f"usual {n}", **v) for n, v in enumerate(values)]
    insert_all(copied)
    OutboxEvent.objects.bulk_create(usual)
    assert len({row.pk for row in copied + usual}) == 4
    names = {field.name for field in OutboxEvent._meta.concrete_fields} - {"id", "key", "created_at"}
    for one, other in zip(copied, usual, strict=True):
        one.refresh_from_db()
        other.refresh_from_db()
        for name in names:
            assert getattr(one, name) == getattr(other, name), name


def test_rows_are_written_by_one_statement_and_know_their_keys(django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        made = insert([OutboxEvent(topic="t", task="it's %s", key=str(n), payload={"n": n}) for n in range(3)])
    kept = OutboxEvent.objects.in_bulk([row.pk for row in made])
    assert [(kept[row.pk].key, kept[row.pk].payload, kept[row.pk].task) for row in made] == [
        (str(n), {"n": n}, "it's %s") for n in range(3)
    ]
    made[0].error = "later"
    made[0].save()  # it is known to be in the database
    assert OutboxEvent.objects.get(pk=made[0].pk).error == "later" and OutboxEvent.objects.count() == 3
    with django_assert_num_queries(0):
        assert insert(list[OutboxEvent]()) == []


def test_what_a_constraint_forbids_is_left_out_and_said() -> None:
    first, second = LandingFile(receipt_id=uuid.uuid4(), name="a"), LandingFile(receipt_id=uuid.uuid4(), name="b")
    insert([first])
    again = LandingFile(receipt_id=first.receipt_id, name="c")
    assert insert([again, second], skip_conflicts=True) == [second]
    assert sorted(LandingFile.objects.values_list("name", flat=True)) == ["a", "b"]

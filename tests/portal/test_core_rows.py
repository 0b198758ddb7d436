"""One statement for many rows, each with its own values."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.utils import timezone

from portal.core.models import OutboxEvent
from portal.core.rows import insert_all, update_each

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

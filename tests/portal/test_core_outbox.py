"""Work is owed in the transaction, done once, and sent again when the broker or a worker loses it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from structlog.testing import capture_logs

from portal.core import outbox
from portal.core.models import OutboxEvent
from portal.core.tasks import short_task

done: list[str] = []


@short_task
def remember(key: str, **payload: Any) -> None:
    if key == "bad":
        raise ValueError("cannot be done")
    done.append(key)


FOLLOWS = {"test.happened": (remember.name,)}
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def topics(settings: Any) -> None:
    settings.PIPELINE = f"{__name__}.FOLLOWS"
    done.clear()


def owe(key: str = "1") -> OutboxEvent:
    outbox.emit("test.happened", key)
    return OutboxEvent.objects.get(key=key)


def test_nothing_is_owed_when_the_transaction_fails() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        outbox.emit("test.happened", "1")
        raise RuntimeError
    assert not OutboxEvent.objects.exists()


def test_an_unknown_topic_is_refused() -> None:
    with pytest.raises(KeyError):
        outbox.emit("test.nobody_listens", "1")


def test_a_message_delivered_twice_does_the_work_once() -> None:
    row = owe()
    remember(row.key, outbox_id=row.pk)
    remember(row.key, outbox_id=row.pk)
    assert done == ["1"]
    row.refresh_from_db()
    assert row.state == "done" and row.attempts == 1


def test_a_second_worker_keeps_off_while_the_first_holds_the_lease() -> None:
    row = owe()
    with outbox.lease(row.pk) as mine:
        assert mine
        remember(row.key, outbox_id=row.pk)
        assert done == []


def test_a_dead_worker_loses_its_lease_to_the_sweeper() -> None:
    row = owe()
    past = timezone.now() - timedelta(seconds=1)
    OutboxEvent.objects.filter(pk=row.pk).update(state="leased", leased_until=past, next_at=past)
    assert outbox.sweep() == 1
    remember(row.key, outbox_id=row.pk)
    assert done == ["1"]


def test_a_message_the_broker_lost_is_sent_again_when_due() -> None:
    row = owe()
    assert outbox.sweep() == 0  # just sent: not due yet
    OutboxEvent.objects.filter(pk=row.pk).update(next_at=timezone.now())
    assert outbox.sweep() == 1
    row.refresh_from_db()
    assert row.sends == 2


def test_a_failing_task_is_put_back_with_a_pause_and_closed_in_the_end() -> None:
    row = owe("bad")
    pauses = []
    for attempt in range(1, outbox.MAX_ATTEMPTS + 1):
        OutboxEvent.objects.filter(pk=row.pk).update(next_at=timezone.now())
        with pytest.raises(ValueError, match="cannot be done"):
            remember("bad", outbox_id=row.pk)
        row.refresh_from_db()
        assert row.attempts == attempt
        pauses.append(row.next_at - timezone.now())
    assert pauses == sorted(pauses)
    assert row.state == "failed"
    assert row.error == "ValueError: cannot be done"
    assert outbox.sweep() == 0


def test_a_broker_that_is_away_only_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.celery import app

    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    before, app.conf.broker_url = app.conf.broker_url, "redis://127.0.0.1:1/0"
    try:
        with capture_logs() as said:
            row = owe("away")
            outbox.flush(30)
        assert [one["event"] for one in said] == ["outbox.broker_away"]
        assert row.state == "waiting" and row.sends == 1
    finally:
        app.conf.broker_url = before
    monkeypatch.undo()
    remember("away", outbox_id=row.pk)
    assert done == ["away"]


def test_an_identity_task_keeps_no_words_of_its_error() -> None:
    row = owe("secret")
    with pytest.raises(ValueError), outbox.lease(row.pk, private=True):
        raise ValueError("PatientName DOE^JANE is malformed")
    row.refresh_from_db()
    assert row.error.startswith("ValueError at test_core_outbox.py:")
    assert "DOE" not in row.error


def test_rows_of_one_task_share_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(remember, "apply_async", lambda args, kwargs, retry: sent.append((args, kwargs)))
    keys = [str(n) for n in range(outbox.TOGETHER)] + ["bad", "last"]
    outbox.emit_all("test.happened", keys)
    outbox.flush()
    assert [1 + len(kwargs.get("more", ())) for _, kwargs in sent] == [outbox.TOGETHER, 2]
    assert not OutboxEvent.objects.exclude(sends=1).exists()
    remember(*sent[0][0], **sent[0][1])
    with pytest.raises(ValueError, match="cannot be done"):
        remember(*sent[1][0], **sent[1][1])
    assert done == [key for key in keys if key != "bad"]
    assert dict(OutboxEvent.objects.values_list("key", "state")) == dict.fromkeys(keys, "done") | {"bad": "waiting"}
    remember(*sent[0][0], **sent[0][1])
    assert len(done) == len(keys) - 1  # delivered twice, done once
    OutboxEvent.objects.update(state="waiting", attempts=1, next_at=timezone.now())
    sent.clear()
    swept = outbox.sweep()
    outbox.flush()
    assert swept == len(sent) == len(keys)  # what was tried before goes alone

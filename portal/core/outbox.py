"""Work handed on after commit, by key, and re-sent until it is done.

A row per owed task is the truth; the broker only carries hints. A worker leases the row, renews the
lease while it works, and closes it; when the worker dies the lease runs out and `sweep` sends again.
"""

from __future__ import annotations

import itertools
import threading
import traceback
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import connection, connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from portal.core.aside import Aside
from portal.core.models import OutboxEvent
from portal.core.rows import insert

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15
RESEND_SECONDS = 20
MAX_ATTEMPTS = 6
TOGETHER = 32  # owed tasks in one message
Owed = tuple[OutboxEvent, bool]  # a row, and whether it goes in a message of its own


def followers(topic: str) -> Sequence[str]:
    """Names of the tasks that follow a topic, by the table that settings.PIPELINE names."""
    table: Mapping[str, Sequence[str]] = import_string(settings.PIPELINE)
    return table[topic]


def emit(topic: str, key: object, **payload: object) -> None:
    """Owe every task that follows `topic` for `key`; send them once the transaction commits.

    Raises KeyError for a topic that portal.pipeline does not know.
    """
    emit_all(topic, [key], **payload)


def emit_all(topic: str, keys: Iterable[object], **payload: object) -> None:
    """The same for several keys, which then travel to the workers together."""
    tasks = followers(topic)
    soon = timezone.now() + timedelta(seconds=RESEND_SECONDS)
    # written as sent: should the message never arrive, the sweep sends it again
    rows = [
        OutboxEvent(topic=topic, task=task, key=str(key), payload=payload, sends=1, next_at=soon)
        for key in keys
        for task in tasks
    ]
    if rows:
        insert(rows)
        transaction.on_commit(lambda: _courier.put((row, False) for row in rows), robust=True)


def send(rows: Sequence[OutboxEvent]) -> None:
    """Tell the broker again about owed tasks."""
    for sends, group in itertools.groupby(sorted(rows, key=lambda row: row.sends), key=lambda row: row.sends + 1):
        wait = timedelta(seconds=min(RESEND_SECONDS * 2 ** (sends - 1), 600))
        waiting = OutboxEvent.objects.filter(pk__in=[row.pk for row in group], state=OutboxEvent.State.WAITING)
        waiting.update(sends=sends, next_at=timezone.now() + wait)
    _courier.put((row, True) for row in rows)  # alone: what failed before must not hold up the others


def _bring(owed: list[Owed]) -> None:
    """Bring owed tasks to the broker, those that came meanwhile together.

    Who owes them need not wait for the broker: they are committed, and what is lost here is sent again by `sweep`.
    """
    together = [row for row, alone in owed if not alone]
    for rows in [together, *([row] for row, alone in owed if alone)]:
        try:
            _publish(rows)
        except Exception:  # it is sent again; the others must go
            log.exception("outbox.not_published", rows=len(rows))


_courier = Aside("outbox", lambda: _bring)
flush = _courier.flush


def _publish(rows: Sequence[OutboxEvent]) -> None:
    """One message for up to TOGETHER rows of a task; a broker that is away only delays them."""
    from portal.celery import app

    by_task: dict[str, list[OutboxEvent]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    for name, owed in by_task.items():
        task = import_string(name)
        for start in range(0, len(owed), TOGETHER):
            some = owed[start : start + TOGETHER]
            first, rest = some[0], [(row.key, row.payload, row.pk) for row in some[1:]]
            options = {"more": rest} if rest else {}
            try:
                task.apply_async(
                    args=[first.key], kwargs={**first.payload, **options, "outbox_id": first.pk}, retry=False
                )
            except (OSError, OperationalError, *app.connection_for_write().connection_errors) as error:
                log.warning("outbox.broker_away", task=name, key=first.key, error=str(error))
                return


@dataclass
class Held:
    """Rows of one task that this worker holds; `keys` says what is owed."""

    task: str
    token: uuid.UUID
    rows: dict[str, int] = field(default_factory=dict)  # key → row
    errors: dict[str, BaseException] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """What is owed by the rows that are held."""
        return list(self.rows)

    def take(self, keys: Iterable[str]) -> list[str]:
        """Hold those of `keys` that wait for the same task, too; returns them."""
        free = OutboxEvent.objects.filter(task=self.task, key__in=list(keys), state=OutboxEvent.State.WAITING)
        with transaction.atomic():
            found = dict(free.select_for_update(skip_locked=True).values_list("key", "pk"))
            _hold(OutboxEvent.objects.filter(pk__in=found.values()), self.token)
        self.rows |= found
        return list(found)

    def again(self, key: str, error: BaseException) -> None:
        """Put one back when the work ends: it failed, the others did not."""
        self.errors[key] = error


def _hold(rows: QuerySet[OutboxEvent], token: uuid.UUID) -> int:
    until = timezone.now() + timedelta(seconds=LEASE_SECONDS)
    return rows.update(state=OutboxEvent.State.LEASED, lease=token, leased_until=until, attempts=F("attempts") + 1)


@contextmanager
def lease(
    outbox_id: int | None,
    key: str = "",
    task: str = "",
    heartbeat: float = LEASE_SECONDS / 3,
    private: bool = False,
    more: bool = False,
) -> Iterator[Held]:
    """Hold the row while the body works; without keys when it is done or held by another.

    private: the error's words may hold an identity, so only its kind and place are kept.
    more: the body may take further rows.

    An error in the body puts the rows back with a growing pause, or closes them as failed after
    MAX_ATTEMPTS; the error goes on to the caller either way.
    """
    held = Held(task, uuid.uuid4())
    if outbox_id is None:
        held.rows[key] = 0
        yield held
        return
    if _hold(OutboxEvent.objects.filter(pk=outbox_id, state=OutboxEvent.State.WAITING), held.token):
        held.rows[key] = outbox_id
    elif not more:
        yield held
        return
    stop = threading.Event()
    beat = threading.Thread(target=_renew, args=(held, stop, heartbeat), daemon=True)
    beat.start()
    try:
        yield held
    except BaseException as error:
        stop.set()
        _put_back(held, dict.fromkeys(held.keys, error), private)
        raise
    else:
        if done := [pk for name, pk in held.rows.items() if name not in held.errors]:
            mine = OutboxEvent.objects.filter(pk__in=done, lease=held.token, state=OutboxEvent.State.LEASED)
            mine.update(state=OutboxEvent.State.DONE, done_at=timezone.now(), error="")
        _put_back(held, held.errors, private)
    finally:
        stop.set()
        beat.join(timeout=5)


def _renew(held: Held, stop: threading.Event, heartbeat: float) -> None:
    try:
        while not stop.wait(heartbeat):
            mine = OutboxEvent.objects.filter(pk__in=list(held.rows.values()), lease=held.token)
            mine.filter(state=OutboxEvent.State.LEASED).update(
                leased_until=timezone.now() + timedelta(seconds=LEASE_SECONDS)
            )
    finally:
        connections.close_all()


def describe(error: BaseException, private: bool) -> str:
    """An error in one line; without its words when they may hold an identity."""
    if not private:
        return f"{type(error).__name__}: {error}"[:2000]
    places = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__}{place}"


def _put_back(held: Held, errors: Mapping[str, BaseException], private: bool) -> None:
    if connection.in_atomic_block and connection.needs_rollback:
        return  # the surrounding test transaction is lost; the lease runs out by itself
    for key, error in errors.items():
        row = OutboxEvent.objects.filter(pk=held.rows[key], lease=held.token).first()
        if row is None:
            continue
        state = OutboxEvent.State.FAILED if row.attempts >= MAX_ATTEMPTS else OutboxEvent.State.WAITING
        pause, words = timedelta(seconds=min(2**row.attempts, 300)), describe(error, private)
        OutboxEvent.objects.filter(pk=row.pk, lease=held.token).update(
            state=state,
            error=words,
            next_at=timezone.now() + pause,
            lease=None,
        )
        log.warning("outbox.task_failed", task=row.task, key=row.key, attempts=row.attempts, state=state, error=words)


def sweep(limit: int = 500) -> int:
    """Send again what was lost: waiting rows that are due, and leases that ran out. Returns how many."""
    now = timezone.now()
    OutboxEvent.objects.filter(state=OutboxEvent.State.LEASED, leased_until__lt=now).update(
        state=OutboxEvent.State.WAITING, lease=None, next_at=now
    )
    with transaction.atomic():
        due = list(
            OutboxEvent.objects.select_for_update(skip_locked=True)
            .filter(state=OutboxEvent.State.WAITING, next_at__lte=now)
            .order_by("next_at")[:limit]
        )
        send(due)
    return len(due)

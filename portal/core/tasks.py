"""House task decorators: they fix queue, acknowledgement, retries and time limits.

A task takes a key, calls one action and may be run twice with the same effect as once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import close_old_connections
from django.utils import timezone

from portal.celery import app
from portal.core import metrics, outbox

log = structlog.get_logger(__name__)
Body = Callable[..., Any]
Owed = tuple[str, int]  # key and outbox row
QUEUES: dict[str, str] = {}  # task name → queue


def route(name: str, *args: object, **options: object) -> dict[str, str] | None:
    """Celery's router: the queue that the task's decorator fixed."""
    return {"queue": QUEUES[name]} if name in QUEUES else None


def _house(queue: str, soft: int, hard: int, together: bool = False) -> Callable[[Body], Any]:
    def decorate(body: Body) -> Any:
        name = f"{body.__module__}.{body.__name__}"

        def one(key: str, outbox_id: int | None, others: Sequence[Owed], payload: dict[str, Any]) -> None:
            close_old_connections()
            with (
                structlog.contextvars.bound_contextvars(task=body.__name__, key=key or None),
                outbox.lease(outbox_id, key, name, private=queue == "identities", more=together) as held,
            ):
                if not together and not held.keys:
                    return
                with metrics.task(body.__name__):
                    if together:
                        held.take([other for other, _ in others])
                        body(held, **payload)
                    else:
                        body(*([key] if key else []), **payload)

        @functools.wraps(body)
        def run(key: str = "", outbox_id: int | None = None, others: Sequence[Owed] = (), **payload: Any) -> None:
            if together:
                one(key, outbox_id, others, payload)
                return
            failed: Exception | None = None
            for each, row in ((key, outbox_id), *others):
                try:
                    one(each, row, (), payload)
                except Exception as error:  # its row is put back; the others of the message are owed all the same
                    failed = failed or error
            if failed is not None:
                raise failed

        QUEUES[name] = queue
        return app.task(
            name=name,
            acks_late=True,
            reject_on_worker_lost=True,
            ignore_result=True,
            soft_time_limit=soft,
            time_limit=hard,
        )(run)

    return decorate


short_task = _house("default", 60, 90)
export_task = _house("export", 1800, 1860)
identity_task = _house("identities", 300, 330)
# its body gets the rows that are held instead of a key, perhaps none, and may take more of them that wait
gpu_task = _house("gpu", 900, 930, together=True)


@short_task
def sweep_outbox() -> None:
    """Send lost work again (beat, every few seconds)."""
    sent = outbox.sweep()
    if sent:
        log.info("outbox.swept", sent=sent)


@short_task
def clean_up() -> None:
    """Drop outbox rows that were done a week ago."""
    old = timezone.now() - timedelta(days=7)
    outbox.OutboxEvent.objects.filter(state="done", done_at__lt=old).delete()

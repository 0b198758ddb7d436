"""House task decorators: they fix queue, acknowledgement, retries and time limits.

A task takes a key, calls one action and may be run twice with the same effect as once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db import close_old_connections
from django.utils import timezone

from portal.celery import app
from portal.core import metrics, outbox

log = structlog.get_logger(__name__)
Body = Callable[..., Any]
Owed = tuple[str, dict[str, Any], int | None]  # key, payload, row of the outbox
QUEUES: dict[str, str] = {}  # task name → queue
IDENTITY_QUEUES = {"identities", "transfer"}


def route(name: str, *args: object, **options: object) -> dict[str, str] | None:
    """Celery's router: the queue that the task's decorator fixed."""
    return {"queue": QUEUES[name]} if name in QUEUES else None


def _house(queue: str, soft: int, hard: int, together: bool = False) -> Callable[[Body], Any]:
    def decorate(body: Body) -> Any:
        name = f"{body.__module__}.{body.__name__}"

        def do(key: str, outbox_id: int | None, payload: dict[str, Any], others: Sequence[str] = ()) -> None:
            close_old_connections()
            with (
                structlog.contextvars.bound_contextvars(task=body.__name__, key=key or None),
                outbox.lease(outbox_id, key, name, private=queue in IDENTITY_QUEUES, more=together) as held,
            ):
                if not together and not held.keys:
                    return
                with metrics.task(body.__name__):
                    if together:
                        held.take(others)
                        body(held, **payload)
                    else:
                        body(*([key] if key else []), **payload)

        @functools.wraps(body)
        def run(key: str = "", outbox_id: int | None = None, more: Sequence[Owed] = (), **payload: Any) -> None:
            try:
                if together:
                    do(key, outbox_id, payload, [other for other, _, _ in more])
                else:
                    each([(key, payload, outbox_id), *more])
            finally:
                outbox.flush()  # the process may end with this task

        def each(owed: Sequence[Owed]) -> None:
            failed: Exception | None = None
            for one, values, row in owed:
                try:
                    do(one, row, values)
                except SoftTimeLimitExceeded:
                    raise  # what is left is sent again
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
# with DICOM peers: they may be slow, and must not keep what was received from being de-identified
transfer_task = _house("transfer", 7200, 7260)
gpu_task = _house("gpu", 900, 930)
# its body gets the rows that are held instead of a key, perhaps none, and may take more of them that wait
gpu_group_task = _house("gpu", 900, 930, together=True)


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

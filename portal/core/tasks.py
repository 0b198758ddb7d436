"""House task decorators: they fix queue, acknowledgement, retries and time limits.

A task takes a key, calls one action and may be run twice with the same effect as once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.db import close_old_connections
from django.utils import timezone

from portal.celery import app
from portal.core import metrics, outbox

log = structlog.get_logger(__name__)
Body = Callable[..., Any]
QUEUES: dict[str, str] = {}  # task name → queue
IDENTITY_QUEUES = {"identities", "transfer"}


def route(name: str, *args: object, **options: object) -> dict[str, str] | None:
    """Celery's router: the queue that the task's decorator fixed."""
    return {"queue": QUEUES[name]} if name in QUEUES else None


def _house(queue: str, soft: int, hard: int) -> Callable[[Body], Any]:
    def decorate(body: Body) -> Any:
        @functools.wraps(body)
        def run(*args: Any, outbox_id: int | None = None, **payload: Any) -> None:
            close_old_connections()
            with (
                structlog.contextvars.bound_contextvars(task=body.__name__, key=args[0] if args else None),
                outbox.lease(outbox_id, private=queue in IDENTITY_QUEUES) as mine,
            ):
                if mine:
                    with metrics.task(body.__name__):
                        body(*args, **payload)

        name = f"{body.__module__}.{body.__name__}"
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

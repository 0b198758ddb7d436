"""What waits to be sent, is tried again with growing pauses and is acknowledged in the end.

The same for studies that routing rules send on and for results that go back to a PACS (`portal.export`): their rows,
and how they come into the queue again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import structlog
from django.db import models, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import outbox
from portal.core.errors import Refused
from portal.core.pauses import Pauses
from portal.core.states import StateModel

log = structlog.get_logger(__name__)
QUEUED, FAILED = "queued", "failed"  # of every row of this kind; what else there is, and what it means, is the model's


class Outgoing(StateModel):
    """One thing on its way to a peer. `TOPIC` is emitted when it is to be sent, `PAUSES` are those between attempts."""

    TOPIC: ClassVar[str]
    PAUSES: ClassVar[Pauses]
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(null=True)  # when a failed one is sent again by itself; empty: by a person only

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=Outgoing)
# moves a row along its table and tells the browsers: (row, state, fields) → False when another was faster
Move = Callable[..., bool]


def queue_again(row: Row, move: Move, **fields: Any) -> bool:
    """Send a row on its way again; False when another was faster."""
    with transaction.atomic():
        moved = move(row, QUEUED, **{"next_at": None, "queued_at": timezone.now(), **fields})
        if moved:
            outbox.emit(row.TOPIC, row.pk)
    return moved


def not_sent(row: Row, move: Move, words: str, *, again: bool = True) -> Row:
    """Keep why a row was not sent (without an identity), and when it is tried again: never unless `again`."""
    attempts = row.attempts + 1
    pause = row.PAUSES.after(attempts) if again else None
    due = timezone.now() + pause if pause else None
    move(row, FAILED, attempts=attempts, error=words[:300], next_at=due)
    log.warning("outgoing.not_sent", topic=row.TOPIC, row=str(row.pk), attempts=attempts, error=words[:300])
    return row


def queue_due(rows: QuerySet[Row], move: Move, limit: int) -> int:
    """Queue those of the rows that failed and whose pause is over. Returns how many."""
    due = rows.filter(state=FAILED, next_at__lte=timezone.now()).order_by("next_at")[:limit]
    return sum(queue_again(row, move) for row in due)


def retry(user: Any, row: Row, organisation_id: int, move: Move) -> Row:
    """Send a failed row again now, its attempts counted anew. Raises Refused for any other, 404 without the role."""
    require_role(user, organisation_id, Role.PACS_ADMIN)
    if row.state != FAILED or not queue_again(row, move, attempts=0, error=""):
        raise Refused("wrong_state", f"Only a failed {row._meta.verbose_name} can be sent again.")
    return row

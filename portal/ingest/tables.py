"""Tables of the doors."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from portal.core.tables import Column, Filter, Table
from portal.ingest import queries
from portal.ingest.models import Receipt
from portal.ingest.rules import REASONS, words


def quarantine(user: Any) -> Table:
    """What was set aside; the sources to filter by are those that the user administers."""
    sources = [(str(s.pk), s.name) for s in queries.sources(user)]
    return Table(
        "quarantine",
        (
            Column("reason", "Reason", lambda r: words(r.reason), css="words", fixed=True),
            Column("source", "Source", lambda r: r.source.name, order="source__name"),
            Column("size", "Size", lambda r: r.size, order="size", css="num"),
            Column("digest", "Digest", lambda r: r.digest),
            Column("batch", "Batch", lambda r: r.batch, extra=True),
            Column("received", "Received", lambda r: r.received_at, order="received_at"),
        ),
        (
            Filter("reason", "Reason", lambda v: Q(reason=v), [(code, one.words) for code, one in REASONS.items()]),
            Filter("source", "Source", lambda v: Q(source=int(v)), sources),
            Filter("from", "From", lambda v: Q(received_at__date__gte=v), kind="day"),
            Filter("to", "to", lambda v: Q(received_at__date__lte=v), kind="day"),
        ),
        sort="-received",
        bulk=True,
    )


def explain(rows: list[Receipt]) -> None:
    """Hang the sentence of its reason on each receipt."""
    for row in rows:
        row.why = words(row.reason) if row.reason else ""  # type: ignore[attr-defined]

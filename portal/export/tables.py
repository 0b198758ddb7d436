"""Tables of the ways out."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from portal.core.tables import Column, Filter, Table
from portal.export.kinds import KINDS
from portal.export.models import DataSet, Destination, Return
from portal.export.sets import FORMATS
from portal.peers.models import Commitment
from portal.programmes.models import Programme


def data_sets(programmes: Iterable[Programme]) -> Table:
    """Data sets, to be filtered by these programmes."""
    return Table(
        "data-sets",
        (
            Column("state", "State", lambda d: DataSet.State(d.state).label, css="tight", fixed=True),
            Column("programme", "Programme", lambda d: d.programme.name, order="programme__name", fixed=True),
            Column("cohort", "Cohort", lambda d: d.cohort_name),
            Column("format", "Format", lambda d: FORMATS[d.format].words),
            Column("asked", "Asked for", lambda d: d.asked_at, order="asked_at", css="tight"),
            Column("by", "By", lambda d: d.asked_by and str(d.asked_by)),
            Column("ready", "Ready", lambda d: d.ready_at, order="ready_at", nullable=True, css="tight"),
            Column("size", "Size", lambda d: d.size, order="size", css="num"),
            Column("sha256", "SHA-256 of the file", lambda d: d.sha256, css="wrap"),
            Column("content", "SHA-256 of the content", lambda d: d.content_sha256, css="wrap", extra=True),
            Column("file", "File", lambda d: d.name.rpartition("/")[2], css="tight"),
        ),
        (
            Filter("programme", "Programme", lambda v: Q(programme__slug=v), [(p.slug, p.name) for p in programmes]),
            Filter("format", "Format", lambda v: Q(format=v), [(key, one.words) for key, one in FORMATS.items()]),
            Filter("state", "State", lambda v: Q(state=v), DataSet.State.choices),
        ),
        sort="-asked",
    )


def returns(destinations: Iterable[Destination]) -> Table:
    """Returns, to be filtered by these destinations."""
    choices = [(str(d.pk), d.name) for d in destinations]
    return Table(
        "returns",
        (
            Column("state", "State", lambda r: Return.State(r.state).label, fixed=True),
            Column("destination", "Destination", lambda r: r.destination.name, order="destination__name"),
            Column("case", "Result of", lambda r: r.about, fixed=True),
            Column("format", "What", lambda r: r.what),
            Column("with", "Went out with", _went, css="tight"),
            Column("attempts", "Attempts", lambda r: r.attempts, order="attempts", css="num"),
            Column("queued", "Queued", lambda r: r.queued_at, order="queued_at", css="tight"),
            Column("answer", "Answer", lambda r: r.answer, extra=True),
            Column("objects", "Objects", lambda r: r.objects_count, css="num", extra=True),
            Column("kept", "Kept", kept, css="tight"),
            Column("sent", "Acknowledged", lambda r: r.sent_at, order="sent_at", nullable=True, css="tight"),
            Column("next", "Next try", lambda r: r.next_at, order="next_at", nullable=True, css="tight"),
        ),
        (
            Filter("state", "State", lambda v: Q(state=v), Return.State.choices, "chips"),
            Filter("destination", "Destination", lambda v: Q(destination=int(v)), choices),
            Filter("what", "What", lambda v: Q(format=v), [(key, kind.words) for key, kind in KINDS.items()]),
        ),
        sort="-queued",
        bulk=True,
    )


def kept(row: Return) -> str:
    """What the destination promised about the objects; empty where it was not asked."""
    return Commitment.State(row.commitment.state).label if row.commitment else ""


def _went(row: Return) -> str:
    return "" if row.state != Return.State.SENT else "identity" if row.identified else "pseudonym"

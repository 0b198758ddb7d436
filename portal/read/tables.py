"""The worklist as a table: in the order in which to read, so it is not sorted otherwise."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from portal.core.tables import Column, Filter, Table
from portal.programmes.models import Assignment
from portal.programmes.queries import programmes

KINDS = ((Assignment.Kind.ARBITRATION, "Arbitration"), (Assignment.Kind.SECOND, "Second reading"),
         (Assignment.Kind.FIRST, "Reading"))  # fmt: skip
MODALITIES = ("MG", "DX", "CR", "CT", "MR", "US")


def worklist(user: Any) -> Table:
    """What waits for the reader, to be filtered by the programmes that they may see."""
    mine = [(p.slug, p.name) for p in programmes(user).order_by("name")]
    return Table(
        "worklist",
        (
            Column("case", "Case", lambda a: a.case.number, css="num tight", fixed=True),
            Column("programme", "Programme", lambda a: a.case.programme.name),
            Column("scan", "Scan", lambda a: a.case.study.description),
            Column("kind", "Kind", lambda a: a.get_kind_display(), css="tight"),
            Column("state", "State", lambda a: Assignment.State(a.state).label, css="tight"),
            Column("priority", "Priority", lambda a: a.priority, css="num tight", extra=True),
            Column("why", "Why you", lambda a: a.why, css="words muted small"),
            Column("since", "Waits since", lambda a: a.created_at, css="tight"),
        ),
        (
            Filter("programme", "Programme", lambda v: Q(case__programme__slug=v), mine),
            Filter("kind", "Kind", lambda v: Q(kind=v), [(str(kind), word) for kind, word in KINDS]),
            Filter("modality", "Modality", lambda v: Q(case__study__modalities__contains=[v]),
                   [(one, one) for one in MODALITIES]),
        ),
    )  # fmt: skip

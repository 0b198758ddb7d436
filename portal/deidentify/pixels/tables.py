"""The table of covered lines of text."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from portal.core.tables import Column, Filter, Table
from portal.deidentify.models import PixelQuestion
from portal.deidentify.pixels import queries
from portal.deidentify.pixels.clean import LABELS

KINDS = [(kind, "Unknown text" if kind == "text" else word.capitalize()) for kind, word in LABELS.items()]


def lines(user: Any) -> Table:
    """Covered lines of the organisations that the user administers."""
    words = dict(KINDS)
    sources = queries.questions(user).values_list("receipt__source_id", "receipt__source__name").order_by().distinct()
    return Table(
        "pixel-questions",
        (
            Column("guess", "Taken for", lambda q: words.get(q.kind, q.kind), fixed=True),
            Column("certainty", "Certainty", lambda q: q.certainty, order="certainty", css="num"),
            Column("place", "Where", place),
            Column("rule", "Rule", lambda q: q.rule, extra=True),
            Column("source", "Source", lambda q: q.receipt.source.name),
            Column("state", "State", lambda q: PixelQuestion.State(q.state).label, css="tight"),
            Column("by", "Decided by", lambda q: q.decided_by and q.decided_by.username, extra=True),
            Column("asked", "Received", lambda q: q.created_at, order="created_at", css="tight"),
        ),
        (
            Filter("state", "State", lambda v: Q(state=v), PixelQuestion.State.choices, "chips"),
            Filter("kind", "Taken for", lambda v: Q(kind=v), KINDS),
            Filter("source", "Source", lambda v: Q(receipt__source=int(v)), [(str(pk), name) for pk, name in sources]),
        ),
        sort="-asked",
        bulk=True,
    )


def place(question: PixelQuestion) -> str:
    """Where a line stands, in pixels."""
    x0, y0, x1, y1 = question.box
    return f"{x1 - x0} × {y1 - y0} at {x0}, {y0}" + (f", frame {question.frame + 1}" if question.frame else "")


def explain(rows: list[PixelQuestion]) -> None:
    """Hang the words of the guess, the place and the state on each row."""
    words = dict(KINDS)
    for row in rows:
        row.guess, row.place = words.get(row.kind, row.kind), place(row)  # type: ignore[attr-defined]
        row.word = PixelQuestion.State(row.state).label  # type: ignore[attr-defined]

"""The table of input alerts."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from portal.archive.queries import organisations
from portal.check.models import NAMES, SeriesCheck
from portal.check.queries import sentence
from portal.core.tables import Column, Filter, Table
from portal.ingest.models import Source

FIRST = (SeriesCheck.State.HELD, SeriesCheck.State.NOTED)  # what is open stands first
STATES = [(s.value, s.label) for s in (*FIRST, *(s for s in SeriesCheck.State if s not in {*FIRST, "passed"}))]
TONES = (("inverted", "Tones inverted"), ("turned", "Turned"), ("category", "Another category"))
_WHAT = {
    "inverted": Q(inverted=True),
    "turned": Q(rotation__gt=0),
    "category": Q(verdict__in=["mismatch", "uncertain"]),
}


def alerts(user: Any) -> Table:
    """Input alerts; the sources to filter by are those of the user's organisations."""
    sources = Source.objects.filter(organisation__in=organisations(user, "run")).order_by("name")
    return Table(
        "input-alerts",
        (
            Column("scan", "Scan", lambda r: r.study.description, fixed=True),
            Column("words", "What was noticed", sentence, css="words"),
            Column("claimed", "Header", lambda r: r.claim_words, extra=True),
            Column("found", "Picture", lambda r: r.get_found_display(), extra=True),
            Column("probability", "Certainty", lambda r: r.probability, order="probability", nullable=True, css="num"),
            Column("source", "Source", lambda r: r.source and r.source.name),
            Column("state", "State", lambda r: SeriesCheck.State(r.state).label, css="tight"),
            Column("category", "Given category", lambda r: r.get_category_display(), extra=True),
            Column("by", "Decided by", lambda r: r.decided_by and r.decided_by.username, extra=True),
            Column("uid", "Study UID", lambda r: r.study.study_uid, css="mono small wrap", extra=True),
            Column("checked", "Checked", lambda r: r.checked_at, order="checked_at", css="tight"),
        ),
        (
            Filter("state", "State", lambda v: Q(state=v), STATES, "chips"),
            Filter("q", "Scan", lambda v: Q(study__description__icontains=v) | Q(study__study_uid=v), kind="text"),
            Filter("what", "What", lambda v: _WHAT[v], TONES),
            Filter("found", "Picture", lambda v: Q(found=v), NAMES),
            Filter("source", "Source", lambda v: Q(source=int(v)), [(str(s.pk), s.name) for s in sources]),
        ),
        sort="-checked",
        bulk=True,
    )


def explain(rows: list[SeriesCheck]) -> None:
    """Hang on each series what stands against it, and the image that shows it."""
    for row in rows:
        row.words = sentence(row)  # type: ignore[attr-defined]
        row.picture = row.images[0]["sop_instance_uid"] if row.images else ""  # type: ignore[attr-defined]

"""The table of a programme's cases."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from portal.accounts.models import User
from portal.core.tables import Column, Filter, Prepare, Table
from portal.home.states import look
from portal.programmes.models import Case
from portal.read.rules import NOTHING
from portal.read.sight import sights

# what the cases may be filtered by: word in the address, word on the page, states
STATES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("open", "To be read", ("open",)),
    ("second", "Second reading", ("second",)),
    ("arbitration", "Arbitration", ("arbitration",)),
    ("merging", "Being merged", ("comparing", "merging")),
    ("settled", "Settled", ("settled",)),
    ("waiting", "Waiting for the model", ("waiting",)),
)
PRIORITIES = ((0, "Normal"), (5, "Raised"), (10, "Urgent"))
_WORDS = dict(PRIORITIES)
_STATES = {key: states for key, _, states in STATES}


def priority_word(priority: int) -> str:
    """The word for a priority; a number between two has only itself."""
    return _WORDS.get(priority, str(priority))


def _text(value: str) -> Q:
    words = Q(study__description__icontains=value) | Q(study__study_uid=value)
    return words | Q(number=int(value)) if value.isdecimal() and len(value) < 10 else words


def _truth(case: Case) -> str:
    truth = getattr(case, "truth", None)
    if truth is None:
        return ""
    return truth.get_origin_display() if truth.positive is None else "Positive" if truth.positive else "Negative"


CASES = Table(
    "cases",
    (
        Column("number", "Case", lambda c: c.number, order="number", css="num tight", fixed=True),
        Column("scan", "Scan", lambda c: c.study.description),
        Column("uid", "Study UID", lambda c: c.study.study_uid, css="mono small wrap", extra=True),
        Column("state", "State", lambda c: look(c.state).word, css="tight"),
        Column("priority", "Priority", lambda c: c.priority, order="priority", css="tight"),
        Column("similarity", "Similarity", lambda c: c.why and c.why.similarity, css="num"),
        Column("why", "Why", lambda c: c.why and c.why.sentence, css="words muted small"),
        Column("truth", "Truth", _truth, css="tight"),
        Column("protocol", "Protocol", lambda c: c.protocol.number, css="num tight", extra=True),
        Column("since", "Since", lambda c: c.state_since, order="state_since", css="tight"),
    ),
    (
        Filter("state", "State", lambda v: Q(state__in=_STATES[v]), [(key, word) for key, word, _ in STATES], "chips"),
        Filter("q", "Case number or scan", _text, kind="text"),
        Filter("priority", "Priority", lambda v: Q(priority__gt=0) if v == "raised" else Q(priority__lte=0),
               (("raised", "Raised or urgent"), ("normal", "Normal"))),
    ),
    sort="-number",
    bulk=True,
)  # fmt: skip


def why(user: Any) -> Prepare:
    """Hang on each case the comparison that explains it, where the user may see what others said."""

    def hang(cases: list[Case]) -> None:
        limits = sights(user, cases) if isinstance(user, User) else {}
        for case in cases:
            seen = limits.get(case.pk, NOTHING) != NOTHING
            case.why = next(iter(case.comparisons.all()), None) if seen else None  # type: ignore[attr-defined]
            case.priority_word = priority_word(case.priority)  # type: ignore[attr-defined]

    return hang

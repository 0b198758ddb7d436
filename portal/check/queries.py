"""Reads of the input check, scoped to what the user may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404

from inference.check.categories import TITLES
from portal.accounts.models import Role
from portal.accounts.queries import memberships
from portal.archive.models import Study
from portal.archive.queries import organisations
from portal.check.models import SeriesCheck
from portal.check.rules import Share
from portal.ingest.models import Source

State, Verdict = SeriesCheck.State, SeriesCheck.Verdict
OPEN = (State.HELD, State.NOTED, State.REASSIGNED)
WITH = ("study", "series", "source", "decided_by")


def alerts(user: Any, need: str = "run") -> QuerySet[SeriesCheck]:
    """Series about which the check has, or had, something to say, of the organisations whose doors the user sees."""
    return checks(user, need).exclude(state=State.PASSED)


def checks(user: Any, need: str = "run") -> QuerySet[SeriesCheck]:
    """All checked series likewise, without the headers of their scans."""
    rows = SeriesCheck.objects.filter(organisation__in=organisations(user, need)).select_related(*WITH)
    return rows.defer("study__headers", "series__headers", "series__metadata")


def access_check(user: Any, pk: Any, need: str = "run") -> SeriesCheck:
    """The one door to a checked series. Raises Http404 for missing and forbidden alike."""
    row = checks(user, need).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def of_study(study: Study) -> list[SeriesCheck]:
    """What the check said of each series of a study that the caller may see."""
    rows = SeriesCheck.objects.filter(study=study).select_related(*WITH).order_by("series__number", "pk")
    return list(rows.defer("series__headers", "series__metadata"))


def held(study: Study) -> list[SeriesCheck]:
    """Series of a study that wait for a decision."""
    return [row for row in of_study(study) if row.state == State.HELD]


def next_open(user: Any, after: int) -> SeriesCheck | None:
    """The next one that waits for a decision of this user: older than the one just decided, else the newest."""
    rows = alerts(user, "category").filter(state=State.HELD).order_by("-pk")
    return rows.filter(pk__lt=after).first() or rows.exclude(pk=after).first()


def sentence(row: SeriesCheck) -> str:
    """What stands against a series, in words; empty when nothing does."""
    said = []
    if row.verdict in {Verdict.MISMATCH, Verdict.UNCERTAIN} and row.found:
        looks = "looks like" if row.verdict == Verdict.MISMATCH else "may be"
        said.append(
            f"The header says {row.claim_words}; the picture {looks} {TITLES[row.found]} "  # type: ignore[index]
            f"({100 * (row.probability or 0):.0f} %)"
        )
    if row.inverted:
        said.append("the tones look inverted: what is dense is dark")
    if row.rotation:
        said.append(f"the picture looks turned by {row.rotation} degrees clockwise")
    words = "; ".join(said)
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def access_source(user: Any, pk: int) -> Source:
    """A source whose score the user may see: of an organisation that they are a PACS administrator of."""
    mine = [m.organisation_id for m in memberships(user) if Role.PACS_ADMIN in m.roles]
    row = Source.objects.filter(pk=pk, organisation__in=mine).first()
    if row is None:
        raise Http404
    return row


def headers_of(rows: QuerySet[SeriesCheck]) -> dict[str, Any]:
    """CHECK-3, the sender's score: share of right headers among the series where it is known.

    Right: header and picture agree, or a person kept the header. Wrong: a person corrected it, or the source's policy
    did. What waits, was only noted, or was discarded counts for neither; it is counted beside.
    """
    counts = _counts(rows)
    right = counts["agreed"] + counts[State.KEPT]
    wrong = counts[State.CORRECTED] + counts[State.REASSIGNED]
    open_now = counts[State.HELD] + counts[State.NOTED]
    return {
        "share": Share(right, right + wrong),
        "agreed": counts["agreed"],
        "kept": counts[State.KEPT],
        "corrected": counts[State.CORRECTED],
        "at_once": counts[State.REASSIGNED],
        "discarded": counts[State.DISCARDED],
        "open": open_now,
    }


def _counts(rows: QuerySet[SeriesCheck]) -> Counter[str]:
    """Series by how the question of their category stands; those that were never in question are `agreed`."""
    counts: Counter[str] = Counter()
    for verdict, state in rows.values_list("verdict", "state"):
        in_question = verdict in {Verdict.MISMATCH, Verdict.UNCERTAIN} or state == State.CORRECTED
        if in_question:
            counts[state] += 1
        elif verdict == Verdict.AGREES and state != State.DISCARDED:
            counts["agreed"] += 1
    return counts


def own_score(rows: QuerySet[SeriesCheck]) -> dict[str, Any]:
    """CHECK-4, the check's own score, of the alerts that a person decided.

    confirmed  the header was corrected, of all that were corrected or kept, for certain and for uncertain alerts
    category   the category given was the one that the check had found, of those corrected
    missed     series that the check had let pass and a person corrected
    """
    decided: Counter[tuple[str, str]] = Counter()
    same = corrected = missed = 0
    values = rows.filter(state__in=(State.CORRECTED, State.KEPT)).values_list("verdict", "state", "found", "category")
    for verdict, state, found, category in values:
        if verdict not in {Verdict.MISMATCH, Verdict.UNCERTAIN}:
            missed += state == State.CORRECTED
            continue
        decided[verdict, state] += 1
        if state == State.CORRECTED:
            corrected += 1
            same += found == category

    def confirmed(*verdicts: str) -> Share:
        right = sum(decided[verdict, State.CORRECTED] for verdict in verdicts)
        return Share(right, right + sum(decided[verdict, State.KEPT] for verdict in verdicts))

    return {
        "confirmed": confirmed(Verdict.MISMATCH, Verdict.UNCERTAIN),
        "certain": confirmed(Verdict.MISMATCH),
        "uncertain": confirmed(Verdict.UNCERTAIN),
        "category": Share(same, corrected),
        "missed": missed,
        "checked": rows.count(),
        "open": rows.filter(Q(state=State.HELD) | Q(state=State.NOTED)).count(),
        "discarded": rows.filter(state=State.DISCARDED).count(),
    }


def waiting(organisation_ids: Iterable[int]) -> int:
    """How many series of these organisations wait for a decision."""
    return SeriesCheck.objects.filter(organisation__in=list(organisation_ids), state=State.HELD).count()

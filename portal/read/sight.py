"""What a person may see of a case: the model's output, and what others said (docs/decisions/0004)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from portal.accounts.models import Role, User
from portal.accounts.queries import has_role
from portal.programmes.models import Assignment, Case, PanelMember
from portal.read import rules
from portal.read.models import Reading

OVERSEERS = (Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN)


def hides_model(user: Any, study_id: int) -> bool:
    """Blinding: whether the model's output on a study is hidden from someone who reads, or may come to read, it.

    Asks every programme on whose panel the user is a reader – available or not, running or closed – and every case
    of which the user holds an assignment; the strictest decides. Also before a case is offered: nobody looks ahead.
    """
    if not isinstance(user, User):
        return False
    panels = PanelMember.objects.filter(user=user, part=PanelMember.Part.READER).values("programme")
    held = _held(user, Case.objects.filter(study=study_id)).exclude(kind=Assignment.Kind.ARBITRATION)
    cases = Case.objects.filter(Q(programme__in=panels) | Q(pk__in=held.values("case")), study=study_id)
    return any(_hidden(user, case) for case in cases.select_related("protocol"))


def _held(user: User, cases: Any) -> Any:
    """The user's assignments of these cases: pushed to them, in reading, submitted."""
    return Assignment.objects.filter(reader=user, case__in=cases).exclude(state=Assignment.State.CANCELLED)


def _hidden(user: User, case: Case) -> bool:
    taken = (Assignment.State.CLAIMED, Assignment.State.SUBMITTED)
    if _held(user, [case.pk]).filter(kind=Assignment.Kind.ARBITRATION, state__in=taken).exists():
        return False
    own = Reading.objects.filter(case=case, reader=user).exclude(assignment__state=Assignment.State.CANCELLED).first()
    return rules.hidden(
        case.protocol.mode,
        submitted=own is not None and own.state == Reading.State.SUBMITTED,
        settled=case.state == Case.State.SETTLED,
        asked=own is not None and own.model_seen_at is not None,
        alerted=own is not None and own.alerted_at is not None,
        oversees=has_role(user, case.organisation_id, *OVERSEERS),
    )


def sights(user: User, cases: Iterable[Case]) -> dict[int, str]:
    """Case key → how much of what readers and model said of it the user may see: `rules.ALL`, `UNNAMED`, `NOTHING`."""
    rows = list(cases)
    panel = PanelMember.objects.filter(user=user, programme__in={case.programme_id for case in rows})
    parts = set(panel.values_list("programme_id", "part"))
    held = {a.case_id: a for a in _held(user, [case.pk for case in rows])}  # one a case, by constraint
    found = {}
    for case in rows:
        mine = held.get(case.pk)
        arbitrates = mine is not None and mine.kind == Assignment.Kind.ARBITRATION
        found[case.pk] = rules.sight(
            settled=case.state == Case.State.SETTLED,
            reader=(case.programme_id, PanelMember.Part.READER.value) in parts,
            arbiter=(case.programme_id, PanelMember.Part.ARBITER.value) in parts,
            holds=None if mine is None else "arbitration" if arbitrates else "reading",
            taken=mine is not None and mine.state != Assignment.State.OFFERED,
            submitted=mine is not None and mine.state == Assignment.State.SUBMITTED,
        )
    return found


def sight(user: User, case: Case) -> str:
    """How much of what others said of one case the user may see."""
    return sights(user, [case])[case.pk]

"""What a person may see of a case: the model's output, and what others said (docs/decisions/0004)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet

from portal.accounts.models import Role, User
from portal.accounts.queries import memberships
from portal.programmes.models import Assignment, Case, PanelMember
from portal.read import rules
from portal.read.models import Reading

OVERSEERS = (Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN)


def hidden_studies(user: Any) -> QuerySet[Case, Any]:
    """Blinding: the keys of the studies of which nothing that is said is shown to someone who reads them, or may.

    Asks every programme on whose panel the user is a reader – available or not, running or closed – and every case
    of which the user holds an assignment; the strictest decides. Also before a case is offered: nobody looks ahead.
    """
    if not isinstance(user, User):
        return Case.objects.none().values("study")
    held = _held(user)
    panels = PanelMember.objects.filter(user=user, part=PanelMember.Part.READER)
    reads = Q(programme__in=panels.values("programme"))
    reads |= Q(pk__in=held.exclude(kind=Assignment.Kind.ARBITRATION).values("case"))
    taken = (Assignment.State.CLAIMED, Assignment.State.SUBMITTED)
    arbitrates = held.filter(case=OuterRef("pk"), kind=Assignment.Kind.ARBITRATION, state__in=taken)
    own = Reading.objects.filter(case=OuterRef("pk"), reader=user).exclude(assignment__state=Assignment.State.CANCELLED)
    overseen = memberships(user).filter(roles__overlap=list(OVERSEERS)).values("organisation")
    cases = Case.objects.filter(reads, ~Exists(arbitrates)).alias(
        mode=F("protocol__mode"),
        submitted=Exists(own.filter(state=Reading.State.SUBMITTED)),
        settled=_whether(state=Case.State.SETTLED),
        asked=Exists(own.filter(model_seen_at__isnull=False)),
        alerted=Exists(own.filter(alerted_at__isnull=False)),
        oversees=_whether(organisation__in=overseen),
    )
    return cases.filter(rules.HIDDEN).values("study")


# for whom `hidden_studies` may ever find one: readers of panels, and whoever holds a reading
CONCERNS = """EXISTS (SELECT FROM programmes_panelmember b WHERE b.user_id = {user} AND b.part = 'reader')
    OR EXISTS (SELECT FROM programmes_assignment b WHERE b.reader_id = {user} AND b.state <> 'cancelled'
        AND b.kind <> 'arbitration')"""


def _whether(**condition: Any) -> ExpressionWrapper:
    return ExpressionWrapper(Q(**condition), output_field=BooleanField())


def _held(user: User) -> QuerySet[Assignment]:
    """The user's assignments: pushed to them, in reading, submitted."""
    return Assignment.objects.filter(reader=user).exclude(state=Assignment.State.CANCELLED)


def sights(user: User, cases: Iterable[Case]) -> dict[int, str]:
    """Case key → how much of what readers and model said of it the user may see: `rules.ALL`, `UNNAMED`, `NOTHING`."""
    rows = list(cases)
    panel = PanelMember.objects.filter(user=user, programme__in={case.programme_id for case in rows})
    parts = set(panel.values_list("programme_id", "part"))
    held = {a.case_id: a for a in _held(user).filter(case__in=[case.pk for case in rows])}  # one a case, by constraint
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

"""The face of one series in the others of its study: what is lent, and who is looked at anew. Identity zone only.

Series are kept apart by themselves; what joins them is the keyed digest of study and frame of reference that each
instance is written down with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from django.db.models import Exists, OuterRef
from django.utils import timezone

from portal.core.locks import alone_until_commit
from portal.deidentify.faces import Plan
from portal.deidentify.faces.borrowed import BORROWED, borrowed, may_borrow, reaches
from portal.deidentify.faces.stored import Changed, face_of, planes_of
from portal.deidentify.faces.whole import Face, Slice
from portal.deidentify.models import FaceSeries, FaceSlice

Known = frozenset[tuple[int, int]]  # (series, number of its decision)
State = FaceSeries.State
ANEW = (State.NONE, State.OPEN, State.PLANNED)


def lent(series: FaceSeries, rows: Sequence[FaceSlice], face: Face, slices: Sequence[Slice]) -> tuple[Face, Known]:
    """The face of a series after its own look, perhaps another's; and the decisions of others that were known.

    A projection gets none, but a face that another series shows may be in it. Raises OSError.
    """
    frame = _frame(rows)
    if not frame:
        return face, frozenset()
    givers = list(_givers(series, frame))
    seen = frozenset((one.pk, one.number) for one in givers)
    if face.reason == "projection":
        return Face(reason=face.reason, open=face.open or bool(givers)), seen
    if may_borrow(face, [one.plane for one in slices if not one.projection]):
        face = borrowed(_plans(givers), slices) or face
    return face, seen


def known(series: FaceSeries, frame: str) -> Known:
    """The decisions about other series in this frame of reference that have a face."""
    return frozenset((one.pk, one.number) for one in _givers(series, frame))


def alone_in_frame(rows: Sequence[FaceSlice]) -> str:
    """The one frame of reference of these instances, empty where there is none; nobody else decides in it until commit.

    Else of two series that are decided at the same time neither would know of the other.
    """
    frame = _frame(rows)
    if frame:
        alone_until_commit("faces", frame)
    return frame


def have_looked_at_anew(giver: FaceSeries, frame: str, plan: Plan) -> int:
    """Series that were decided without this face, or by it as it was, wait for another look. Returns how many.

    Those that wait for more slices need not do so any longer.
    """
    there = FaceSeries.objects.filter(_within(frame), organisation_id=giver.organisation_id)
    there.filter(state=State.WAITING).update(asked_at=None)
    others = there.filter(state__in=ANEW)
    now = timezone.now()
    found = 0
    for series in others.exclude(pk=giver.pk).defer("plan"):
        if series.state == State.PLANNED and series.reason != BORROWED:
            continue  # it has a face of its own
        if _shows(plan, series):
            found += series.advance(State.WAITING, first_at=now, last_at=now, asked_at=None)
    return found


def _plans(givers: Sequence[FaceSeries]) -> Iterator[Plan]:
    for giver in givers:
        with suppress(Changed):  # decided anew in this moment, and then it asks for another look
            if plan := face_of(giver).plan:
                yield plan


def _shows(plan: Plan, series: FaceSeries) -> bool:
    """Whether a look at a series can come out otherwise by this plan; of several frames only a look can tell."""
    rows = list(series.slices.all())
    if all(row.projection for row in rows):
        return not series.open
    flat = [row for row in rows if not row.projection]
    planes = [plane for row in flat for plane in planes_of(row)]
    several = any(isinstance(row.plane, list) for row in flat)
    return may_borrow(Face(reason=series.reason), planes) and (several or any(reaches(plan, p) for p in planes))


def _frame(rows: Sequence[FaceSlice]) -> str:
    frames = {row.frame for row in rows}
    return frames.pop() if len(frames) == 1 else ""


def _within(frame: str) -> Exists:
    return Exists(FaceSlice.objects.filter(series=OuterRef("pk"), frame=frame))


def _givers(series: FaceSeries, frame: str) -> list[FaceSeries]:
    """Other series with a face of their own, all of whose slices lie in this frame of reference."""
    elsewhere = Exists(FaceSlice.objects.filter(series=OuterRef("pk")).exclude(frame=frame))
    found = FaceSeries.objects.filter(_within(frame), ~elsewhere, organisation_id=series.organisation_id)
    return list(found.exclude(plan=b"").exclude(pk=series.pk).exclude(reason=BORROWED).order_by("pk"))

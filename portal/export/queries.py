"""What goes into a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import Http404

from portal.accounts.models import Role
from portal.accounts.queries import has_role, organisation_ids
from portal.consensus.models import Truth
from portal.core import storage
from portal.export.models import DataSet, Destination, Return
from portal.export.scope import Scope
from portal.infer.models import CaseResult
from portal.peers.models import Peer
from portal.programmes.queries import access_programme
from portal.read.models import Mark, Reading


def tables(scope: Scope) -> dict[str, Iterator[dict[str, Any]]]:
    """Name → rows: cases, readings, marks, truth, model."""
    return {
        "cases": _cases(scope),
        "readings": _readings(scope),
        "marks": _marks(scope),
        "truth": _truth(scope),
        "model": _model(scope),
    }


def data_sets(user: Any) -> QuerySet[DataSet]:
    """Data sets of the programmes that the user coordinates, newest first."""
    rows = DataSet.objects.filter(organisation__in=_with_role(user, Role.COORDINATOR))
    return rows.select_related("programme", "asked_by").order_by("-asked_at", "pk")


def ready_data_set(user: Any, slug: str, key: Any) -> DataSet:
    """A data set whose file can be fetched, by those who manage the programme. Raises Http404."""
    programme = access_programme(user, slug, "manage")
    rows = DataSet.objects.select_related("programme").filter(programme=programme, state=DataSet.State.READY)
    row = rows.filter(pk=key).first()
    if row is None or not storage.archive().exists(row.name):
        raise Http404
    return row


def returns(user: Any) -> QuerySet[Return]:
    """Returns of the organisations whose ways out the user administers, newest first."""
    rows = Return.objects.filter(organisation__in=_with_role(user, Role.PACS_ADMIN))
    about = ("case__programme", "run__version__function", "run__study")
    return rows.select_related("destination", "commitment", *about).order_by("-queued_at", "pk")


def destinations(user: Any) -> QuerySet[Destination]:
    """Destinations that the user administers."""
    return Destination.objects.filter(organisation__in=_with_role(user, Role.PACS_ADMIN)).order_by("name", "pk")


def keeper(destination: Destination) -> Peer | None:
    """The peer that is asked to promise that it keeps what a destination took; None where there is none."""
    rows = Peer.objects.filter(organisation=destination.organisation_id, active=True).exclude(host="")
    return rows.filter(ae_title=destination.ae_title).first() if destination.ae_title else None


def _with_role(user: Any, role: Role) -> list[int]:
    return [pk for pk in organisation_ids(user) if has_role(user, pk, role)]


def _reader(pk: int) -> str:
    return f"reader-{pk}"


def _cases(scope: Scope) -> Iterator[dict[str, Any]]:
    for case in scope.cases.select_related("study", "protocol").order_by("number").iterator(200):
        yield {
            "case": case.number,
            "study_uid": case.study.study_uid,
            "modalities": "/".join(case.study.modalities),
            "state": case.state,
            "protocol": case.protocol.number,
        }


def _readings(scope: Scope) -> Iterator[dict[str, Any]]:
    rows = Reading.objects.filter(case__in=scope.cases, state=Reading.State.SUBMITTED)
    for row in rows.select_related("case", "assignment").order_by("pk").iterator(200):
        yield {
            "case": row.case.number,
            "reader": _reader(row.reader_id),
            "kind": row.assignment.kind,
            "active_seconds": row.active_ms / 1000,
            "submitted_at": row.submitted_at,
            **{f"answer_{key}": value for key, value in row.answers.items()},
        }


def _marks(scope: Scope) -> Iterator[dict[str, Any]]:
    rows = Mark.objects.filter(reading__case__in=scope.cases).select_related("reading__case").order_by("pk")
    for row in rows.iterator(200):
        yield {
            "case": row.reading.case.number,
            "reader": _reader(row.reading.reader_id),
            "sop_uid": row.sop_uid,
            "frame": row.frame,
            "tool": row.tool,
            "label": row.label,
            "rating": row.rating,
            "points_px": row.points_px,
            "points_mm": row.points_mm,
        }


def _truth(scope: Scope) -> Iterator[dict[str, Any]]:
    for row in Truth.objects.filter(case__in=scope.cases).select_related("case").order_by("case__number"):
        yield {
            "case": row.case.number,
            "positive": row.positive,
            "origin": row.origin,
            "confidence": row.confidence,
            "answers": row.answers,
            "marks": row.marks,
        }


def _model(scope: Scope) -> Iterator[dict[str, Any]]:
    rows = CaseResult.objects.filter(run__study__cases__in=scope.cases)
    for row in rows.select_related("run__study", "run__version__function").order_by("pk").iterator(200):
        yield {
            "study_uid": row.run.study.study_uid,
            "function": str(row.run.version),
            "score": row.score,
            "call": row.call,
            "threshold": row.threshold,
            "sides": row.sides,
            "weights_sha256": row.run.version.weights_sha256,
        }

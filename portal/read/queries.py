"""Reads for the reading room: the worklist and the bundle a viewer opens with."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import Http404
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.queries import require_role
from portal.archive.foreign.queries import listed
from portal.archive.models import Instance, Study
from portal.archive.queries import image_list
from portal.core import blinding
from portal.infer.queries import newest_runs, run_summary, visible_runs
from portal.programmes import queries as programmes
from portal.programmes import rules
from portal.programmes.models import PART_ROLES, Assignment, PanelMember, Protocol
from portal.read.models import Mark, Reading

HANGING = {"MG": "mammography", "DX": "chest", "CR": "chest"}


LISTED = 200


def worklist(user: User, limit: int = LISTED, where: Q | None = None) -> list[Assignment]:
    """The reader's open assignments, then those to be had, in the order in which they should be read.

    where  only those that fit, as a condition on assignments
    """
    where = where or Q()
    mine = Assignment.objects.filter(where, reader=user, state=Assignment.State.CLAIMED)
    rows = list(mine.select_related("case__programme", "case__study").order_by("claimed_at")[:limit])
    who = programmes.reader(user)
    for kind in programmes.KINDS:
        if len(rows) < limit:
            offers = programmes.takeable(who, kind).filter(where).select_related("case__programme", "case__study")
            rows += offers[: limit - len(rows)]
    return rows


def done_today(user: User) -> int:
    """Readings that the user submitted since midnight."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return Reading.objects.filter(reader=user, submitted_at__gte=midnight).count()


def assignment_json(row: Assignment) -> dict[str, Any]:
    """One line of the worklist."""
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "state": row.state,
        "programme": {"slug": row.case.programme.slug, "name": row.case.programme.name},
        "case": case_json(row),
        "priority": row.priority,
        "created_at": row.created_at.isoformat(),
        "url": reverse("read", args=[row.pk]),
        "why": row.why,
    }


def case_json(row: Assignment) -> dict[str, Any]:
    """The case as the worklist and the top bar name it."""
    study = row.case.study
    return {
        "id": row.case_id,
        "number": row.case.number,
        "modality": "/".join(study.modalities),
        "description": study.description or "/".join(study.modalities),
    }


def access_assignment(user: Any, assignment_id: Any) -> Assignment:
    """The one door to an assignment: its reader's, or anyone's who may take it. Raises Http404.

    Having it is not enough: its reader must still be a member of its organisation, with a role that reads.
    """
    rows = Assignment.objects.select_related("case__programme", "case__study", "case__protocol")
    row = rows.filter(pk=assignment_id).exclude(state=Assignment.State.CANCELLED).first()
    if row is None or not isinstance(user, User):
        raise Http404
    if row.state == Assignment.State.OFFERED:
        if not rules.eligible(programmes.reader(user, row.case_id), programmes.as_offer(row)):
            raise Http404
    elif row.reader_id != user.pk:
        raise Http404
    part = PanelMember.Part.ARBITER if row.kind == Assignment.Kind.ARBITRATION else PanelMember.Part.READER
    require_role(user, row.organisation_id, *PART_ROLES[part])
    return row


HIDDEN_WORDS = {
    Protocol.Mode.BLINDED: "Blinded reading: the model's output is not shown.",
    Protocol.Mode.SECOND_READER: "The model reads independently; it is shown only where it disagrees.",
    Protocol.Mode.ON_DEMAND: "Shown on demand.",
    Protocol.Mode.VERIFICATION: "Shown after your first reading.",
}


def model_part(user: User, row: Assignment) -> dict[str, Any]:
    """The model's output as far as the protocol lets this reader see it now; an arbiter sees it."""
    if row.kind != Assignment.Kind.ARBITRATION and blinding.hidden(user, row.case.study_id):
        return {"visible": False, "reason": HIDDEN_WORDS[Protocol.Mode(row.case.protocol.mode)], "runs": []}
    return {"visible": True, "reason": "", "runs": [run_summary(run) for run in newest_runs(row.case.study)]}


def bundle(user: User, row: Assignment) -> dict[str, Any]:
    """Everything the reading room opens with (shape in docs/engineers/viewer-api.md)."""
    protocol, case = row.case.protocol, row.case
    reading = Reading.objects.filter(assignment=row, reader=user).first()
    total = case.programme.cases.count()
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "state": row.state,
        "programme": {"slug": case.programme.slug, "name": case.programme.name},
        "mode": protocol.mode,
        "case": {**case_json(row), "total": total},
        "hanging": protocol.hanging,
        "images": image_list(case.study),
        "protocol": {
            "version": protocol.number,
            "form": protocol.form,
            "labels": protocol.labels,
            "tools": protocol.tools,
        },
        "model": model_part(user, row),
        "layers": listed(user, case.study),
        "previous": previous(row),
        "why": row.why,
        "draft": draft_json(reading) if reading and reading.state == Reading.State.DRAFT and reading.revision else None,
        "submitted_at": reading.submitted_at.isoformat() if reading and reading.submitted_at else None,
        "next": upcoming(user, row),
    }


def previous(row: Assignment) -> list[dict[str, Any]]:
    """For an arbiter: the readings so far, without names, in the order of submission."""
    if row.kind != Assignment.Kind.ARBITRATION:
        return []
    rows = Reading.objects.filter(case=row.case_id, state=Reading.State.SUBMITTED).order_by("submitted_at")
    return [
        {"label": f"Reader {chr(65 + n)}", "answers": r.answers, "marks": [mark_json(m) for m in r.marks.all()]}
        for n, r in enumerate(rows.prefetch_related("marks"))
    ]


def upcoming(user: User, row: Assignment) -> dict[str, str] | None:
    """The assignment that would come after this one, so that its images can be fetched beforehand."""
    for other in worklist(user, 2):
        if other.pk != row.pk:
            return {"id": str(other.pk), "study_uid": other.case.study.study_uid}
    return None


def mark_json(mark: Mark) -> dict[str, Any]:
    """A stored mark as the viewer takes it."""
    return {
        "id": mark.client_id,
        "tool": mark.tool,
        "sop_uid": mark.sop_uid,
        "frame": mark.frame,
        "points_px": mark.points_px,
        "points_mm": mark.points_mm,
        "label": mark.label or None,
        "rating": mark.rating,
        "text": mark.text,
        "measurements": mark.measurements,
    }


def draft_json(reading: Reading) -> dict[str, Any]:
    """The server's draft."""
    return {
        "revision": reading.revision,
        "answers": reading.answers,
        "marks": reading.draft_marks,
        "active_ms": reading.active_ms,
        "saved_at": reading.saved_at.isoformat(),
    }


def image_sizes(row: Assignment) -> dict[str, tuple[int, int, int]]:
    """SOP Instance UID → (rows, columns, frames) of all images that the case shows."""
    uids = [image["sop_uid"] for image in image_list(row.case.study)]
    rows = Instance.objects.filter(organisation=row.organisation_id, sop_uid__in=uids)
    return {uid: (r, c, f) for uid, r, c, f in rows.values_list("sop_uid", "rows", "columns", "frames")}


def study_bundle(user: Any, study: Study) -> dict[str, Any]:
    """The viewer without an assignment."""
    modality = next((m for m in study.modalities if m in HANGING), "")
    runs = [run_summary(run) for run in visible_runs(user, study)]
    return {
        "id": None,
        "kind": "view",
        "state": study.state,
        "programme": None,
        "mode": None,
        "case": {
            "id": study.pk,
            "number": None,
            "total": None,
            "modality": "/".join(study.modalities),
            "description": study.description,
        },
        "hanging": HANGING.get(modality, "stack"),
        "images": image_list(study),
        "protocol": {"version": None, "form": [], "labels": [], "tools": []},
        "layers": listed(user, study),
        "model": {"visible": bool(runs), "reason": "" if runs else "No model output to show.", "runs": runs},
        "previous": [],
        "why": "",
        "draft": None,
        "submitted_at": None,
        "next": None,
    }

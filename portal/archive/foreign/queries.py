"""Layers of other systems for those who may see what is said of a study."""

from __future__ import annotations

import json
from typing import Any

import structlog
from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.http import Http404
from pydicom import dcmread

from portal.archive.files import local_copy
from portal.archive.foreign import KINDS, Layer, Unreadable, about, gsps, seg, sr
from portal.archive.foreign.space import FRAME, ORIENTATION, POSITION, SPACING, THICKNESS, Plane, plane_of
from portal.archive.models import Instance, Study
from portal.archive.queries import shown
from portal.core import storage
from portal.core.errors import Refused

TAGS = (FRAME, POSITION, ORIENTATION, SPACING, THICKNESS)
log = structlog.get_logger(__name__)


def objects(user: Any, study: Study) -> QuerySet[Instance]:
    """The foreign objects of a study; none for who may see no output, or reads the study without it."""
    rows = shown(user, study).filter(sop_class__in=KINDS).select_related("series")
    return rows.order_by("series__number", "series_id", "number", "pk")


def listed(user: Any, study: Study) -> list[dict[str, Any]]:
    """What there is, in words."""
    root = f"/api/v1/studies/{study.study_uid}/layers"
    return [
        {"sop_uid": row.sop_uid, "kind": KINDS[row.sop_class], **about(row.headers), "url": f"{root}/{row.sop_uid}/"}
        for row in objects(user, study)
    ]


def planes(study: Study) -> list[Plane]:
    """The images of a study that have one place in space."""
    rows = Instance.objects.filter(study=study, rows__gt=0, opinion=False).order_by("number", "pk")
    given = (KT(f"headers__{tag}__Value") for tag in TAGS)  # text: a tag alone would be taken for a number
    found = []
    for uid, series, height, width, *values in rows.values_list("sop_uid", "series_id", "rows", "columns", *given):
        headers = {tag: {"Value": json.loads(text)} for tag, text in zip(TAGS, values, strict=True) if text}
        found.append(plane_of(uid, series, (height, width), headers))
    return [plane for plane in found if plane]


def layer(user: Any, study: Study, sop_uid: str) -> Layer:
    """One of them in the neutral form. Raises Http404 for missing and hidden alike, Refused (422) when it cannot be
    understood."""
    row = objects(user, study).filter(sop_uid=sop_uid).first()
    if row is None:
        raise Http404
    kind = KINDS[row.sop_class]
    try:
        with local_copy(storage.archive(), row.name) as path:
            ds = dcmread(path, force=True)
            if kind == "segmentation":
                images = Instance.objects.filter(study=study, rows__gt=0)
                sizes = {uid: (r, c) for uid, r, c in images.values_list("sop_uid", "rows", "columns")}
                return seg.read(ds, sizes)
            return sr.read(ds, lambda: planes(study)) if kind == "report" else gsps.read(ds)
    except Unreadable as error:
        raise Refused("unreadable_layer", str(error), status=422) from None
    except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError,
            NotImplementedError) as error:  # fmt: skip
        log.warning("archive.layer_unreadable", sop_uid=sop_uid, error=f"{type(error).__name__}: {error}")
        words = f"The object cannot be read ({type(error).__name__})."
        raise Refused("unreadable_layer", words, status=422) from error

"""What the identity zone keeps of faces, read back: the last decision about a series, and where its instances lie."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from portal.deidentify import vault
from portal.deidentify.faces import Plan, Plane
from portal.deidentify.faces.whole import Face, unpacked
from portal.deidentify.models import FaceSeries, FaceSlice


class Changed(Exception):
    """The series was decided anew, or has gone, while an instance of it was cleaned."""


def face_of(series: FaceSeries) -> Face:
    """The last decision about a series. Raises Changed when there is a newer one than the row says."""
    return Face(plan_of(series.pk, series.number), series.reason, series.open)


@lru_cache(maxsize=8)  # slices of a series come one after the other
def plan_of(series_pk: int, number: int) -> Plan | None:
    """The plan of a series by the number of its decision. Raises Changed."""
    sealed = FaceSeries.objects.filter(pk=series_pk, number=number).values_list("plan", flat=True).first()
    if sealed is None:
        raise Changed  # between the reading of the series and of its plan
    return unpacked(vault.cipher().decrypt(bytes(sealed))) if sealed else None


def planes_of(row: FaceSlice) -> list[Plane]:
    """Where an instance lies: its plane, or the outermost ones of its frames."""
    stored: list[dict[str, Any]] = row.plane if isinstance(row.plane, list) else [row.plane]
    return [Plane(**{name: tuple(value) for name, value in one.items()}) for one in stored]

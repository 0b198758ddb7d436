"""Series that are too few slices to show a face by themselves: what may still come, and the face of another series.

Series of one study with one frame of reference have one system of coordinates (PS3.3 C.7.4.1), and a plan is made in
it. No database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from skimage.filters import threshold_otsu

from portal.deidentify.faces import Plan, Plane, noise_of
from portal.deidentify.faces.generic import at_its_height, within
from portal.deidentify.faces.geometry import Floats, thick
from portal.deidentify.faces.whole import IMPOSSIBLE, Face, Slice, beyond

BORROWED = "from_series"  # reason of a face whose plan is another series'
NO_VOLUME = frozenset({"few_slices", "wide_gaps", "not_parallel"})
JUDGED = 120.0  # mm: what reaches farther shows by itself whether there is a head with a face
FIELD = (150.0, 350.0)  # mm of the longer side of a picture in which a head fits, and little more than a head
COARSE = 4.0  # mm between the points at which a slice is compared with a plan
FITTED = 12  # slices from which values are taken


def few(face: Face, planes: Sequence[Plane]) -> bool:
    """Whether a series without a face was too small a set to say that it has none."""
    return face.plan is None and (
        face.reason in NO_VOLUME or (face.reason in {"not_head", "no_face"} and thick(planes) < JUDGED)
    )


def may_be_head(planes: Iterable[Plane], said: bool | None) -> bool:
    """Whether slices can be of a head: the header says so, or says nothing and the pictures have a head's size."""
    if said is not None:
        return said
    return any(FIELD[0] <= max(np.multiply(p.shape, p.spacing)) <= FIELD[1] for p in planes)


def may_borrow(face: Face, planes: Sequence[Plane]) -> bool:
    """Whether the face of another series is looked for in these: what is no head for sure keeps its values."""
    return face.plan is None and (face.reason not in {"not_head", "projection"} or few(face, planes))


def reaches(made: Plan, plane: Plane) -> bool:
    """Whether a slice cuts the face's region."""
    if not at_its_height(made, plane):
        return False
    down, across = (max(1, int(COARSE / mm)) for mm in plane.spacing)
    shape = (-(-plane.shape[0] // down), -(-plane.shape[1] // across))
    spacing = (plane.spacing[0] * down, plane.spacing[1] * across)
    return bool(within(made, replace(plane, shape=shape, spacing=spacing))[0].any())


def borrowed(plans: Iterable[Plan], slices: Iterable[Slice]) -> Face | None:
    """The face of another series as it lies in these slices; None where none of them shows it. Raises OSError.

    plans  of series of the same study in the same frame of reference; the one that reaches the most slices is taken
    """
    flat = [one for one in slices if not one.projection]
    found = [
        (sum(beyond(plan, one.plane) for one in flat), number, plan)
        for number, plan in enumerate(plans)
        if any(one.modality == plan.modality and reaches(plan, one.plane) for one in flat)
    ]
    if not found:
        return None
    plan = min(found, key=lambda f: f[:2])[2]
    return Face(fitted(plan, [one for one in flat if one.modality == plan.modality]), BORROWED)


def fitted(plan: Plan, slices: Sequence[Slice]) -> Plan:
    """The plan with the grey values of other slices of the same place; HU are the same in all.

    Only what lies outside of the region is looked at: nothing of the face comes into it.
    """
    if plan.modality == "CT":
        return plan
    outside: list[Floats] = []
    noises: list[float] = []
    for one in slices[:: max(1, -(-len(slices) // FITTED))]:
        try:
            values = one.read()
        except (FileNotFoundError, *IMPOSSIBLE):
            continue
        inside = within(plan, one.plane)[0]
        outside.append(values[~inside])
        noises.append(noise_of(np.where(inside, np.median(values), values)[None], plan.modality))
    seen = np.concatenate(outside) if outside else np.zeros(0, np.float32)
    if seen.size < 1000 or not np.ptp(seen):
        return plan
    level = 0.5 * float(threshold_otsu(np.minimum(seen, np.percentile(seen, 99.5))))
    air, tissue = seen[seen <= level], seen[seen > level]
    if air.size < 50 or tissue.size < 50:
        return plan
    low, high = (float(v) for v in np.percentile(tissue, [35, 65]))
    quantiles = np.quantile(air, np.linspace(0, 1, len(plan.air))).astype(np.float32)
    return replace(plan, air=quantiles, tissue=(low, high), noise=float(np.median(noises)))

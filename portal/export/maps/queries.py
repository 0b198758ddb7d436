"""Reads of stored maps, with what may not leave held back."""

from __future__ import annotations

import gzip

import numpy as np

from inference.explain import MapSet
from portal.archive.models import Instance
from portal.core.errors import Refused
from portal.infer.models import Matrix, Run

FINEST = 64


def map_sets(run: Run, sop_uid: str = "") -> list[tuple[Instance, MapSet]]:
    """The finest maps of a run's images (or of one of them), in the order of the study.

    Raises Refused for a run that is not done, has no maps, or is a malignancy run that does not call its case: then
    nothing leaves that says where (seed 000, FIG. 10), whatever is stored.
    """
    if run.state != Run.State.DONE:
        raise Refused("wrong_state", "The run is not done, so there is nothing to take out.")
    if held_back(run):
        raise Refused("held_back", "The case is not called malignant, so no place leaves the portal.")
    rows = Matrix.objects.filter(image__run=run, row=FINEST).select_related("image__instance__series")
    if sop_uid:
        rows = rows.filter(image__instance__sop_uid=sop_uid)
    order = ("image__instance__series__number", "image__instance__series_id", "image__instance__number", "pk")
    found = [(row.image.instance, _map_set(run, row)) for row in rows.order_by(*order)]
    if not found:
        raise Refused("no_maps", "The run has no maps to take out.")
    return found


def held_back(run: Run) -> bool:
    """Whether the gate holds places back: a malignancy run that does not call its case (seed 000, FIG. 10)."""
    result = getattr(run, "result", None)
    return run.version.function.output_type == "malignancy" and not (result and result.call)


def _map_set(run: Run, row: Matrix) -> MapSet:
    image, told = row.image, run.provenance
    matrix = np.frombuffer(gzip.decompress(bytes(row.data)), np.uint8).reshape(row.shape)
    limits = told.get("parameters", {}).get("region_thresholds") or image.thresholds
    return MapSet(
        sop_instance_uid=image.instance.sop_uid,
        function_id=str(told.get("function") or run.version.function.slug),
        version=run.version.version,
        weights_sha256=run.version.weights_sha256,
        code_version=str(told.get("code_version") or "unknown"),
        names=tuple(image.classes),
        matrix=matrix,
        probabilities=image.global_probabilities,
        present=image.present,
        thresholds=limits,
    )

"""Faces in head CT and MR: found on the surface, made generic. Pure; see the app's README, "Faces"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portal.deidentify.faces.generic import Plan, apply, plan
from portal.deidentify.faces.geometry import Floats, NoVolume, Plane, upright, volume
from portal.deidentify.faces.surface import NoFace, find

__all__ = ["NoFace", "NoVolume", "Plan", "Plane", "apply", "generic_face", "noise_of"]

NOISY = 12  # slices in which the noise is measured


def generic_face(
    planes: Sequence[Plane], slices: Sequence[Floats], modality: str, said: bool | None, key: bytes
) -> Plan:
    """How the face in these slices of one volume becomes generic. Raises NoVolume, NoFace.

    slices  (rows, columns) HU for CT, for MR as measured; each is asked for once, a few twice
    modality  CT or MR; said: whether the header says a head (see header.says_head); key: of this series
    """
    whole = volume(planes, slices)
    surface = find(upright(whole, outside=-1000.0 if modality == "CT" else 0.0), modality, said)
    middle = whole.numbers[len(whole.numbers) // 3 : len(whole.numbers) * 2 // 3 + 1]
    some = middle[:: max(1, -(-len(middle) // NOISY))]
    return plan(surface, modality, noise_of(np.stack([slices[n] for n in some]), modality), key)


def noise_of(middle: Floats, modality: str) -> float:
    """Standard deviation in soft tissue: of second differences along rows, which few edges disturb (median)."""
    second = middle[:, :, :-2] - 2 * middle[:, :, 1:-1] + middle[:, :, 2:]
    inner = middle[:, :, 1:-1]
    floor = -150.0 if modality == "CT" else float(np.percentile(inner, 60))
    kept = second[(inner > floor) & (inner < 200)] if modality == "CT" else second[inner > floor]
    return float(np.median(np.abs(kept)) / 0.6745 / np.sqrt(6)) if kept.size else 0.0

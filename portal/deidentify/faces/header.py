"""What a header says of faces: whether the scan is one to look at, where its slices lie, and that it was done."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.deidentify.faces.geometry import Floats, Plane

# CT and MR image storage, also legacy converted and enhanced (PS3.4 B.5)
CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
ENHANCED = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2",
        "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4",
    }
)  # fmt: skip
LOOKED_AT = CLASSES.keys() | ENHANCED
CLEAN = ("113102", "Clean Recognizable Visual Features Option")  # PS3.16 CID 7050
HEAD = re.compile(r"HEAD|BRAIN|SKULL|FACE|FACIAL|SINUS|ORBIT|CRANI|JAW|EAR\b|IAC|TMJ|PITUIT|SELLA|NEURO|CEREB")
OPEN = re.compile(r"WHOLE|BODY|NECK|CSPINE|CERVIC|CAROTID|SPINE|^$")  # may or may not show a face
DESCRIBED = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")


def says_head(dataset: Dataset) -> bool | None:
    """Whether the (uncleaned) header says a head, another part of the body (False), or neither."""
    if any(HEAD.search(str(dataset.get(keyword) or "").upper()) for keyword in DESCRIBED):
        return True
    return None if OPEN.search(str(dataset.get("BodyPartExamined") or "").strip().upper()) else False


def modality(dataset: Dataset) -> str | None:
    """CT or MR where this is a single slice whose place in the patient is known; None where there is nothing to do."""
    kind = CLASSES.get(str(dataset.get("SOPClassUID", "")))
    grey = int(dataset.get("SamplesPerPixel", 1) or 1) == 1 and int(dataset.get("NumberOfFrames", 1) or 1) == 1
    return kind if kind and grey and int(dataset.get("BitsAllocated", 0) or 0) in (8, 16) and plane(dataset) else None


def plane(dataset: Dataset) -> Plane | None:
    """Where the slice lies (PS3.3 C.7.6.2); None where the header does not say."""
    try:
        origin = tuple(float(v) for v in dataset.ImagePositionPatient)
        turn = [float(v) for v in dataset.ImageOrientationPatient]
        spacing = tuple(float(v) for v in dataset.PixelSpacing)
        along, down = np.array(turn[:3]), np.array(turn[3:])
    except (AttributeError, TypeError, ValueError):
        return None
    unit = len(turn) == 6 and abs(along @ along - 1) < 0.01 and abs(down @ down - 1) < 0.01 and abs(along @ down) < 0.01
    if not (
        unit and len(origin) == 3 and len(spacing) == 2 and min(spacing) > 0 and np.isfinite([*origin, *turn]).all()
    ):
        return None
    one, other = (tuple(float(v) for v in axis / np.linalg.norm(axis)) for axis in (along, down))
    return Plane(origin, one, other, spacing, (int(dataset.Rows), int(dataset.Columns)))  # type: ignore[arg-type]


def measured(dataset: Dataset, stored: NDArray[np.generic]) -> Floats:
    """Stored values as HU, or as MR measured them (PS3.3 C.11.1)."""
    slope, intercept = (float(dataset.get(k) or d) for k, d in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return (stored.astype(np.float32) * slope + intercept).astype(np.float32)


def stored(
    dataset: Dataset, values: Floats, where: NDArray[np.bool_], before: NDArray[np.generic]
) -> NDArray[np.generic]:
    """New values as they are stored, within the range of the bits; elsewhere what was stored before."""
    slope, intercept = (float(dataset.get(k) or d) for k, d in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0) or 0)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    out = before.copy()
    out[where] = np.clip(np.round((values[where] - intercept) / slope), low, high).astype(before.dtype)
    return out


def mark(dataset: Dataset) -> None:
    """Say in the (cleaned) header that the face is gone (PS3.3 C.7.6.1, C.12.1; PS3.15 E.3.2)."""
    dataset.RecognizableVisualFeatures = "NO"
    said = str(dataset.get("DerivationDescription") or "")
    note = "Face replaced by a generic one"
    dataset.DerivationDescription = f"{said}; {note}" if said else note
    codes = dataset.get("DeidentificationMethodCodeSequence")
    if codes is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CLEAN[0], "DCM", CLEAN[1]
        codes.append(item)

"""What a header says of faces: whether the scan is one to look at, where its slices lie, and that it was done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from portal.deidentify.faces.geometry import Plane

# CT and MR image storage, enhanced and legacy converted (PS3.4 B.5)
CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
ENHANCED = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
LOOKED_AT = CLASSES | ENHANCED
CLEAN = ("113102", "Clean Recognizable Visual Features Option")  # PS3.16 CID 7050
HEAD = re.compile(r"HEAD|BRAIN|SKULL|FACE|FACIAL|SINUS|ORBIT|CRANI|JAW|EAR\b|IAC|TMJ|PITUIT|SELLA|NEURO|CEREB")
OPEN = re.compile(r"WHOLE|BODY|NECK|CSPINE|CERVIC|CAROTID|SPINE|^$")  # may or may not show a face
DESCRIBED = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")


def says_head(dataset: Dataset) -> bool | None:
    """Whether the (uncleaned) header says a head, another part of the body (False), or neither."""
    words = [str(dataset.get(keyword) or "").upper() for keyword in DESCRIBED]
    if any(HEAD.search(word) for word in (*words, *_anatomy(dataset))):
        return True
    return None if OPEN.search(words[0].strip()) else False


def _anatomy(dataset: Dataset) -> Iterator[str]:
    """What functional groups say (PS3.3 C.7.6.16.2.8): the groups of all frames and of the first one."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in list(dataset.get(groups) or [])[:1]:
            for anatomy in item.get("FrameAnatomySequence") or []:
                for code in anatomy.get("AnatomicRegionSequence") or []:
                    yield str(code.get("CodeMeaning") or "").upper()


def modality(dataset: Dataset) -> str | None:
    """CT or MR where this holds grey values in which a face can be; None where there is nothing to look for."""
    kind = LOOKED_AT.get(str(dataset.get("SOPClassUID", "")))
    grey = int(dataset.get("SamplesPerPixel", 1) or 1) == 1
    return kind if kind and grey and int(dataset.get("BitsAllocated", 0) or 0) in (8, 16) else None


def projection(image: Any, kind: str) -> bool:
    """Whether Image Type (or Frame Type) says that a pixel shows all along a ray (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1)."""
    words = [image] if isinstance(image, str) else list(image or [])
    return (kind == "CT" and words[2:3] == ["LOCALIZER"]) or "PROJECTION IMAGE" in words


def plane(dataset: Dataset) -> Plane | None:
    """Where a single slice lies (PS3.3 C.7.6.2); None where the header does not say."""
    shape = (int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0))
    position, orientation = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    return placed(position, orientation, dataset.get("PixelSpacing"), shape)


def placed(position: Any, orientation: Any, pixels: Any, shape: tuple[int, int]) -> Plane | None:
    """The plane that the three attributes of a place give; None where they are missing or impossible.

    shape  (rows, columns)
    """
    try:
        origin, turn, spacing = (tuple(float(v) for v in value) for value in (position, orientation, pixels))
        along, down = np.array(turn[:3]), np.array(turn[3:])
    except (TypeError, ValueError):
        return None
    if min(shape) < 1:
        return None
    unit = len(turn) == 6 and abs(along @ along - 1) < 0.01 and abs(down @ down - 1) < 0.01 and abs(along @ down) < 0.01
    if not (
        unit and len(origin) == 3 and len(spacing) == 2 and min(spacing) > 0 and np.isfinite([*origin, *turn]).all()
    ):
        return None
    one, other = (tuple(float(v) for v in axis / np.linalg.norm(axis)) for axis in (along, down))
    return Plane(origin, one, other, spacing, shape)  # type: ignore[arg-type]


def mark(dataset: Dataset, whole: bool) -> None:
    """Say in the (cleaned) header that the face is gone (PS3.3 C.7.6.1, C.12.1; PS3.15 E.3.2).

    whole  all of it; else a part of it, and features may still be recognised
    """
    dataset.RecognizableVisualFeatures = "NO" if whole else "YES"
    said = str(dataset.get("DerivationDescription") or "")
    note = "Face replaced by a generic one" if whole else "Face replaced by a generic one in part"
    dataset.DerivationDescription = f"{said}; {note}" if said else note
    codes = dataset.get("DeidentificationMethodCodeSequence")
    if codes is not None and whole:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CLEAN[0], "DCM", CLEAN[1]
        codes.append(item)

"""Scanned heads as Enhanced CT or MR: many frames in one file, in any order, by PS3.3 C.7.6.16."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.factories.heads import Head

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
LEGACY = {"CT": "1.2.840.10008.5.1.4.1.1.2.2", "MR": "1.2.840.10008.5.1.4.1.1.4.4"}
UNITS = {"CT": "HU", "MR": "US"}
POINTERS = (0x00209056, 0x00209057, 0x00209128)  # Stack ID, In-Stack Position Number, Temporal Position Index


@dataclass(frozen=True)
class Part:
    """A volume in such a file: measured = stored × slope + intercept; `slopes` are taken in turn by its frames."""

    head: Head
    stack: str = "1"
    moment: int = 1
    echo: float = 30.0
    part: str = "MAGNITUDE"
    slopes: tuple[float, ...] = (1.0,)
    intercept: float = -1024.0


@dataclass(frozen=True)
class Made:
    """The file, and for each of its frames (number of the part, number of the slice)."""

    dataset: Dataset
    frames: list[tuple[int, int]]


def enhanced(
    parts: Sequence[Part], shuffled: int | None = None, syntax: str = "", legacy: bool = False, **values: Any
) -> Made:
    """One instance of all parts, all of one size in pixels; `values` are set by keyword.

    shuffled  seed of the frames' order
    """
    modality = parts[0].head.modality
    frames = [(p, n) for p, part in enumerate(parts) for n in range(len(part.head.planes))]
    if shuffled is not None:
        random.Random(shuffled).shuffle(frames)
    ds = Dataset()
    ds.SOPClassUID = (LEGACY if legacy else CLASSES)[modality]
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    ds.FrameOfReferenceUID = generate_uid()
    ds.PatientID, ds.PatientName, ds.StudyDate = "H-77", "Vandersloot^Quill", "20240501"
    ds.Modality, ds.InstanceNumber, ds.BodyPartExamined = modality, 1, "HEAD"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.Rows, ds.Columns = parts[0].head.planes[0].shape
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=generate_uid())]
    ds.DimensionIndexSequence = [item(DimensionIndexPointer=pointer) for pointer in POINTERS]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    spacings = {part.head.planes[0].spacing for part in parts}
    shared = item(FrameAnatomySequence=[item(FrameLaterality="U", AnatomicRegionSequence=[code("T-D1100", "Head")])])
    if len(spacings) == 1:  # what all frames have in common is shared, as scanners write it
        shared.PixelMeasuresSequence = [item(PixelSpacing=list(spacings.pop()), SliceThickness=3)]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _groups(parts[p], n, modality, "PixelMeasuresSequence" in shared) for p, n in frames
    ]
    stored = [
        np.clip(np.round((parts[p].head.slices[n] - parts[p].intercept) / _slope(parts[p], n)), 0, 4095)
        for p, n in frames
    ]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PixelData = np.stack(stored).astype("<u2").tobytes()
    if syntax and syntax != ExplicitVRLittleEndian:
        ds.compress(syntax)
    return Made(ds, frames)


def _slope(part: Part, n: int) -> float:
    return part.slopes[n % len(part.slopes)]


def _groups(part: Part, n: int, modality: str, spacing_shared: bool) -> Dataset:
    plane = part.head.planes[n]
    stack = int(part.stack) if part.stack.isdigit() else 1
    groups = item(
        FrameContentSequence=[
            item(
                StackID=part.stack,
                InStackPositionNumber=n + 1,
                TemporalPositionIndex=part.moment,
                DimensionIndexValues=[stack, n + 1, part.moment],
            )
        ],
        PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.6f}" for v in plane.origin])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[f"{v:.8f}" for v in (*plane.along, *plane.down)])],
        PixelValueTransformationSequence=[
            item(
                RescaleIntercept=part.intercept,
                RescaleSlope=_slope(part, n),
                RescaleType="HU" if modality == "CT" else "US",
            )
        ],
    )
    if not spacing_shared:
        groups.PixelMeasuresSequence = [item(PixelSpacing=list(plane.spacing), SliceThickness=3)]
    if modality == "MR":
        groups.MREchoSequence = [item(EffectiveEchoTime=part.echo)]
        kind = item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], ComplexImageComponent=part.part)
        groups.MRImageFrameTypeSequence = [kind]
    else:
        groups.CTImageFrameTypeSequence = [item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]
    return groups


def item(**values: Any) -> Dataset:
    """A sequence item of these attributes."""
    out = Dataset()
    for keyword, value in values.items():
        setattr(out, keyword, value)
    return out


def code(value: str, meaning: str) -> Dataset:
    """A code of SNOMED (PS3.16 CID 4031)."""
    return item(CodeValue=value, CodingSchemeDesignator="SRT", CodeMeaning=meaning)

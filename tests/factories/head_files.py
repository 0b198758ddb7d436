"""Scanned heads as DICOM files, 12 bits, CT with its usual rescale; also through the portal's door."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from tests.factories.heads import Head


def datasets(
    head: Head, part: str = "HEAD", syntax: str = ExplicitVRLittleEndian, series: str = "", **values: Any
) -> list[Dataset]:
    """A data set for each slice; `values` are set by keyword on each."""
    ct, study, series = head.modality == "CT", generate_uid(), series or generate_uid()
    out = []
    for number, (plane, shown) in enumerate(zip(head.planes, head.slices, strict=True)):
        ds = Dataset()
        ds.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{2 if ct else 4}"
        ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), study, series
        ds.PatientID, ds.PatientName, ds.StudyDate = "H-77", "Vandersloot^Quill", "20240501"
        ds.Modality, ds.BodyPartExamined, ds.InstanceNumber = head.modality, part, number + 1
        ds.ImagePositionPatient = [f"{v:.6f}" for v in plane.origin]
        ds.ImageOrientationPatient = [f"{v:.8f}" for v in (*plane.along, *plane.down)]
        ds.PixelSpacing = list(plane.spacing)
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        if ct:
            ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        stored = np.clip(shown + (1024 if ct else 0), 0, 4095).astype("<u2")
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == JPEG2000Lossless else syntax
        ds.PixelData = stored.tobytes()
        if syntax == JPEG2000Lossless:
            ds.compress(JPEG2000Lossless)
        out.append(ds)
    return out


def files(head: Head, part: str = "HEAD", syntax: str = ExplicitVRLittleEndian, series: str = "") -> list[bytes]:
    """The encoded file of each slice."""
    return [encoded(ds) for ds in datasets(head, part, syntax, series)]


def encoded(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()

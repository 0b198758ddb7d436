"""Data sets: a programme's scans, readings, marks, truth and model output in the formats that others take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from portal.export.scope import Scope
from portal.export.sets import coco, crowd, mrmc, nifti, tables, training

Files = Iterator[tuple[str, Iterator[bytes]]]


@dataclass(frozen=True)
class Format:
    """words  for people; files  makes (name, pieces) of each file, in the same order each time"""

    words: str
    files: Callable[[Scope], Files]


FORMATS: dict[str, Format] = {
    "table": Format("Tables: CSV and JSON", tables.files),
    "csv": Format("Tables: CSV", tables.csv_files),
    "json": Format("Tables: JSON", tables.json_files),
    "coco": Format("COCO: PNG images, boxes and outlines", coco.files),
    "nifti": Format("NIfTI: volumes and masks", nifti.files),
    "nnunet": Format("nnU-Net: a raw data set folder", nifti.nnunet_files),
    "training": Format("Training folder: DICOM files and labels", training.files),
    "imrmc": Format("iMRMC: reader study ratings", mrmc.imrmc_files),
    "mrmcaov": Format("MRMCaov: reader study ratings for R", mrmc.mrmcaov_files),
    "crowdkit": Format("Crowd-Kit: task, worker, label", crowd.files),
}
CONTAINERS = {"zip": "zip", "tar": "tar.gz"}

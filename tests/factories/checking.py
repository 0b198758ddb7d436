"""Scans whose pictures and headers are known, and their checks made by hand in the pipeline's order."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from inference.phantoms import breast_case, chest
from portal.accounts.models import Organisation
from portal.archive.models import Study
from portal.check.actions import begin
from portal.check.look import check_study
from portal.check.models import SeriesCheck
from portal.infer.actions import plan_runs
from tests.factories import archive as make

DX = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "StudyDescription": "Chest PA"}


@cache
def _bytes(kind: str) -> bytes:
    with TemporaryDirectory() as folder:
        if kind == "breast":
            paths = breast_case(5, size=(640, 520)).write(Path(folder))
        else:
            paths = chest(7, size=(512, 512)).write(Path(folder))
        return sorted(paths)[0].read_bytes()


def phantom(kind: str, **values: Any) -> Dataset:
    """One image of a breast or chest phantom with some header values changed, under UIDs of its own."""
    ds = dcmread(io.BytesIO(_bytes(kind)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, make.generate_uid())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def upside_down_tones(ds: Dataset) -> Dataset:
    """The same with dense parts dark, its header saying nothing of it."""
    ds.PixelData = (4095 - np.clip(ds.pixel_array, 0, 4095)).astype(np.uint16).tobytes()
    return ds


def arrived(images: list[Dataset], organisation: Organisation, policy: str = "") -> Study:
    """A settled study that was checked and handed on."""
    study = make.settled(images, organisation)
    if policy:
        study.source.on_mismatch = policy
        study.source.save()
    checked(study)
    return study


def checked(study: Study) -> list[SeriesCheck]:
    """Check a study and plan its runs as the pipeline does."""
    check_study(begin(study.pk).pk)
    plan_runs(study.pk)
    return list(SeriesCheck.objects.filter(study=study).order_by("series__number", "pk"))

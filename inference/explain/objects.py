"""What the three kinds of object share: equipment, series, times and references."""

from __future__ import annotations

import copy
import datetime as dt
from pathlib import Path
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from inference.explain.maps import NOTICE, MapSet
from inference.explain.source import Place, place_of

MANUFACTURER = "Concord"
SERIES = {"seg": 901, "pm": 902, "sc": 903}
NAMES = {"seg": "segmentation", "pm": "parametric map", "sc": "heat maps"}


def identity(maps: MapSet, kind: str, options: str, part: str = "", number: int = 1) -> dict[str, Any]:
    """Arguments for highdicom: UIDs, series, instance and equipment.

    One series for each source image, kind and options; `part` and `number` tell the instances of a series apart.
    """
    return {
        "series_instance_uid": maps.uid(kind, options, "series"),
        "series_number": SERIES[kind],
        "sop_instance_uid": maps.uid(kind, options, "instance", part),
        "instance_number": number,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": maps.function_id[:64],
        "software_versions": [f"function {maps.version}"[:64], f"inference {maps.code_version}"[:64]],
        "device_serial_number": maps.weights_sha256[:64],  # the weights are the device
    }


def finish(
    ds: Dataset, maps: MapSet, header: Dataset, kind: str, when: dt.datetime, place: Place | None = None
) -> None:
    """Series description, notice and times; everything that would change from one making to the next is set.

    place  of the source's pixels, where its header does not say it as a single image's does
    """
    ds.SeriesDescription = f"{maps.function_id} {NAMES[kind]} ({NOTICE.lower()})"[:64]
    place = place or place_of(header)
    ds.ImageComments = f"{NOTICE}. {place.words(maps.cells)}"
    if not place.in_patient:
        ds.PatientOrientation = header.get("PatientOrientation", "")  # the rows and columns run as the source's
    day, clock = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate", "DateOfSecondaryCapture"):
        if keyword in ds or not keyword.startswith("Date"):
            setattr(ds, keyword, day)
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime", "TimeOfSecondaryCapture"):
        if keyword in ds or not keyword.startswith("Time"):
            setattr(ds, keyword, clock)
    for item in ds.get("ContributingEquipmentSequence") or []:
        item.pop("ContributionDateTime", None)  # highdicom says now, which is not when the scanner took the image
    if "DimensionOrganizationSequence" in ds:
        uid = maps.uid(kind, "dimensions")
        ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
        for item in ds.DimensionIndexSequence:
            item.DimensionOrganizationUID = uid


def source_item(header: Dataset) -> Dataset:
    """An item of Source Image Sequence (PS3.3 C.12.4.1.3) for an image whose pixels were resampled."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = Sequence([hd.sr.CodedConcept.from_code(purpose)])
    item.SpatialLocationsPreserved = "NO"
    return item


def on_grid(header: Dataset, cells: int) -> Dataset:
    """The header as if the image itself had N×N pixels over the same field: highdicom derives objects from it."""
    grid = copy.deepcopy(header)  # a shallow copy would share its elements with the source's header
    grid.Rows = grid.Columns = cells
    return grid


def planes(place: Place, header: Dataset, cells: int) -> dict[str, Any]:
    """Arguments for highdicom that put an N×N grid into the patient; ValueError without patient coordinates."""
    spacing = place.cell_spacing(cells)
    if spacing is None:
        raise ValueError("the image has no pixel spacing")
    thickness = header.get("SliceThickness") or None
    position = [float(value) for value in place.cell_origin(cells)]
    return {
        "pixel_measures": hd.PixelMeasuresSequence(spacing, float(thickness) if thickness else None),
        "plane_positions": [hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, position)],
    }


def save(ds: Dataset, path: Path) -> Path:
    """Write a Part 10 file; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path

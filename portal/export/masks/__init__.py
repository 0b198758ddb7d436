"""Readers' marks as Segmentations (PS3.3 A.51): what a mark encloses, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from inference.explain.codes import finding
from portal.export.common import finish, maker, whole
from portal.export.rules import derived_uid
from portal.export.shapes import Shape, mask

MOST_SEGMENTS = 200


@dataclass(frozen=True)
class Marked:
    """Closed shapes of a case, with what their objects are named by (see gsps.Overlay)."""

    shapes: Sequence[Shape]
    uid: str
    series: str
    at: datetime
    version: str


def build(images: Sequence[Dataset], marked: Marked) -> list[Dataset]:
    """Binary Segmentations, one segment for each closed mark, one object for each series of slices or projection.

    images  headers of single-frame images of one study
    Marks without an area inside their image, and those on frames of a multi-frame image, are left out; [] when none
    is left.
    """
    single = [image for image in images if int(image.get("NumberOfFrames") or 1) == 1]
    by_uid = {str(image.SOPInstanceUID): whole(image) for image in single}
    groups: dict[tuple[str, ...], list[Shape]] = {}
    for shape in marked.shapes:
        image = by_uid.get(shape.sop_uid)
        if image is not None and shape.has_area and mask(shape, int(image.Columns), int(image.Rows)).any():
            groups.setdefault(_group(image), []).append(shape)
    return [
        _segmentation([by_uid[uid] for uid in dict.fromkeys(s.sop_uid for s in shapes)], shapes, marked, number)
        for number, shapes in enumerate(groups.values(), 1)
    ]


def _group(image: Dataset) -> tuple[str, ...]:
    """Slices of one series and plane lie in one object; a projection is alone."""
    if not _in_patient(image):
        return (str(image.SOPInstanceUID),)
    plane = tuple(f"{float(v):.4f}" for v in image.ImageOrientationPatient)
    return (str(image.SeriesInstanceUID), str(image.Rows), str(image.Columns), str(image.PixelSpacing), *plane)


def _in_patient(image: Dataset) -> bool:
    placed = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    return all(image.get(keyword) for keyword in placed)


def _segmentation(images: list[Dataset], shapes: list[Shape], marked: Marked, number: int) -> Dataset:
    shapes = shapes[:MOST_SEGMENTS]
    rows, columns = int(images[0].Rows), int(images[0].Columns)
    index = {str(image.SOPInstanceUID): n for n, image in enumerate(images)}
    pixels = np.zeros((len(images), rows, columns, len(shapes)), np.uint8)
    for segment, shape in enumerate(shapes):
        pixels[index[shape.sop_uid], :, :, segment] = mask(shape, columns, rows)
    for image in images:
        image.setdefault("SliceThickness", None)
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(shape, n, marked) for n, shape in enumerate(shapes, 1)],
        series_instance_uid=derived_uid(marked.series, "series"),
        series_number=905,
        sop_instance_uid=derived_uid(marked.uid, number),
        instance_number=number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="MARKS",
        content_description="Marks of readers",
        **maker("Concord reading room", marked.version, "reading"),
    )
    organisation = derived_uid(marked.uid, number, "dimensions")
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = organisation
    for item in seg.DimensionIndexSequence:
        item.DimensionOrganizationUID = organisation
    if not _in_patient(images[0]):
        seg.PatientOrientation = images[0].get("PatientOrientation", "")  # rows and columns run as the source's
    finish(seg, "Concord marks (research use only)", marked.at)
    return seg


def _segment(shape: Shape, number: int, marked: Marked) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"{shape.label}, {shape.layer.lower()}"[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=finding(shape.label),
        algorithm_type="MANUAL",
        tracking_uid=derived_uid(marked.series, shape.layer, shape.key),
        tracking_id=f"{shape.layer.capitalize()} {shape.key}"[:64],
    )

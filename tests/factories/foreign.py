"""What another maker's system says of the CT of `tests.factories.ct`: masks, a report and a presentation state."""

from __future__ import annotations

import io
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from tests.factories import ct

MAKER = "Acme Imaging"
MASKED, POINTED, OUTLINED = (5, 6), 5, 8  # slices from below, counted from 0
BONE = (127.5, 178.5)  # (column, row) of the middle of the bone in a slice of 256 pixels
WINDOW = (700, 900)  # centre, width


def scan(count: int = 12) -> list[Dataset]:
    """Slices from below, complete enough for other objects to refer to."""
    slices = [dcmread(io.BytesIO(content)) for content in ct.series(count)]
    for ds in slices:
        ds.StudyID, ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "1", "", ""
    return slices


def _new() -> hd.UID:
    return hd.UID(generate_uid())


def body(size: int = 256) -> NDArray[np.bool_]:
    """The body on a slice, with a hole where the bone is."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside: NDArray[np.bool_] = (x / 0.9) ** 2 + (y / 0.62) ** 2 < 1
    return inside & ((x / 0.11) ** 2 + ((y - 0.4) / 0.11) ** 2 >= 1)


def masks(sources: Sequence[Dataset], mask: NDArray[np.bool_]) -> Dataset:
    """The same mask on each of these images."""
    tissue = hd.seg.SegmentDescription(
        1, "Soft tissue", codes.SCT.Tissue, codes.SCT.SoftTissue, hd.seg.SegmentAlgorithmTypeValues.MANUAL
    )
    return hd.seg.Segmentation(
        sources, np.stack([mask] * len(sources)).astype(np.uint8), hd.seg.SegmentationTypeValues.BINARY, [tissue],
        series_instance_uid=_new(), series_number=30, sop_instance_uid=_new(), instance_number=1,
        manufacturer=MAKER, manufacturer_model_name="Outliner", software_versions="3", device_serial_number="1",
        content_label="TISSUE",
    )  # fmt: skip


def report(slices: Sequence[Dataset]) -> Dataset:
    """TID 1500: a point in patient coordinates in the bone, and the outline of a lung with its diameter."""
    place = np.array(slices[POINTED].ImagePositionPatient, float)
    bone = place + np.array([*(np.array(BONE) * slices[POINTED].PixelSpacing[::-1]), 0])
    pointed = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        hd.sr.TrackingIdentifier(_new(), "Lesion 1"),
        hd.sr.ImageRegion3D("POINT", bone[None], slices[POINTED].FrameOfReferenceUID),
        finding_type=codes.SCT.Lesion,
    )
    corners = np.array([[40, 90], [110, 90], [110, 160], [40, 160], [40, 90]], float)
    outlined = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        hd.sr.TrackingIdentifier(_new(), "Lesion 2"),
        hd.sr.ImageRegion("POLYLINE", corners, hd.sr.SourceImageForRegion.from_source_image(slices[OUTLINED])),
        finding_type=codes.SCT.Nodule,
        measurements=[hd.sr.Measurement(codes.SCT.Diameter, 98.25, codes.UCUM.Millimeter)],
    )
    device = hd.sr.ObserverContext(codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(_new(), name="Outliner"))
    content = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(observer_device_context=device), codes.LN.CTUnspecifiedBodyRegion, [pointed, outlined],
        title=codes.DCM.ImagingMeasurementReport,
    )  # fmt: skip
    return hd.sr.Comprehensive3DSR(
        slices, content, series_instance_uid=_new(), series_number=31, sop_instance_uid=_new(), instance_number=1,
        manufacturer=MAKER, is_complete=True,
    )  # fmt: skip


def presentation(slices: Sequence[Dataset]) -> Dataset:
    """A line and a word on one slice, and a window for all."""
    layer = hd.pr.GraphicLayer("NOTES", 1)
    pixel = hd.pr.AnnotationUnitsValues.PIXEL
    line = hd.pr.GraphicObject(hd.pr.GraphicTypeValues.POLYLINE, np.array([[60.0, 60.0], [120.0, 80.0]]), pixel)
    word = hd.pr.TextObject("Look here", pixel, anchor_point=(60.0, 60.0))
    notes = hd.pr.GraphicAnnotation([slices[POINTED]], layer, graphic_objects=[line], text_objects=[word])
    return hd.pr.GrayscaleSoftcopyPresentationState(
        slices, _new(), 32, _new(), 1, MAKER, "Outliner", "3", "1", "NOTES",
        graphic_annotations=[notes], graphic_layers=[layer],
        voi_lut_transformations=[hd.pr.SoftcopyVOILUTTransformation(*WINDOW)],
    )  # fmt: skip

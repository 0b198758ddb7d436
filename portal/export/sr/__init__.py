"""TID 1500 measurement report of a settled case (PS3.16), as Comprehensive SR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from portal.export.common import finish, whole
from portal.export.rules import derived_uid

PROCEDURES = {
    "MG": CodedConcept("71651007", "SCT", "Mammography"),
    "DX": CodedConcept("399208008", "SCT", "Plain chest X-ray"),
    "CR": CodedConcept("399208008", "SCT", "Plain chest X-ray"),
}
IMAGING = CodedConcept("363679005", "SCT", "Imaging procedure")
YES, NO = CodedConcept("373066001", "SCT", "Yes"), CodedConcept("373067005", "SCT", "No")
SCHEME = "99CONCORD"
DEVICE = "2.25.299434514352712871312716128371872132412"


@dataclass(frozen=True)
class Result:
    """What a report is made from.

    form, answers  the protocol's questions and the settled answers
    marks          [{"sop_uid", "box": (x0, y0, x1, y1), "label", "frame"}]; pixel centres are whole numbers
    labels         code → name of the marks' labels
    uid            SOP Instance UID; with series_uid and time: equal results give equal objects
    """

    form: Sequence[Mapping[str, Any]]
    answers: Mapping[str, Any]
    marks: Sequence[Mapping[str, Any]]
    labels: Mapping[str, str]
    uid: str
    series_uid: str
    at: datetime


def build(images: Sequence[Dataset], modality: str, result: Result) -> Dataset:
    """Return an SR that references the source images.

    images  headers of the case's images, one study; an SR has the patient and the study from them
    Raises ValueError without images. A mark that has no area inside its image is named without coordinates.
    """
    if not images:
        raise ValueError("a report needs the images it speaks about")
    evidence = [whole(image) for image in images]
    by_uid = {str(image.SOPInstanceUID): image for image in evidence}
    groups: list[Any] = [_answers(evidence, result)]
    groups += [
        _mark(by_uid[m["sop_uid"]], m, n, result) for n, m in enumerate(result.marks, 1) if m["sop_uid"] in by_uid
    ]
    report = hd.sr.MeasurementReport(
        observation_context=context(),
        procedure_reported=PROCEDURES.get(modality, IMAGING),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    sr = hd.sr.ComprehensiveSR(
        evidence=evidence,
        content=report,
        series_instance_uid=hd.UID(result.series_uid),
        series_number=900,
        sop_instance_uid=hd.UID(result.uid),
        instance_number=1,
        manufacturer="Concord",
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    finish(sr, "Concord reading (research use only)", result.at)
    return sr


def context() -> Any:
    """The portal as the observer of a report."""
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(uid=hd.UID(DEVICE), name="Concord")
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=attributes
        )
    )


def code(key: str, label: str) -> CodedConcept:
    """A concept of the portal's own scheme."""
    return CodedConcept(key, SCHEME, label[:64])


def tracking(uid: str, part: str, words: str) -> Any:
    """Tracking identifier of a part of a report."""
    return hd.sr.TrackingIdentifier(uid=hd.UID(derived_uid(uid, part)), identifier=words)


def _answers(images: Sequence[Dataset], result: Result) -> Any:
    evaluations, measurements = [], []
    for question in result.form:
        value = result.answers.get(question["key"])
        if value in (None, "", []) or question["type"] == "text":
            continue
        name = code(question["key"], question["label"])
        words = {str(c["value"]): str(c["label"]) for c in question.get("choices", ())}
        if question["type"] == "scale":
            measurements.append(hd.sr.Measurement(name=name, value=float(value), unit=codes.UCUM.NoUnits))
        elif isinstance(value, bool):
            evaluations.append(hd.sr.QualitativeEvaluation(name, YES if value else NO))
        else:
            for one in map(str, value if isinstance(value, list) else [value]):
                evaluations.append(hd.sr.QualitativeEvaluation(name, code(one, words.get(one, one))))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(result.uid, "reading", "Reading"),
        measurements=measurements or None,
        qualitative_evaluations=evaluations or None,
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(image) for image in images],
    )


def outline(box: Sequence[float], columns: int, rows: int) -> np.ndarray[Any, Any] | None:
    """Closed outline (5, 2) of the part of a box that lies in the image, as SCOORD wants it; None without area.

    box  x0, y0, x1, y1, where pixel centres are whole numbers. In SCOORD 0.0\\0.0 is the outer corner of the
    first pixel and its centre 0.5\\0.5 (PS3.3 C.18.6.1.2).
    """
    x0, x1 = sorted(np.clip([float(box[0]) + 0.5, float(box[2]) + 0.5], 0, columns))
    y0, y1 = sorted(np.clip([float(box[1]) + 0.5, float(box[3]) + 0.5], 0, rows))
    if not (x1 > x0 and y1 > y0):
        return None
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])


def _mark(image: Dataset, mark: Mapping[str, Any], number: int, result: Result) -> Any:
    label = str(mark.get("label") or "finding")
    named = {
        "tracking_identifier": tracking(result.uid, f"mark/{number}", f"Mark {number}"),
        "finding_type": code(label, result.labels.get(label) or label.replace("_", " ").capitalize()),
    }
    points = outline(mark["box"], int(image.Columns), int(image.Rows))
    frames = [int(mark.get("frame") or 1)] if int(image.get("NumberOfFrames") or 1) > 1 else None
    if points is None:
        source = hd.sr.SourceImageForMeasurementGroup.from_source_image(image, frames)
        return hd.sr.MeasurementsAndQualitativeEvaluations(**named, source_images=[source])
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=hd.sr.SourceImageForRegion.from_source_image(image, frames),
    )
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(**named, referenced_region=region)

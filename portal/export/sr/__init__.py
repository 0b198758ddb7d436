"""TID 1500 measurement report of a settled case (PS3.16), as Comprehensive SR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

PROCEDURES = {
    "MG": CodedConcept("71651007", "SCT", "Mammography"),
    "DX": CodedConcept("399208008", "SCT", "Plain chest X-ray"),
    "CR": CodedConcept("399208008", "SCT", "Plain chest X-ray"),
}
IMAGING = CodedConcept("363679005", "SCT", "Imaging procedure")
YES, NO = CodedConcept("373066001", "SCT", "Yes"), CodedConcept("373067005", "SCT", "No")
SCHEME = "99CONCORD"


def build(
    images: Sequence[Dataset],
    modality: str,
    form: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Any],
    marks: Sequence[Mapping[str, Any]],
    uid: str,
) -> Dataset:
    """Return an SR that references the source images.

    images   headers of the case's images, one study
    marks    [{"sop_uid", "box": (x0, y0, x1, y1), "label"}] in image pixels
    """
    if not images:
        raise ValueError("a report needs the images it speaks about")
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=hd.UID("2.25.299434514352712871312716128371872132412"), name="Concord"
            ),
        )
    )
    by_uid = {str(image.SOPInstanceUID): image for image in images}
    groups: list[Any] = [_answers(images, form, answers, uid)]
    groups += [_mark(by_uid[m["sop_uid"]], m, n, uid) for n, m in enumerate(marks, 1) if m["sop_uid"] in by_uid]
    report = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=PROCEDURES.get(modality, IMAGING),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    sr = hd.sr.ComprehensiveSR(
        evidence=list(images),
        content=report,
        series_instance_uid=hd.UID(f"{uid}.1"[:64]),
        series_number=900,
        sop_instance_uid=hd.UID(uid),
        instance_number=1,
        manufacturer="Concord",
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    sr.SeriesDescription = "Concord reading (research use only)"
    return sr


def _code(key: str, label: str) -> CodedConcept:
    return CodedConcept(key[:16], SCHEME, label[:64])


def _answers(images: Sequence[Dataset], form: Sequence[Mapping[str, Any]], answers: Mapping[str, Any], uid: str) -> Any:
    evaluations, measurements = [], []
    for question in form:
        value = answers.get(question["key"])
        if value in (None, "", []) or question["type"] == "text":
            continue
        name = _code(question["key"], question["label"])
        if question["type"] == "scale":
            measurements.append(hd.sr.Measurement(name=name, value=float(value), unit=codes.UCUM.NoUnits))
        elif isinstance(value, bool):
            evaluations.append(hd.sr.QualitativeEvaluation(name, YES if value else NO))
        else:
            for one in value if isinstance(value, list) else [value]:
                text = str(one)
                evaluations.append(hd.sr.QualitativeEvaluation(name, _code(text, text.replace("_", " "))))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(f"{uid}.2"[:64]), identifier="Reading"),
        measurements=measurements or None,
        qualitative_evaluations=evaluations or None,
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(image) for image in images],
    )


def _mark(image: Dataset, mark: Mapping[str, Any], number: int, uid: str) -> Any:
    x0, y0, x1, y1 = (float(v) for v in mark["box"])
    columns, rows = int(image.Columns), int(image.Rows)
    xs, ys = np.clip([x0, x1], 0, columns), np.clip([y0, y1], 0, rows)
    outline = np.array([[xs[0], ys[0]], [xs[1], ys[0]], [xs[1], ys[1]], [xs[0], ys[1]], [xs[0], ys[0]]])
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=outline,
        source_image=hd.sr.SourceImageForRegion.from_source_image(image),
    )
    label = str(mark.get("label") or "finding")
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(f"{uid}.3.{number}"[:64]), identifier=f"Mark {number}"),
        referenced_region=region,
        finding_type=_code(label, label.replace("_", " ").capitalize()),
    )

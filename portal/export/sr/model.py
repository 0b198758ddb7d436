"""TID 1500 measurement report of a model's run (PS3.16): what it says of the case, each image and class, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from inference.explain.codes import finding
from portal.export.common import finish, whole
from portal.export.rules import derived_uid
from portal.export.shapes import Shape, in_dicom, outline
from portal.export.sr import IMAGING, NO, PROCEDURES, YES, code, context, tracking


@dataclass(frozen=True)
class ImageSays:
    """What a run says of one image.

    probabilities, present, thresholds  of each class, for the image as a whole
    score                               malignancy functions: the image's
    """

    sop_uid: str
    probabilities: Mapping[str, float]
    present: Mapping[str, bool]
    thresholds: Mapping[str, float]
    score: float | None = None


@dataclass(frozen=True)
class ModelSays:
    """What a run says.

    case     name → number: score, threshold and means of sides; empty without a case rule
    call     the case's, None without one
    shapes   places, held back where the gate does so; `rating` is the place's score in [0, 1]
    uid      of the report: equal results give equal objects
    """

    function: str
    version: str
    weights_sha256: str
    case: Mapping[str, float]
    call: bool | None
    images: Sequence[ImageSays]
    shapes: Sequence[Shape]
    uid: str
    series_uid: str
    at: datetime


def build(images: Sequence[Dataset], modality: str, says: ModelSays) -> Dataset:
    """A Comprehensive SR that references the images the run looked at.

    images  headers of one study, in order; a place on another image is left out
    Raises ValueError without images.
    """
    if not images:
        raise ValueError("a report needs the images it speaks about")
    evidence = [whole(image) for image in images]
    by_uid = {str(image.SOPInstanceUID): image for image in evidence}
    about = hd.sr.AlgorithmIdentification(
        name=says.function[:64],
        version=says.version[:64],
        parameters=[f"weights SHA-256 {says.weights_sha256}"[:64]],
    )
    groups: list[Any] = [_case(evidence, says, about)] if says.case or says.call is not None else []
    for one in says.images:
        if one.sop_uid in by_uid:
            groups += _image(by_uid[one.sop_uid], one, says, about)
    places = [shape for shape in says.shapes if shape.sop_uid in by_uid]
    groups += [_place(by_uid[s.sop_uid], s, n, says, about) for n, s in enumerate(places, 1)]
    if not groups:
        raise ValueError("the run says nothing")
    sr = hd.sr.ComprehensiveSR(
        evidence=evidence,
        content=hd.sr.MeasurementReport(
            observation_context=context(),
            procedure_reported=PROCEDURES.get(modality, IMAGING),
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        ),
        series_instance_uid=hd.UID(says.series_uid),
        series_number=906,
        sop_instance_uid=hd.UID(says.uid),
        instance_number=1,
        manufacturer="Concord",
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    finish(sr, f"{says.function} (research use only)", says.at)
    return sr


def _number(name: Any, value: float, about: Any) -> Any:
    return hd.sr.Measurement(name=name, value=round(float(value), 6), unit=codes.UCUM.NoUnits, algorithm_id=about)


def _called(call: bool) -> Any:
    return hd.sr.QualitativeEvaluation(code("called", "Called by the function"), YES if call else NO)


def _sources(images: Sequence[Dataset]) -> list[Any]:
    return [hd.sr.SourceImageForMeasurementGroup.from_source_image(image) for image in images]


def _case(images: Sequence[Dataset], says: ModelSays, about: Any) -> Any:
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(says.uid, "case", "Case"),
        measurements=[_number(code(key, key.capitalize()), value, about) for key, value in says.case.items()] or None,
        qualitative_evaluations=None if says.call is None else [_called(says.call)],
        source_images=_sources(images),
    )


def _image(image: Dataset, one: ImageSays, says: ModelSays, about: Any) -> list[Any]:
    groups = []
    if one.score is not None:
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking(says.uid, f"image/{one.sop_uid}", "Image"),
                measurements=[_number(code("score", "Score"), one.score, about)],
                source_images=_sources([image]),
            )
        )
    for name, value in one.probabilities.items():
        measurements = [_number(codes.DCM.Probability, value, about)]
        if name in one.thresholds:
            measurements.append(_number(code("threshold", "Threshold"), one.thresholds[name], about))
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking(says.uid, f"class/{one.sop_uid}/{name}", name.replace("_", " ")),
                finding_type=finding(name),
                measurements=measurements,
                qualitative_evaluations=[_called(one.present[name])] if name in one.present else None,
                source_images=_sources([image]),
            )
        )
    return groups


def _place(image: Dataset, shape: Shape, number: int, says: ModelSays, about: Any) -> Any:
    named: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=hd.UID(derived_uid(says.series_uid, shape.layer, shape.key)), identifier=f"Place {number}"
        ),
        "finding_type": finding(shape.label),
        "measurements": None if shape.rating is None else [_number(codes.DCM.Probability, shape.rating, about)],
    }
    points = in_dicom(outline(shape), int(image.Columns), int(image.Rows))
    if not (np.ptp(points, axis=0) > 0).all():
        return hd.sr.MeasurementsAndQualitativeEvaluations(**named, source_images=_sources([image]))
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=hd.sr.SourceImageForRegion.from_source_image(image),
    )
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(**named, referenced_region=region)

"""Writes of the scores of scans: image quality and longitudinal quality, and the priority that a request asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword

from portal.archive import quality
from portal.archive.decode import frame_array
from portal.archive.files import local_copy
from portal.archive.models import Instance, Patient, Series, Study
from portal.core import storage
from portal.core.errors import Refused

MOST_IMAGES = 8  # of a study are looked at, spread over it
KEYWORDS = ("Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "ConversionType", "ImageType",
            "Manufacturer", "ManufacturerModelName", "LossyImageCompression", "LossyImageCompressionRatio")  # fmt: skip
PRIORITY, REQUESTS = "00401003", "00400275"


def measure_study(study_pk: int) -> Study:
    """Work out a study's image quality and its patient's longitudinal quality; twice has the effect of once."""
    study = Study.objects.select_related("patient").get(pk=study_pk)
    images = study.instances.filter(rows__gt=0, opinion=False)
    rows = images.select_related("series").order_by("series__number", "number", "pk")
    keys = list(rows.values_list("pk", flat=True))
    step = max(len(keys) / MOST_IMAGES, 1)
    chosen = [keys[int(n * step)] for n in range(min(MOST_IMAGES, len(keys)))]
    found = [_quality(instance) for instance in rows.filter(pk__in=chosen)]
    study.image_quality = quality.study_quality(found)
    study.quality_parts = [one.to_dict() for one in found]
    study.save(update_fields=["image_quality", "quality_parts"])
    measure_patient(study.patient)
    return study


def _quality(instance: Instance) -> quality.Quality:
    header = {"Modality": instance.series.modality, **{k: _value(instance.headers, k) for k in KEYWORDS}}
    return quality.image_quality(header, _pixels(instance))


def _pixels(instance: Instance) -> quality.Pixels | None:
    """Of the middle frame; None when it cannot be decoded."""
    try:
        with local_copy(storage.archive(), instance.name) as path:
            pixels = frame_array(dcmread(path, force=True), (instance.frames + 1) // 2)
    except (Refused, FileNotFoundError):
        return None
    return quality.pixels_of(pixels.mean(axis=-1) if pixels.ndim == 3 else pixels)


def _value(headers: Mapping[str, Any], keyword: str) -> Any:
    """A value of DICOM JSON; a list where there are several or the attribute is a spacing."""
    values = headers.get(f"{tag_for_keyword(keyword):08X}", {}).get("Value") or []
    return values if len(values) > 1 else next(iter(values), None)


def measure_patient(patient: Patient) -> None:
    """Work out how much a patient's scans tell over time."""
    rows = patient.studies.values_list("study_date", "modalities")
    past = [quality.Past(day, frozenset(modalities)) for day, modalities in rows]
    score = quality.longitudinal_quality(past, bool(patient.risk_factors.get("biopsy")))
    Patient.objects.filter(pk=patient.pk).update(longitudinal_quality=score)


def note_biopsy(study: Study) -> None:
    """Pathology says what a scan of this patient shows: the patient's scans tell more from now on."""
    patient = Patient.objects.select_for_update().get(pk=study.patient_id)
    if not patient.risk_factors.get("biopsy"):
        patient.risk_factors = {**patient.risk_factors, "biopsy": True}
        patient.save(update_fields=["risk_factors"])
    measure_patient(patient)


def priority_of(study: Study) -> int:
    """What the requests in the study's headers ask for, never less than it has."""
    said = []
    for headers in Series.objects.filter(study=study).values_list("headers", flat=True):
        said += [item.get(PRIORITY) for item in headers.get(REQUESTS, {}).get("Value") or []]
    first = Instance.objects.filter(study=study).order_by("pk").values_list("headers", flat=True).first()
    said.append((first or {}).get(PRIORITY))
    words = [str(next(iter(entry.get("Value") or []), "")) for entry in said if entry]
    return max(study.priority, quality.requested_priority(words))

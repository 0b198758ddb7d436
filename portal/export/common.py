"""What the portal's own DICOM objects share: equipment, times, and empty values where type 2 attributes are missing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

# type 2 attributes of the patient and study modules (PS3.3 C.7.1.1, C.7.2.1): there even when they are empty
MUST_BE_THERE = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber",
                 "StudyDate", "StudyTime", "ReferringPhysicianName")  # fmt: skip


def whole(image: Dataset) -> Dataset:
    """The header with empty values where type 2 attributes are missing, which happens in old images."""
    for keyword in MUST_BE_THERE:
        if keyword not in image:
            setattr(image, keyword, "")
    return image


def maker(device: str, version: str, serial: str) -> dict[str, Any]:
    """Equipment for highdicom: a function's weights, or the protocol that was read under, are the device."""
    return {
        "manufacturer": "Concord",
        "manufacturer_model_name": device[:64],
        "software_versions": version[:64],
        "device_serial_number": serial[:64],
    }


def finish(ds: Dataset, description: str, at: datetime) -> None:
    """Series description and every time that would change from one making to the next."""
    ds.SeriesDescription = description[:64]
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        if keyword in ds or keyword != "ContentDate":
            setattr(ds, keyword, f"{at:%Y%m%d}")
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        if keyword in ds or keyword != "ContentTime":
            setattr(ds, keyword, f"{at:%H%M%S}")
    for item in ds.get("ContributingEquipmentSequence") or []:
        item.pop("ContributionDateTime", None)  # highdicom says now, which is not when the scanner took the image

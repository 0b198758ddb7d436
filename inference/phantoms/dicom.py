"""DICOM files of phantoms: For Presentation objects with identities that are made up.

The identities are there so that de-identification has something to do: names, ids, dates, an institution,
a nested sequence with a name and a private group. None belongs to a person.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

STORAGE = {
    "MG": DigitalMammographyXRayImageStorageForPresentation,
    "DX": DigitalXRayImageStorageForPresentation,
}

_FEMALE = ("Anna", "Berta", "Clara", "Dora", "Edith", "Frieda", "Greta", "Hilda", "Irma", "Johanna", "Karla",
           "Lotte", "Maria", "Nora", "Olga", "Paula", "Rosa", "Selma", "Thea", "Ursula")  # fmt: skip
_MALE = ("Albert", "Bruno", "Carl", "David", "Emil", "Franz", "Gustav", "Hugo", "Ivan", "Jonas", "Kurt",
         "Ludwig", "Martin", "Noah", "Oskar", "Peter", "Robert", "Simon", "Theo", "Viktor")  # fmt: skip
_FAMILY = ("Ashdown", "Birchfield", "Calloway", "Dunmore", "Eastgate", "Fairbairn", "Greenhalgh", "Holloway",
           "Ingram", "Kirkbride", "Larkspur", "Merriweather", "Northcote", "Oakshott", "Penhallow",
           "Quillfeather", "Ravensworth", "Silverdale", "Thornbury", "Underhill", "Vellacott",
           "Winterbourne", "Yarborough")  # fmt: skip
_HOUSES = ("Lakeside Breast Centre", "Harbour Clinic", "Hillview Hospital", "Riverbank Radiology")
_DOCTORS = ("Finch^Eleanor", "Marsh^Julian", "Sorrel^Beatrice", "Wren^Dominic")


@dataclass(frozen=True)
class Identity:
    """A person who does not exist, with one examination."""

    seed: int
    patient_name: str
    patient_id: str
    birth_date: dt.date
    sex: str
    study_date: dt.date
    study_time: str
    accession: str
    institution: str
    physician: str
    study_uid: str
    frame_uid: str

    @property
    def age(self) -> int:
        """Whole years at the examination."""
        born, on = self.birth_date, self.study_date
        return on.year - born.year - ((on.month, on.day) < (born.month, born.day))

    @classmethod
    def make(cls, kind: str, seed: int, sex: str | None = None, years_earlier: int = 0) -> Identity:
        """Identity of a seed: the same seed gives the same person."""
        rng = np.random.default_rng([seed, 77, len(kind)])
        sex = sex or ("F" if rng.random() < 0.5 else "M")
        given = rng.choice(_FEMALE if sex == "F" else _MALE)
        middle = rng.choice(_FEMALE if sex == "F" else _MALE)
        born = dt.date(1942, 1, 1) + dt.timedelta(days=int(rng.integers(0, 365 * 38)))
        on = dt.date(2024, 1, 8) + dt.timedelta(days=int(rng.integers(0, 600)) - 365 * years_earlier)
        clock = f"{rng.integers(7, 18):02d}{rng.integers(0, 60):02d}{rng.integers(0, 60):02d}"
        return cls(
            seed=seed,
            patient_name=f"{rng.choice(_FAMILY)}^{given}^{middle}",
            patient_id=f"{kind[:1].upper()}{seed:06d}{rng.integers(10, 99)}",
            birth_date=born,
            sex=sex,
            study_date=on,
            study_time=clock,
            accession=f"A{on:%y%m%d}{seed % 100000:05d}",
            institution=str(rng.choice(_HOUSES)),
            physician=str(rng.choice(_DOCTORS)),
            study_uid=stable_uid("study", kind, seed, years_earlier),
            frame_uid=stable_uid("frame", kind, seed, years_earlier),
        )


def stable_uid(*parts: object) -> str:
    """UID that is the same for the same parts (2.25 arc would need a UUID; pydicom's root and a hash do)."""
    return str(generate_uid(entropy_srcs=["concord-phantom", *map(str, parts)]))


def dataset(
    pixels: NDArray[np.uint16],
    identity: Identity,
    *,
    modality: str,
    sop_uid: str,
    series_uid: str,
    instance_number: int,
    spacing_mm: float,
    window: tuple[float, float],
    body_part: str,
    view: str,
    orientation: tuple[str, str],
    laterality: str | None,
    description: str,
) -> FileDataset:
    """For Presentation image (PS3.3 A.26 for DX, A.27 for MG) with 12 bits stored of 16 allocated.

    pixels  (rows, columns), values below 4096, MONOCHROME2
    window  VOI window centre and width in pixel values
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = STORAGE[modality]
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = STORAGE[modality], sop_uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = identity.study_uid, series_uid
    ds.FrameOfReferenceUID = identity.frame_uid
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.Modality = modality
    ds.PresentationIntentType = "FOR PRESENTATION"
    _identify(ds, identity, description)
    ds.SeriesNumber, ds.InstanceNumber = 1, instance_number
    ds.Manufacturer, ds.ManufacturerModelName = "Concord phantom", f"{modality} generator"
    ds.DeviceSerialNumber, ds.StationName = (
        f"SN-{identity.seed % 7:04d}",
        f"{modality}ROOM{identity.seed % 3}",
    )
    ds.SoftwareVersions = "1"
    ds.BodyPartExamined, ds.ViewPosition = body_part, view
    ds.PatientOrientation = list(orientation)
    ds.ImageLaterality = laterality or "U"  # U: not one of a pair (PS3.3 C.8.11.2)
    ds.PositionReferenceIndicator = ""
    ds.AcquisitionContextSequence = Sequence([])
    _view_codes(ds, modality, view)
    ds.ImagerPixelSpacing = [spacing_mm, spacing_mm]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape, ds.LossyImageCompression, ds.BurnedInAnnotation = "IDENTITY", "00", "NO"
    ds.WindowCenter, ds.WindowWidth = round(window[0]), round(window[1])
    ds.WindowCenterWidthExplanation = "NORMAL"
    ds.VOILUTFunction = "LINEAR"
    ds.KVP, ds.DetectorType = ("29" if modality == "MG" else "120"), "DIRECT"
    ds.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    return ds


def _identify(ds: FileDataset, who: Identity, description: str) -> None:
    on = who.study_date.strftime("%Y%m%d")
    ds.PatientName, ds.PatientID, ds.PatientSex = who.patient_name, who.patient_id, who.sex
    ds.PatientBirthDate = who.birth_date.strftime("%Y%m%d")
    ds.PatientAge = f"{who.age:03d}Y"
    ds.PatientAddress = f"{who.seed % 90 + 3} Willow Lane"
    ds.PatientTelephoneNumbers = f"555-{who.seed % 10000:04d}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = on
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = who.study_time
    ds.AccessionNumber, ds.StudyID = who.accession, f"{who.seed % 100000}"
    ds.InstitutionName = who.institution
    ds.InstitutionAddress = "1 Shore Road"
    ds.ReferringPhysicianName = who.physician
    ds.OperatorsName = "Technician^Pat"
    family, _, given = who.patient_name.partition("^")
    ds.StudyDescription = description
    ds.PatientComments = f"{given.split('^')[0]} {family} was told about the examination"
    request = Dataset()
    request.RequestedProcedureID = f"RP{who.seed % 100000}"
    request.ScheduledProcedureStepID = "1"
    request.RequestedProcedureDescription = f"{description} of {family}"
    step = Dataset()
    step.ScheduledPerformingPhysicianName = who.physician
    step.PatientName = who.patient_name
    request.ReferencedPatientSequence = Sequence([step])
    ds.RequestAttributesSequence = Sequence([request])
    block = ds.private_block(0x0099, "CONCORD PHANTOM", create=True)
    block.add_new(0x01, "LO", f"operator note: {who.patient_name}")
    block.add_new(0x02, "DS", "1.5")


def _view_codes(ds: FileDataset, modality: str, view: str) -> None:
    """View Code Sequence: SNOMED CT codes of PS3.16 CID 4014 (mammography) and CID 4010 (projection)."""
    meanings = {
        "CC": ("399162004", "cranio-caudal"),
        "MLO": ("399368009", "medio-lateral oblique"),
        "PA": ("272479007", "postero-anterior"),
    }
    code = _code(*meanings[view])
    if modality == "MG":
        code.ViewModifierCodeSequence = Sequence([])
        ds.PositionerType, ds.OrganExposed = "MAMMOGRAPHIC", "BREAST"
        ds.AnatomicRegionSequence = Sequence([_code("76752008", "Breast")])
        ds.BreastImplantPresent, ds.PartialView = "NO", "NO"
    else:
        ds.PositionerType = ""
        ds.AnatomicRegionSequence = Sequence([_code("51185008", "Chest")])
    ds.ViewCodeSequence = Sequence([code])


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def save(ds: FileDataset, path: Path) -> Path:
    """Write a Part 10 file; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path

"""Data sets with an identity in every kind of place, and what has to be gone or to be there afterwards."""

from __future__ import annotations

import calendar
import random
import re
from dataclasses import dataclass, field

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from tests.factories.planted import people
from tests.factories.planted.texts import Cast, Planted, cast, fill, report

DESCRIPTIONS = [
    "CT CHEST W CONTRAST",
    "MRI Brain without and with contrast",
    "MG SCREENING BILATERAL W CAD",
    "US abdomen complete",
    "XR Hand 3 views left",
    "CT Abdomen and Pelvis",
    "Mammogram diagnostic right",
    "MR Lumbar Spine T2 sagittal",
    "Chest PA and lateral",
    "CTA pulmonary arteries",
    "MR prostate multiparametric",
    "Bone scan whole body",
    "Knee MRI 3T PD fat sat",
    "CT head non contrast 5 mm",
]
SERIES = [
    "AX T1 POST GAD",
    "Lung 1.25 mm",
    "R MLO tomosynthesis",
    "SAG T2 FSE",
    "COR MPR 3 mm",
    "DWI b800",
    "arterial phase 2.5mm",
    "Scout",
    "bone window",
    "FLAIR axial",
    "portal venous",
    "LCC",
    "localizer",
    "reconstruction thin slices",
]
AROUND = [
    "{clinical} {patient}",
    "{patient} {clinical}",
    "{clinical} {id}",
    "{clinical} {date}",
    "{clinical} Dr {doctor}",
    "{clinical} MRN {id}",
    "{clinical} / {hospital}",
    "{clinical} for {patient} {date}",
    "{clinical}",
    "{clinical}",
]
COMMENTS = [
    "Patient {patient} moved during the scan.",
    "Call Dr. {doctor} at {phone} with results.",
    "Prior study of {date} at {hospital}.",
    "{patient} has a history of Parkinson's disease.",
    "Discussed with {doctor_full}, MD on {date}.",
    "MRN {id}, accession {accession}.",
    "Lives at {address}.",
    "Small effusion, no pneumothorax. Seen {date}.",
    "Contact {email}.",
]


# Texts of no person, and months, which a moved date may hold.
KEPT = {"acme", "scanner", "parkinson"} | {name.casefold() for name in [*calendar.month_name, *calendar.month_abbr]}


TREE = "content tree"


@dataclass
class PlantedHeader:
    """A data set, its secrets as (place, text), and the clinical words that its texts hold by place."""

    dataset: Dataset
    secrets: list[tuple[str, str]] = field(default_factory=list)
    clinical: list[tuple[str, str]] = field(default_factory=list)

    def left(self, raw: bytes) -> list[tuple[str, str]]:
        """The secrets that the bytes of a written file still hold, as words of their own and without regard to case."""
        text = raw.decode("utf-8", "replace").casefold() + raw.decode("latin-1").casefold()
        return [(place, secret) for place, secret in self.secrets if holds(text, secret.casefold())]


def holds(text: str, secret: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", text) is not None


def header(seed: int) -> PlantedHeader:
    """A CT-like header with plants at the root, nested, private, in descriptors, comments and a content tree."""
    rng = random.Random(f"header {seed}")
    who = cast(rng)
    p, d = who.patient, who.doctor
    ds = Dataset()
    out = PlantedHeader(ds)

    def plant(place: str, *secrets: str) -> None:
        out.secrets += [(place, s) for s in secrets if len(s) >= 3]

    day = people.day(rng)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"
    root = f"1.2.826.0.1.3680043.10.{rng.randrange(10**6)}"
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{root}.1", f"{root}.2", f"{root}.3"
    ds.FrameOfReferenceUID = f"{root}.4"
    plant("field", *(f"{root}.{i}" for i in range(1, 5)))
    ds.PatientName, ds.PatientID = f"{p.last}^{p.first}^{p.middle}", p.number
    ds.PatientBirthDate, ds.PatientSex = p.birth.strftime("%Y%m%d"), p.sex
    ds.AccessionNumber = p.accession[:16]
    ds.ReferringPhysicianName, ds.OperatorsName = f"{d.last}^{d.first}", f"{who.others[0].last}^{who.others[0].first}"
    ds.InstitutionName, ds.InstitutionAddress = people.hospital(rng), people.address(rng)
    ds.PatientTelephoneNumbers, ds.PatientAddress = people.phone(rng)[:16], people.address(rng)[:64]
    ds.OtherPatientIDs, ds.StudyID = people.number(rng), str(rng.randrange(10**5, 10**7))
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = day.strftime("%Y%m%d")
    ds.StudyTime, ds.AcquisitionDateTime = "101500", day.strftime("%Y%m%d") + "101500"
    ds.Manufacturer, ds.ManufacturerModelName, ds.BodyPartExamined = "ACME", "Scanner 3000", "CHEST"
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation, ds.PixelData = "MONOCHROME2", bytes(512)
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.7, 0.7], "1.25", "120"
    names = [w for person in (p, d, who.others[0]) for w in (person.last, person.first)]
    plant(
        "field",
        *names,
        p.number,
        ds.AccessionNumber,
        ds.InstitutionName,
        ds.InstitutionAddress,
        ds.PatientBirthDate,
        ds.StudyDate,
    )
    plant("field", ds.PatientTelephoneNumbers, ds.PatientAddress, ds.OtherPatientIDs, ds.StudyID)

    _descriptor(out, ds, "StudyDescription", rng.choice(DESCRIPTIONS), who, rng)
    _descriptor(out, ds, "SeriesDescription", rng.choice(SERIES), who, rng)
    _descriptor(out, ds, "ProtocolName", rng.choice(DESCRIPTIONS), who, rng)
    _comment(out, ds, "ImageComments", who, rng)
    _comment(out, ds, "AdditionalPatientHistory", who, rng)

    item, inner = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, f"{root}.9"
    inner.PatientName, inner.PersonName, inner.PatientID = ds.PatientName, f"{d.last}^{d.first}", people.number(rng)
    inner.RequestedProcedureDescription = f"CT chest {p.last}"
    inner.InstitutionName, inner.DateTime = people.hospital(rng), day.strftime("%Y%m%d")
    item.add_new(0x00082112, "SQ", Sequence([inner]))
    ds.ReferencedImageSequence = Sequence([item])
    request = Dataset()
    request.ReasonForTheRequestedProcedure = f"cough, asked by Dr. {d.last}"
    request.RequestedProcedureID = people.number(rng)[:16]
    ds.RequestAttributesSequence = Sequence([request])
    plant("nested", f"{root}.9", inner.PatientID, inner.InstitutionName, request.RequestedProcedureID)

    ds.add_new(0x00090010, "LO", "ACME PRIVATE")
    ds.add_new(0x00091001, "LO", f"{who.others[1].last} {who.others[1].first}")
    ds.add_new(0x00091002, "UN", people.number(rng).encode())
    block = Dataset()
    block.add_new(0x00110010, "LO", "ACME PRIVATE")
    block.add_new(0x00111001, "LT", f"seen by {who.others[2].first} {who.others[2].last}")
    ds.add_new(0x00091003, "SQ", Sequence([block]))
    plant("private", who.others[1].last, who.others[1].first, who.others[2].last, ds[0x00091002].value.decode())

    ds.add_new(0x60000022, "LO", f"overlay of {p.last}")
    planted, _ = report(seed + 50_000_000, who)
    content = Dataset()
    content.RelationshipType, content.ValueType, content.TextValue = "CONTAINS", "TEXT", planted.text
    ds.ContentSequence = Sequence([content])
    _note(out, "", TREE, planted)
    out.secrets = [(place, s) for place, s in out.secrets if s.casefold() not in _clinical_words(out)]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.SourceApplicationEntityTitle = p.last[:16].encode("ascii", "ignore").decode() or "AE"
    return out


def _clinical_words(out: PlantedHeader) -> set[str]:
    return KEPT | {w.casefold() for _, text in out.clinical for w in re.findall(r"\w+", text)}


def _descriptor(out: PlantedHeader, ds: Dataset, keyword: str, clinical: str, who: Cast, rng: random.Random) -> None:
    planted = Planted("")
    template = rng.choice(AROUND).replace("{clinical}", clinical)
    fill(template, who, rng, planted)
    if len(planted.text) > 64:
        planted = Planted(clinical)
    setattr(ds, keyword, planted.text)
    _note(out, keyword, "descriptor", planted)


def _comment(out: PlantedHeader, ds: Dataset, keyword: str, who: Cast, rng: random.Random) -> None:
    planted = Planted("")
    for template in rng.sample(COMMENTS, 3):
        fill(template, who, rng, planted)
        planted.text += " "
    setattr(ds, keyword, planted.text)
    _note(out, keyword, "comment", planted)


def _note(out: PlantedHeader, keyword: str, place: str, planted: Planted) -> None:
    clean = planted.text
    for start, end, kind in reversed(planted.spans):
        found = planted.text[start:end]
        parts = re.findall(r"[^\W\d_]+", found) if kind in {"name", "doctor"} else [found]
        # a year alone is any other date's year after the shift
        out.secrets += [(place, part) for part in parts if len(part) >= 3 and not re.fullmatch(r"\d{4}", part)]
        clean = clean[:start] + " " + clean[end:]
    out.clinical.append((keyword, clean))  # "": a text of the content tree

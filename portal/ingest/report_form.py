"""Reports as objects: a text becomes a Basic Text SR (PS3.3 A.35.1), a PDF or CDA an encapsulated document (A.45).

As objects they take the way of a scan: landed, de-identified with what is known of the patient, archived. No database.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
)

from portal.core.digests import keyed
from portal.ingest.rules import valid_uid

LONGEST = 200_000  # characters of a report
MOST = 50  # reports of one message or file


class BadReport(ValueError):
    """What was sent is no report that can be filed; the words quote nothing of it."""


@dataclass(frozen=True)
class Document:
    """A PDF or a CDA as it was sent; of both the text is kept when identities are removed."""

    kind: str  # pdf or cda
    raw: bytes

    @property
    def sop_class(self) -> str:
        return str(EncapsulatedPDFStorage if self.kind == "pdf" else EncapsulatedCDAStorage)

    @property
    def media_type(self) -> str:
        return "application/pdf" if self.kind == "pdf" else "text/XML"


@dataclass(frozen=True)
class Told:
    """One report and whose it is, as it was sent. Names as DICOM writes them (PS3.5 section 6.2.1)."""

    text: str
    patient_id: str = ""
    patient_issuer: str = ""
    patient_name: str = ""
    patient_birth: str = ""  # YYYYMMDD
    patient_sex: str = ""
    other_ids: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    address: str = ""
    phones: tuple[str, ...] = ()
    accession: str = ""
    study_uid: str = ""  # where the sender says it
    study_date: str = ""
    study_time: str = ""
    description: str = ""
    referring: str = ""
    readers: tuple[str, ...] = ()
    institution: str = ""
    written: str = ""  # YYYYMMDDHHMMSS; empty: unknown
    document: Document | None = field(default=None, repr=False)  # in place of the text


def own_study_uid(organisation_id: int, patient_id: str, accession: str) -> str:
    """The UID of the study of a report that names none: of the order it belongs to."""
    return _uid(f"study\n{organisation_id}\n{patient_id}\n{accession}")


def check(told: Told) -> Told:
    """Raise BadReport for a report that cannot be filed."""
    if not told.document and not told.text.strip():
        raise BadReport("The report has no text.")
    if len(told.text) > LONGEST:
        raise BadReport(f"The text is longer than {LONGEST} characters.")
    if not told.patient_id and not (told.patient_name.strip("^ ") and told.patient_birth):
        raise BadReport("A patient ID, or a name and a birth date, is needed.")
    if not told.accession and not told.study_uid:
        raise BadReport("An accession number or a study UID is needed, by which its scan is found.")
    if len(told.patient_id) > 64 or len(told.accession) > 16:
        raise BadReport("A patient ID has at most 64 characters, an accession number 16.")
    if told.study_uid and not valid_uid(told.study_uid):
        raise BadReport("The study UID is none.")
    for day in (told.patient_birth, told.study_date):
        if day and not _is_date(day):
            raise BadReport("A date is none.")
    return told


def encode(told: Told, organisation_id: int) -> bytes:
    """A Basic Text SR or an encapsulated document in a DICOM file; the same report always makes the same bytes."""
    study = told.study_uid or own_study_uid(organisation_id, told.patient_id, told.accession)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality = BasicTextSRStorage, "SR"
    told_by = repr(told)
    if told.document:
        ds.SOPClassUID, ds.Modality = told.document.sop_class, "DOC"
        told_by += hashlib.sha256(told.document.raw).hexdigest()
    ds.StudyInstanceUID = study
    # documents and texts are different modalities, so different series, until both are reports
    ds.SeriesInstanceUID = _uid(f"series{'' if not told.document else ' DOC'}\n{organisation_id}\n{study}")
    ds.SOPInstanceUID = _uid(f"report\n{organisation_id}\n{study}\n{told_by}")
    ds.PatientID, ds.IssuerOfPatientID, ds.PatientName = told.patient_id, told.patient_issuer[:64], told.patient_name
    ds.PatientBirthDate, ds.PatientSex = told.patient_birth, told.patient_sex
    ds.OtherPatientIDs, ds.OtherPatientNames = _most(told.other_ids), _most(told.other_names)
    ds.PatientAddress, ds.PatientTelephoneNumbers = told.address[:64], [one[:16] for one in told.phones]
    ds.AccessionNumber, ds.StudyID = told.accession, ""
    ds.StudyDate, ds.StudyTime, ds.StudyDescription = told.study_date, told.study_time, told.description[:64]
    ds.ReferringPhysicianName, ds.NameOfPhysiciansReadingStudy = told.referring, _most(told.readers)
    ds.InstitutionName, ds.Manufacturer = told.institution[:64], ""
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    at = told.written or told.study_date + told.study_time
    ds.ContentDate, ds.ContentTime = at[:8], at[8:14]
    if told.document:
        _enclose(ds, told.document)
    else:
        ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
        ds.ReferencedPerformedProcedureStepSequence = ds.PerformedProcedureCodeSequence = Items()
        write_text(ds, told.text)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _enclose(ds: Dataset, document: Document) -> None:
    """Give a data set a document as its content (PS3.3 C.24.2)."""
    ds.BurnedInAnnotation, ds.DocumentTitle, ds.ConceptNameCodeSequence = "YES", "", Items()
    ds.EncapsulatedDocument = document.raw + b"\0" * (len(document.raw) % 2)
    ds.EncapsulatedDocumentLength = len(document.raw)
    ds.MIMETypeOfEncapsulatedDocument = document.media_type
    if document.kind == "cda":
        ds.HL7InstanceIdentifier = ""


def write_text(ds: Dataset, text: str) -> None:
    """Give a data set the content tree of a report that is one text (PS3.16 TID 2000, as plain as it gets)."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = Items([_code("121070", "DCM", "Findings")])
    item.TextValue = text.replace("\r\n", "\n").replace("\r", "\n")
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Items([_code("18748-4", "LN", "Diagnostic Imaging Report")])
    ds.ContentSequence = Items([item])


def _most(found: Sequence[str]) -> list[str]:
    return [one[:64] for one in dict.fromkeys(found)][:20]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _is_date(text: str) -> bool:
    try:
        return len(text) == 8 and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _uid(seed: str) -> str:
    return f"2.25.{int(keyed('report', seed)[:32], 16)}"

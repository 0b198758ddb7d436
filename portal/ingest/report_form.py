"""Reports as text: HL7 v2 ORU^R01 (chapter 7.3.1) or JSON become Basic Text SR objects (PS3.3 A.35.1).

As objects they take the way of a scan: landed, de-identified with what is known of the patient, archived. No database.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import hl7
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian

from portal.core.digests import keyed
from portal.ingest.rules import valid_uid

LONGEST = 200_000  # characters of a report
MOST = 50  # reports of one message
TEXTS, CODED, NUMBERS = {"TX", "FT", "ST"}, {"CE", "CWE", "CNE"}, {"NM", "SN"}
EMBEDDED = {"ED", "RP"}
CHARSETS = {"": "utf-8", "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8", "ASCII": "ascii", "8859/1": "latin-1",
            "8859/2": "iso8859-2", "8859/5": "iso8859-5", "8859/7": "iso8859-7", "8859/9": "iso8859-9",
            "8859/15": "iso8859-15"}  # fmt: skip  # HL7 table 0211
STUDY_UID = ("110180", "STUDY INSTANCE UID")  # identifiers by which an OBX names the study


class BadReport(ValueError):
    """What was sent is no report that can be filed; the words quote nothing of it."""


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


def own_study_uid(organisation_id: int, patient_id: str, accession: str) -> str:
    """The UID of the study of a report that names none: of the order it belongs to."""
    return _uid(f"study\n{organisation_id}\n{patient_id}\n{accession}")


def check(told: Told) -> Told:
    """Raise BadReport for a report that cannot be filed."""
    if not told.text.strip():
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
    """A Basic Text SR in a DICOM file; the same report always makes the same bytes."""
    study = told.study_uid or own_study_uid(organisation_id, told.patient_id, told.accession)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality = BasicTextSRStorage, "SR"
    ds.StudyInstanceUID = study
    ds.SeriesInstanceUID = _uid(f"series\n{organisation_id}\n{study}")
    ds.SOPInstanceUID = _uid(f"report\n{organisation_id}\n{study}\n{told!r}")
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
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ReferencedPerformedProcedureStepSequence = ds.PerformedProcedureCodeSequence = Items()
    write_text(ds, told.text)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def write_text(ds: Dataset, text: str) -> None:
    """Give a data set the content tree of a report that is one text (PS3.16 TID 2000, as plain as it gets)."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = Items([_code("121070", "DCM", "Findings")])
    item.TextValue = text.replace("\r\n", "\n").replace("\r", "\n")
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Items([_code("18748-4", "LN", "Diagnostic Imaging Report")])
    ds.ContentSequence = Items([item])


def read_hl7(raw: bytes) -> list[Told]:
    """The reports of an ORU^R01 message, one for each OBR with text. Raises BadReport."""
    raw = raw.strip(b"\x0b\x1c\r\n \x00")
    if not raw.startswith(b"MSH") or len(raw) < 8:
        raise BadReport("This is no HL7 v2 message: it does not begin with MSH.")
    try:
        message = hl7.parse(re.sub(r"\r?\n", "\r", _decoded(raw)))
        return list(_reports(message))
    except BadReport:
        raise
    except (hl7.HL7Exception, ValueError, IndexError, KeyError) as error:
        raise BadReport(f"The message cannot be read ({type(error).__name__}).") from None


def _decoded(raw: bytes) -> str:
    """The text of a message in the character set of its MSH-18; without one UTF-8, else Latin 1."""
    parts = re.split(rb"[\r\n]", raw, maxsplit=1)[0].split(raw[3:4])
    said = parts[17].split(raw[5:6])[0].decode("ascii", "replace").strip().upper() if len(parts) > 17 else ""
    if said not in CHARSETS:
        raise BadReport("The character set of the message is not known.")
    try:
        return raw.decode(CHARSETS[said])
    except UnicodeDecodeError:
        if said:
            raise BadReport("The message is not in the character set that it states.") from None
        return raw.decode("latin-1")


class _Segment:
    """A segment by the numbers of its fields; empty text for what is not there."""

    def __init__(self, message: hl7.Message, segment: hl7.Segment) -> None:
        self.segment, self.escape = segment, message.esc
        _, self.fields, self.repeats, self.parts, self.sub = message.separators

    def raw(self, field: int) -> str:
        return str(self.segment[field]) if field < len(self.segment) else ""

    def all(self, field: int, part: int = 1) -> list[str]:
        """One component of each repetition."""
        found = [one.split(self.parts) for one in self.raw(field).split(self.repeats)]
        return [self.plain(one[part - 1]) for one in found if len(one) >= part and one[part - 1]]

    def one(self, field: int, part: int = 1) -> str:
        return next(iter(self.all(field, part)), "")

    def plain(self, text: str) -> str:
        return self.words(text.replace(self.sub, " ")).strip() if text != '""' else ""

    def words(self, text: str) -> str:
        """Text without escape sequences (chapter 2.7). The library's way writes what it cannot read into the log."""
        meant = {"F": self.fields, "S": self.parts, "T": self.sub, "R": self.repeats, "E": self.escape}

        def one(found: re.Match[str]) -> str:
            said = found[1]
            if said in meant:
                return meant[said]
            if said[:1] == "X" and re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", said[1:]):
                return bytes.fromhex(said[1:]).decode("utf-8", "replace")
            return "\n" if said[:3] in {".br", ".sp", ".ce"} else ""

        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]*){mark}", one, text)

    def names(self, field: int, first: int = 1) -> list[str]:
        """Persons as DICOM writes them; `first`: the component of the family name (XPN 1, XCN 2)."""
        out = []
        for one in self.raw(field).split(self.repeats):
            parts = [self.plain(part) for part in one.split(self.parts)[first - 1 :]] + [""] * 5
            family, given, middle, suffix, prefix = parts[:5]
            name = "^".join(part.replace("^", " ")[:64] for part in (family, given, middle, prefix, suffix)).rstrip("^")
            if name:
                out.append(name)
        return out


def _reports(message: hl7.Message) -> Iterator[Told]:
    segments = [_Segment(message, segment) for segment in message]
    head = segments[0]
    if head.one(9, 1) != "ORU":
        raise BadReport("Only results are taken here (ORU^R01).")
    base = Told("", institution=head.one(4))
    who, order, lines, found = base, base, list[str](), 0
    for segment in [*segments[1:], None]:
        kind = segment.raw(0) if segment else "END"
        if kind in {"PID", "OBR", "END"} and lines:
            found += 1
            yield replace(order, text="\n".join(lines))
        if segment is None:
            break
        if kind == "PID":
            who = order = _patient(segment, base)
            lines = []
        elif kind == "PV1":
            who = order = replace(who, referring=_first(segment.names(8, 2), who.referring))
        elif kind == "OBR":
            order, lines = _order(segment, who, head), []
        elif kind == "OBX":
            if uid := _study_uid(segment):
                order = replace(order, study_uid=uid)
            elif words := _observed(segment):
                lines.append(words)
        elif kind == "NTE":
            lines += segment.plain(segment.raw(3)).splitlines()
        if found > MOST:
            raise BadReport(f"More than {MOST} reports in one message.")
    if not found:
        raise BadReport("The message holds no text of a report.")


def _patient(pid: _Segment, base: Told) -> Told:
    sex = pid.one(8).upper()
    ids = pid.all(3) or pid.all(2)
    return replace(
        base,
        patient_id=_first(ids),
        patient_issuer=pid.one(3, 4),
        patient_name=_first(pid.names(5)),
        patient_birth=pid.one(7)[:8],
        patient_sex=sex if sex in {"F", "M", "O"} else "",
        other_ids=(*ids[1:], *pid.all(2), *pid.all(4), *pid.all(18), *pid.all(19)),
        other_names=(*pid.names(5)[1:], *pid.names(6), *pid.names(9)),
        address=" ".join(pid.plain(part) for part in pid.raw(11).split(pid.repeats)[0].split(pid.parts) if part),
        phones=(*pid.all(13), *pid.all(14)),
    )


def _order(obr: _Segment, who: Told, head: _Segment) -> Told:
    """What an OBR says: OBR-18 is where radiology has the accession number, OBR-3 and OBR-2 where it else may be."""
    begun = obr.one(7) or obr.one(22) or head.one(7)
    readers = [name for field in (32, 33, 34, 35) for name in _staff(obr, field)]
    return replace(
        who,
        accession=obr.one(18) or obr.one(3) or obr.one(2),
        study_date=begun[:8],
        study_time=re.sub(r"\D.*", "", begun[8:14]),
        description=obr.one(4, 2) or obr.one(4),
        referring=_first(obr.names(16, 2), who.referring),
        readers=tuple(readers),
        written=re.sub(r"\D.*", "", (obr.one(22) or head.one(7))[:14]),
    )


def _staff(obr: _Segment, field: int) -> list[str]:
    """Names of an NDL (OBR-32 … 35): its first component is a CNN whose parts are sub-components."""
    out = []
    for one in obr.raw(field).split(obr.repeats):
        parts = [obr.words(p).strip() for p in one.split(obr.parts)[0].split(obr.sub)]
        if any(parts[1:3]):
            out.append("^".join(parts[1:3]).rstrip("^"))
    return out or obr.names(field, 2)


def _study_uid(obx: _Segment) -> str:
    name = {obx.one(3).upper(), obx.one(3, 2).upper()}
    return obx.one(5) if name & set(STUDY_UID) else ""


def _observed(obx: _Segment) -> str:
    """The words of one observation. Raises BadReport for an embedded document, which nothing here reads."""
    kind = obx.one(2).upper()
    if kind in EMBEDDED:
        raise BadReport("An embedded document is not taken; send the text, or a DICOM encapsulated PDF.")
    if kind in TEXTS:
        return "\n".join(obx.words(one) for one in obx.raw(5).split(obx.repeats))
    name = obx.one(3, 2) or obx.one(3)
    if kind in CODED:
        said = ", ".join(obx.all(5, 2) or obx.all(5))
    elif kind in NUMBERS:
        said = f"{' '.join(obx.plain(p) for p in obx.raw(5).split(obx.parts))} {obx.one(6)}".strip()
    else:
        said = obx.plain(obx.raw(5))
    return f"{name}: {said}" if name and said else said


def _first(found: Sequence[str], other: str = "") -> str:
    return found[0] if found else other


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

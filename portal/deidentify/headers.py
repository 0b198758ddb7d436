"""Header fields as sources of the lists: which element says what kind of thing. Pure; no database, no files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache, lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from portal.deidentify import rules
from portal.deidentify.table import Options
from portal.deidentify.table import rows as table_rows
from portal.deidentify.text import Context, Lists
from portal.deidentify.text.passes import learn
from portal.deidentify.text.words import words_of

TEXT_VRS = frozenset({"LO", "SH", "CS", "AE", "UC", "ST", "LT", "UT"})
FREE_TEXT_VRS = frozenset({"ST", "LT", "UT"})
PERSONS = re.compile(r"Name$|Physician|Operator|Observer|Person$|Author|Recorder|Transcriber|EnteredBy")
NOT_PERSONS = frozenset({"ManufacturerModelName", "StationName", "ProtocolName", "SequenceName", "PulseSequenceName"})
_KINDS = {
    "id": """
        PatientID OtherPatientIDs StudyID AdmissionID ServiceEpisodeID MedicalRecordLocator MilitaryRank
        RequestedProcedureID ScheduledProcedureStepID PerformedProcedureStepID
        PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest IssuerOfPatientID
        InsurancePlanIdentification
    """,
    "accession": """
        AccessionNumber
    """,
    "phone": """
        PatientTelephoneNumbers ReferringPhysicianTelephoneNumbers PersonTelephoneNumbers
    """,
    "address": """
        PatientAddress InstitutionAddress ReferringPhysicianAddress PersonAddress CountryOfResidence
        RegionOfResidence
    """,
    "hospital": """
        InstitutionName ResponsibleOrganization CurrentPatientLocation PatientInstitutionResidence
        InstitutionalDepartmentName RequestingService
    """,
    "name": """
        PatientMotherBirthName PatientBirthName OtherPatientNames
    """,
}
ID_KINDS = {keyword: kind for kind, keywords in _KINDS.items() for keyword in keywords.split()}
WHITE = frozenset(
    {
        "Modality",
        "BodyPartExamined",
        "Manufacturer",
        "ManufacturerModelName",
        "SequenceName",
        "ScanOptions",
        "ViewPosition",
    }
)
BIRTH_FORMS = (
    *("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%m/%d/%y"),
    *("%d %b %Y", "%d %B %Y", "%B %d, %Y", "%b %d, %Y", "%d%b%Y", "%d-%b-%Y"),
)
LEAST_ID = 4  # shorter numbers stand in too many places


def gather(dataset: Dataset, texts: tuple[str, ...] = (), known: Lists = Lists()) -> Lists:  # noqa: B008
    """First pass over a header and the texts that belong to it: this scan's lists (seed 001, FIG. 10A).

    texts  report and OCR texts of the scan
    known  the organisation's lists
    """
    black: list[tuple[str, str]] = []
    white: list[str] = []
    free: list[tuple[str, str]] = [("report", text) for text in texts]
    for element in elements(dataset):
        values = [str(v) for v in (element.value if element.VM > 1 else [element.value]) if v]
        keyword = element.keyword
        if kind := kind_of(element):
            least = LEAST_ID if kind in {"id", "accession", "phone", "address", "hospital"} else 1
            black += [(v, kind) for v in values if len(v.strip()) >= least]
        elif keyword == "PatientBirthDate":
            black += [(form, "date") for v in values for form in birth_forms(v)]
        elif keyword in WHITE:
            white += [w for v in values for w in words_of(v)]
        elif element.VR in FREE_TEXT_VRS or int(element.tag) in described():
            free += [("report" if element.VR in FREE_TEXT_VRS else "descriptor", v) for v in values if len(v) > 5]
    mine = Lists.of([(text, kind) for text, kind in black if text != "REMOVED"], white) | known
    return _learnt(tuple(sorted(set(free))), mine)


@lru_cache(maxsize=32)
def _learnt(texts: tuple[tuple[str, str], ...], lists: Lists) -> Lists:
    return learn([(text, Context(field=field)) for field, text in texts], lists)


@cache
def described() -> frozenset[int]:
    """Tags of descriptors that are cleaned rather than removed."""
    return frozenset(tag for tag, row in table_rows(Options()).items() if row.action == "C")


def kind_of(element: DataElement) -> str | None:
    """What kind of identifier an element holds by its type, None for one that holds none or any text."""
    keyword = element.keyword
    if keyword in ID_KINDS:
        return ID_KINDS[keyword]
    person = element.VR == "PN" or (element.VR in TEXT_VRS and PERSONS.search(keyword) and keyword not in NOT_PERSONS)
    if not person:
        return None
    return "name" if "Patient" in keyword or "Responsible" in keyword or "Subject" in keyword else "doctor"


def birth_forms(value: str) -> Iterator[str]:
    """A birth date in the formats in which it is found again."""
    born = rules.parse_date(value)
    if born is None:
        return
    for form in BIRTH_FORMS:
        yield born.strftime(form)
    yield f"{born.month}/{born.day}/{born.year}"
    yield f"{born.day}.{born.month}.{born.year}"


def elements(dataset: Dataset) -> Iterator[DataElement]:
    """Yield the elements that may hold identifiers, at every depth, without decoding the others."""
    for tag, raw in list(dataset.items()):
        vr = raw.VR or dictionary_vr(tag)
        if vr == "SQ":
            for item in dataset[tag].value or ():
                yield from elements(item)
        elif vr == "PN" or vr == "DA" or vr in TEXT_VRS:
            yield dataset[tag]


def dictionary_vr(tag: BaseTag) -> str:
    return dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else "UN"


def study_day(dataset: Dataset) -> date | None:
    """The study's day, by which dates without a year are read."""
    return rules.parse_date(str(dataset.get("StudyDate") or ""))

"""C-FIND as provider (PS3.4 Annex C): a peer searches its own organisation's archive, under pseudonyms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections, connection
from django.http import QueryDict
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from portal.archive import qido
from portal.archive.queries import search_in
from portal.archive.search import INSTANCE, SERIES, STUDY
from portal.core.errors import Refused
from portal.peers.callers import Caller
from portal.peers.store import status

log = structlog.get_logger(__name__)
PENDING, CANCELLED, DONE = 0xFF00, 0xFE00, 0x0000
BAD_IDENTIFIER, UNABLE = 0xA900, 0xC001
PAGE = 200
LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
SEARCHED = {"STUDY": STUDY, "SERIES": SERIES, "IMAGE": INSTANCE}
PATIENT_KEYS = ("PatientID", "PatientName", "PatientSex")
PATIENT_TAGS = {"00100010": "PN", "00100020": "LO", "00100040": "CS"}
STUDIES_OF_PATIENT = "00201200"  # Number of Patient Related Studies
# asked for by their presence only; matching on them means nothing
COMPUTED = {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances",
            "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
            "InstanceAvailability", "RetrieveAETitle", "QueryRetrieveLevel", "SpecificCharacterSet",
            "TimezoneOffsetFromUTC"}  # fmt: skip


def on_find(event: Any) -> Iterator[tuple[Any, Dataset | None]]:
    """Answer a query one match after another; a C-CANCEL ends it."""
    caller: Caller = event.assoc.concord
    try:
        close_old_connections()
        patient_root = event.request.AffectedSOPClassUID == PatientRootQueryRetrieveInformationModelFind
        for answer in answers(caller.organisation_id, event.identifier, patient_root, str(event.assoc.ae.ae_title)):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield PENDING, answer
        yield DONE, None
    except Refused as error:
        yield status(BAD_IDENTIFIER, error.message), None
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        yield status(UNABLE, "The database does not answer; ask again later."), None
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        log.warning("dimse.query_not_understood", error=type(error).__name__)
        yield status(UNABLE, "The query cannot be understood."), None
    finally:
        connection.close()


def answers(organisation_id: int, identifier: Dataset, patient_root: bool, title: str) -> Iterator[Dataset]:
    """The matches of an identifier in one organisation's archive. Raises Refused for what it may not ask."""
    level = level_of(identifier, patient_root)
    query = as_query(identifier)
    wanted = [element for element in identifier if element.tag.group != 2 and not element.tag.is_private]
    for row in rows(organisation_id, level, query):
        yield chosen(row, wanted, level, title)


def level_of(identifier: Dataset, patient_root: bool) -> str:
    """The level that is asked for. Raises Refused when there is none, or the model does not have it."""
    level = str(identifier.get("QueryRetrieveLevel", "")).strip().upper()
    if level not in LEVELS[0 if patient_root else 1 :]:
        raise Refused("bad_query", "Query/Retrieve Level is missing or unknown.", status=400)
    return level


def as_query(identifier: Dataset) -> QueryDict:
    """The keys that match something, as the archive's search takes them; sequences are universal."""
    query = QueryDict(mutable=True)
    for element in identifier:
        keyword = keyword_for_tag(element.tag)
        if not keyword or keyword in COMPUTED or element.VR == "SQ" or element.tag.is_private:
            continue
        value = _text(element)
        if value:
            query[keyword] = value
    return query


def _text(element: DataElement) -> str:
    if element.value in (None, ""):
        return ""
    values = element.value if element.VM > 1 else [element.value]
    return ("," if element.VR == "UI" else "\\").join(str(value).strip() for value in values)


def rows(organisation_id: int, level: str, query: QueryDict) -> Iterator[dict[str, Any]]:
    """DICOM JSON of the matches, page by page: what QIDO-RS answers."""
    if level == "PATIENT":
        yield from _patients(organisation_id, query)
        return
    query["limit"], query["includefield"] = str(PAGE), "all"
    while True:
        found = search_in([organisation_id], qido.ask(SEARCHED[level], (), query).search)
        yield from map(json.loads, found.items)
        if not found.more:
            return
        query["after"] = str(found.last)


def _patients(organisation_id: int, query: QueryDict) -> Iterator[dict[str, Any]]:
    """A patient's studies are searched, and each patient is answered once."""
    known = QueryDict(mutable=True)
    for name in PATIENT_KEYS:
        if name in query:
            known[name] = str(query[name])
    patients: dict[str, dict[str, Any]] = {}
    for study in rows(organisation_id, "STUDY", known):
        own = {tag: study.get(tag, {"vr": vr}) for tag, vr in PATIENT_TAGS.items()}
        name = str(own["00100020"].get("Value", [""])[0])
        patient = patients.setdefault(name, {**own, STUDIES_OF_PATIENT: {"vr": "IS", "Value": [0]}})
        patient[STUDIES_OF_PATIENT]["Value"][0] += 1
    yield from patients.values()


def chosen(row: dict[str, Any], wanted: list[DataElement], level: str, title: str) -> Dataset:
    """One answer: what was asked for and what names it (PS3.4 C.4.1.1.3), in UTF-8."""
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    for element in wanted:
        tag = f"{int(element.tag):08X}"
        if tag == "00080005":
            continue
        there = row.get(tag)
        if there and "BulkDataURI" not in there:
            answer.update(Dataset.from_json({tag: there}))
        else:
            answer.add_new(element.tag, element.VR, None)
    keys = (UNIQUE[one] for one in LEVELS[1 : LEVELS.index(level) + 1]) if level != "PATIENT" else ("PatientID",)
    for keyword in keys:
        if keyword not in answer or not answer[keyword].value:
            answer.update(Dataset.from_json({k: v for k, v in row.items() if keyword_for_tag(k) == keyword}))
    answer.QueryRetrieveLevel = level
    answer.RetrieveAETitle = title
    answer.InstanceAvailability = "ONLINE"
    return answer

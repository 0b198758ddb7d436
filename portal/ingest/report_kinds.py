"""Files that are handed in as reports: what they are, and whose they say they are. No database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from portal.ingest.report_form import LONGEST, MOST, BadReport, Document, Told
from portal.ingest.rules import valid_uid

UNSAFE_XML = (b"<!DOCTYPE", b"<!ENTITY")
# by which a scan is found; a file and the form beside it may not disagree in them
TELLING = {"patient_id": "patient ID", "accession": "accession number", "study_uid": "study UID"}
NOT_TAKEN = "This is no report that can be read here: text, HL7 v2 (ORU^R01), PDF, CDA or JSON."
OTHERS = {
    b"PK\x03\x04": "Word files and zip files are not taken; save the report as PDF or text.",
    b"\xd0\xcf\x11\xe0": "Word files are not taken; save the report as PDF or text.",
    b"{\\rtf": "Rich text is not taken; save the report as PDF or plain text.",
}


def kind_of(raw: bytes) -> str:
    """hl7, pdf, cda, json or text. Raises BadReport for anything else."""
    head = raw[:1024].removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n\t ")
    if raw[128:132] == b"DICM":
        raise BadReport("This is a DICOM file; the upload page takes it.")
    for mark, words in OTHERS.items():
        if head.startswith(mark):
            raise BadReport(words)
    if head.startswith(b"MSH"):
        return "hl7"
    if document := document_of(raw):
        return document.kind
    if head[:1] in {b"{", b"["}:
        return "json"
    if head.startswith(b"<"):
        raise BadReport("The XML is no CDA document.")
    _plain(raw)
    return "text"


def document_of(raw: bytes) -> Document | None:
    """A PDF or CDA, known by its content; None for anything else."""
    if b"%PDF-" in raw[:1024]:
        return Document("pdf", raw)
    head = raw.lstrip(b"\xef\xbb\xbf\r\n\t ")
    return Document("cda", raw) if head.startswith(b"<") and b"ClinicalDocument" in head[:65_536] else None


def reports_of(
    raw: bytes, said: Told, hl7: Callable[[bytes], list[Told]], from_json: Callable[[dict[str, Any]], Told]
) -> list[Told]:
    """The reports of a file; what it does not say of its patient is taken from `said`.

    hl7, from_json  readers of a message and of one JSON object
    Raises BadReport, also when file and form name different patients or scans.
    """
    match kind_of(raw):
        case "hl7":
            told = hl7(raw)
        case "json":
            told = [from_json(one) for one in _objects(raw)]
        case "pdf":
            told = [Told("", document=Document("pdf", raw))]
        case "cda":
            told = [cda_told(raw)]
        case _:
            told = [Told(_plain(raw))]
    return [_joined(one, said) for one in told]


def _joined(told: Told, said: Told) -> Told:
    for name, words in TELLING.items():
        one, other = getattr(told, name), getattr(said, name)
        if one and other and one != other:
            raise BadReport(f"The file names another {words} than the form.")
    fields = {name: value for name, value in vars(said).items() if value and not getattr(told, name)}
    fields.pop("text", None)
    return replace(told, **fields)


def _objects(raw: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise BadReport("The JSON cannot be read.") from None
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(one, dict) for one in rows):
        raise BadReport("The JSON is no report: one object, or a list of them.")
    if len(rows) > MOST:
        raise BadReport(f"More than {MOST} reports in one file.")
    return rows


def _plain(raw: bytes) -> str:
    """Text in UTF-8 or, as Windows writes it, in code page 1252. Raises BadReport for what has control characters."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            raise BadReport(NOT_TAKEN) from None
    if re.search(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]", text):
        raise BadReport(NOT_TAKEN)
    if len(text) > LONGEST:
        raise BadReport(f"The text is longer than {LONGEST} characters.")
    return text


def cda_told(raw: bytes) -> Told:
    """A CDA and whose its header says it is (HL7 CDA R2; PS3.20: the order's id, the service's id). Raises BadReport.

    What the text holds is read when identities are removed; here nothing but the header is looked at.
    """
    if any(mark in raw for mark in UNSAFE_XML):
        raise BadReport("The CDA declares a document type, which none needs.")
    try:
        root = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        raise BadReport("The CDA is not well-formed.") from None
    if _name(root) != "ClinicalDocument":
        raise BadReport("The XML is no CDA document.")
    person = _at(root, "recordTarget", "patientRole", "patient")
    name = _at(root, "recordTarget", "patientRole", "patient", "name")
    service = _value(root, "root", "documentationOf", "serviceEvent", "id")
    day = re.sub(r"\D.*", "", _value(root, "value", "documentationOf", "serviceEvent", "effectiveTime"))
    return Told(
        "",
        patient_id=_value(root, "extension", "recordTarget", "patientRole", "id"),
        patient_name="^".join([_words(name, "family"), _words(name, "given")]).rstrip("^"),
        patient_birth=_value(person, "value", "birthTime")[:8],
        patient_sex=sex if (sex := _value(person, "code", "administrativeGenderCode")) in {"F", "M"} else "",
        accession=_value(root, "extension", "inFulfillmentOf", "order", "id"),
        study_uid=service if valid_uid(service) else "",
        study_date=day[:8] if len(day) >= 8 else "",
        document=Document("cda", raw),
    )


def _at(element: ElementTree.Element | None, *names: str) -> ElementTree.Element | None:
    """The first element by the names of its way, whatever its namespace."""
    for name in names:
        element = next((e for e in element if _name(e) == name), None) if element is not None else None
    return element


def _value(element: ElementTree.Element | None, attribute: str, *names: str) -> str:
    found = _at(element, *names)
    return (found.get(attribute) or "").strip() if found is not None else ""


def _words(element: ElementTree.Element | None, name: str) -> str:
    found = _at(element, name)
    return " ".join("".join(found.itertext()).split()).replace("^", " ")[:64] if found is not None else ""


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]

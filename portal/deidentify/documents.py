"""Encapsulated documents: the text of a PDF or CDA is kept as a report, the document itself goes (PS3.15 E.1-1).

A page cannot be rewritten safely, its text can: the object becomes a Basic Text SR with the same UIDs, and the text
passes clean it like any report. What has no text, or cannot be read, is set aside.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EncapsulatedCDAStorage, EncapsulatedPDFStorage

from portal.deidentify import pdf, scanned
from portal.deidentify.text import Lists
from portal.deidentify.text.lists import normal
from portal.ingest.inspect import Damaged
from portal.ingest.report_form import LONGEST, write_text

CLASSES = frozenset({EncapsulatedPDFStorage, EncapsulatedCDAStorage})
LEAST_TEXT = 20  # characters; a scanned page has fewer
DOCUMENT = ("EncapsulatedDocument", "EncapsulatedDocumentLength", "MIMETypeOfEncapsulatedDocument", "DocumentTitle",
            "ListOfMIMETypes", "HL7InstanceIdentifier", "SourceInstanceSequence", "BurnedInAnnotation")  # fmt: skip
BLOCKS = frozenset({"paragraph", "item", "tr", "br", "caption", "title", "list", "table", "section"})
# elements of a CDA's header whose names are no member of staff's
NAMING = {"patient": "name", "guardian": "name"} | dict.fromkeys(
    ("providerOrganization", "representedOrganization", "representedCustodianOrganization",
     "serviceProviderOrganization"), "hospital"
)  # fmt: skip


def unpack(dataset: Dataset) -> Lists:
    """Turn an encapsulated document into a report, in place; other objects stay as they are.

    Returns what a document's own header says of persons and places. Raises Damaged when it has no text to be read.
    """
    if str(dataset.get("SOPClassUID", "")) not in CLASSES:
        return Lists()
    raw = bytes(dataset.get("EncapsulatedDocument") or b"")
    if size := dataset.get("EncapsulatedDocumentLength"):
        raw = raw[: int(size)]
    lists = Lists()
    if dataset.SOPClassUID == EncapsulatedPDFStorage:
        text = _readable(pdf.text(raw, LONGEST))
        if drawn := len(text) < LEAST_TEXT:
            text = _readable(scanned.text(raw))
    else:
        (text, lists), drawn = cda_text(raw), False
        text = _readable(text)
    if len(text) < LEAST_TEXT:
        raise Damaged("document_not_read", "It holds no text, nor does a picture of its pages.")
    if len(text) > LONGEST:
        raise Damaged("document_not_read", f"Its text is longer than {LONGEST} characters.")
    for keyword in DOCUMENT:
        if keyword in dataset:
            del dataset[keyword]
    dataset.SOPClassUID, dataset.Modality = BasicTextSRStorage, "SR"
    dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    if drawn:
        dataset.CompletionFlagDescription = "Text read from scanned pages"
    write_text(dataset, text)
    return lists


def cda_text(raw: bytes) -> tuple[str, Lists]:
    """(narrative of a CDA document, whom its header names): HL7 CDA R2, sections' titles and texts.

    Raises Damaged for what is no CDA, and for one whose body is no text.
    """
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise Damaged("document_not_read", "The CDA declares a document type, which none needs.")
    try:
        root = ElementTree.fromstring(raw.rstrip(b"\0 "))
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise Damaged("document_not_read", f"The CDA is not well-formed ({type(error).__name__}).") from None
    if _name(root) != "ClinicalDocument":
        raise Damaged("document_not_read", "The XML is no CDA document.")
    body = next((e for e in root.iter() if _name(e) in {"structuredBody", "nonXMLBody"}), None)
    if body is None:
        raise Damaged("document_not_read", "The CDA has no body.")
    text = _plain_body(body) if _name(body) == "nonXMLBody" else "".join(_narrative(body))
    return text, Lists.of([(word, kind) for word, kind in _named(root, body) if len(normal(word)) > 1])


def _plain_body(body: ElementTree.Element) -> str:
    holder = next((e for e in body if _name(e) == "text"), None)
    if holder is None or holder.get("mediaType", "text/plain") != "text/plain":
        raise Damaged("document_not_read", "The body of the CDA is another document.")
    said = "".join(holder.itertext())
    if holder.get("representation") != "B64":
        return said
    try:
        return base64.b64decode(said).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Damaged("document_not_read", "The body of the CDA cannot be decoded.") from None


def _narrative(element: ElementTree.Element) -> Iterator[str]:
    """Titles and texts of sections, in order; entries repeat them in codes."""
    for child in element:
        if _name(child) in {"title", "text"}:
            yield "".join(_words(child)) + "\n"
        elif _name(child) in {"component", "section"}:
            yield from _narrative(child)


def _words(element: ElementTree.Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        yield from _words(child)
        yield " " if _name(child) in {"td", "th"} else "\n" if _name(child) in BLOCKS else ""
        yield child.tail or ""


def _named(root: ElementTree.Element, body: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """What stands in the header in names, ids, addresses and telephone numbers, with its kind."""
    above = {child: parent for parent in root.iter() for child in parent}
    inside = set(body.iter())
    for element in root.iter():
        if element in inside:
            continue
        owner = next((NAMING[_name(e)] for e in _above(element, above) if _name(e) in NAMING), "doctor")
        whole = _joined(element)
        match _name(element):
            case "name" if whole:
                yield whole, owner
            case "addr" if whole:
                yield whole, "address"
                yield from ((_joined(line), "address") for line in element if _name(line) == "streetAddressLine")
            case "telecom":
                said = re.sub(r"^\w+:", "", element.get("value", ""))
                yield said, "email" if "@" in said else "phone"
            case "id" if any(_name(e) == "patientRole" for e in [above.get(element, root)]):
                yield element.get("extension", ""), "id"


def _above(
    element: ElementTree.Element, above: dict[ElementTree.Element, ElementTree.Element]
) -> Iterator[ElementTree.Element]:
    while (parent := above.get(element)) is not None:
        yield parent
        element = parent


def _joined(element: ElementTree.Element) -> str:
    """The words in an element, without a name's titles."""
    parts = [element.text or ""]
    parts += ["".join(e.itertext()) + (e.tail or "") for e in element if _name(e) not in {"prefix", "suffix"}]
    return " ".join(" ".join(parts).split())


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


def _readable(text: str) -> str:
    """Without control characters and empty runs of lines; a hyphenated line end joins its word."""
    text = re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_])", "", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(c for c in text if c == "\n" or c == "\t" or c.isprintable())
    return re.sub(r"[ \t]*\n(?:[ \t]*\n)+", "\n\n", re.sub(r"[ \t]{2,}", " ", text)).strip()

"""DICOM JSON (PS3.18 annex F) as the Native DICOM Model in XML (PS3.19 section A.1), and back."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pydicom.datadict import keyword_for_tag

SPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
WHOLE = {"SL", "SS", "UL", "US", "SV", "UV", "IS"}
FRACTIONS = {"FL", "FD", "DS"}


def encode(dataset: dict[str, Any]) -> bytes:
    """One data set as an XML document."""
    root = Element("NativeDicomModel", {"xmlns": SPACE, "xml:space": "preserve"})
    _attributes(root, dataset)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _attributes(parent: Element, dataset: dict[str, Any]) -> None:
    for tag in sorted(dataset):
        element = dataset[tag]
        given = {"tag": tag, "vr": element.get("vr", "UN")}
        if keyword := keyword_for_tag(int(tag, 16)):
            given["keyword"] = keyword
        here = SubElement(parent, "DicomAttribute", given)
        if "BulkDataURI" in element:
            SubElement(here, "BulkData", {"uri": element["BulkDataURI"]})
        elif "InlineBinary" in element:
            SubElement(here, "InlineBinary").text = element["InlineBinary"]
        for number, value in enumerate(element.get("Value", []), 1):
            if value is not None:
                _value(here, given["vr"], number, value)


def _value(parent: Element, vr: str, number: int, value: Any) -> None:
    if vr == "SQ":
        _attributes(SubElement(parent, "Item", {"number": str(number)}), value)
    elif vr == "PN" and isinstance(value, dict):
        name = SubElement(parent, "PersonName", {"number": str(number)})
        for group in NAME_GROUPS:
            if value.get(group):
                parts = zip(NAME_PARTS, str(value[group]).split("^"), strict=False)
                inner = SubElement(name, group)
                for label, text in parts:
                    if text:
                        SubElement(inner, label).text = _clean(text)
    else:
        SubElement(parent, "Value", {"number": str(number)}).text = _clean(str(value))


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return UNPRINTABLE.sub("", text)


def decode(text: bytes) -> dict[str, Any]:
    """DICOM JSON of an XML document. Raises ValueError for what is none, or declares entities."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("a document type is not accepted")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    if _local(root) != "NativeDicomModel":
        raise ValueError("this is no Native DICOM Model")
    return _dataset(root)


def _local(node: Element) -> str:
    return node.tag.rpartition("}")[2]


def _dataset(parent: Element) -> dict[str, Any]:
    return {node.get("tag", "").upper(): _element(node) for node in parent if _local(node) == "DicomAttribute"}


def _element(node: Element) -> dict[str, Any]:
    vr = node.get("vr", "UN")
    out: dict[str, Any] = {"vr": vr}
    for child in sorted(node, key=lambda one: int(one.get("number") or 0)):
        match _local(child):
            case "BulkData":
                out["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
            case "InlineBinary":
                out["InlineBinary"] = "".join((child.text or "").split())
            case "Item":
                out.setdefault("Value", []).append(_dataset(child))
            case "PersonName":
                out.setdefault("Value", []).append({_local(group): _name(group) for group in child})
            case "Value":
                out.setdefault("Value", []).append(_number(vr, child.text or ""))
    return out


def _name(group: Element) -> str:
    parts = {_local(part): part.text or "" for part in group}
    return "^".join(parts.get(label, "") for label in NAME_PARTS).rstrip("^")


def _number(vr: str, text: str) -> Any:
    if vr in WHOLE:
        return int(text)
    return float(text) if vr in FRACTIONS else text

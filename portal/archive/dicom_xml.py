"""DICOM JSON as Native DICOM Model XML (PS3.19 A.1), for clients that ask for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from portal.archive.attributes import keyword_of

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NAMES = (("FamilyName", 0), ("GivenName", 1), ("MiddleName", 2), ("NamePrefix", 3), ("NameSuffix", 4))
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_parts(data: bytes) -> Iterator[bytes]:
    """One XML document for each object of a DICOM JSON array."""
    for content in json.loads(data):
        root = ET.Element("NativeDicomModel", {"xmlns": NAMESPACE, "xml:space": "preserve"})
        _fill(root, content)
        yield ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _fill(parent: ET.Element, content: dict[str, Any]) -> None:
    for tag, element in sorted(content.items()):
        attributes = {"tag": tag, "vr": element["vr"]}
        if keyword := keyword_of(tag):
            attributes["keyword"] = keyword
        node = ET.SubElement(parent, "DicomAttribute", attributes)
        if "BulkDataURI" in element:
            ET.SubElement(node, "BulkData", {"uri": element["BulkDataURI"]})
        elif "InlineBinary" in element:
            ET.SubElement(node, "InlineBinary").text = element["InlineBinary"]
        for number, value in enumerate(element.get("Value", []), 1):
            _value(node, element["vr"], str(number), value)


def _value(node: ET.Element, vr: str, number: str, value: Any) -> None:
    if vr == "SQ":
        _fill(ET.SubElement(node, "Item", {"number": number}), value or {})
    elif vr == "PN":
        person = ET.SubElement(node, "PersonName", {"number": number})
        for group in ("Alphabetic", "Ideographic", "Phonetic"):
            if (value or {}).get(group):
                parts = value[group].split("^")
                inner = ET.SubElement(person, group)
                for name, at in NAMES:
                    if at < len(parts) and parts[at]:
                        ET.SubElement(inner, name).text = _text(parts[at])
    else:
        ET.SubElement(node, "Value", {"number": number}).text = "" if value is None else _text(str(value))


def _text(value: str) -> str:
    return UNPRINTABLE.sub("", value)

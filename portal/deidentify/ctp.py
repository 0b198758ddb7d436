"""Scripts of the RSNA Clinical Trial Processor's DICOM Anonymizer: read as rules of this profile, and written.

A script can make the profile stricter or put values in; what it would keep although the profile removes it, and what
has no counterpart here, is not taken and is named.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_VR, keyword_for_tag

from portal.deidentify.table import Row

# How much of the original is lost; a value that is given (V) holds nothing of it.
STRICT = {"X": 6, "V": 6, "Z": 5, "D": 4, "H": 4, "U": 3, "T": 2, "C": 1, "K": 0}
TEXT = frozenset({"LO", "SH", "CS", "ST", "LT", "UT", "UC", "AE", "PN"})
OURS = frozenset(
    {0x00100010, 0x00100020, 0x00080050, 0x00120062, 0x00120063, 0x00120064, 0x00280303}
)  # set by the profile
_CALL = re.compile(r"@(\w+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)(.*)", re.DOTALL)
_PLAIN = {"keep": "K", "require": "K", "remove": "X", "empty": "Z", "blank": "Z", "hashuid": "U"}
_PLAIN |= {"incrementdate": "T", "hashdate": "T", "modifydate": "T", "hash": "H", "hashptid": "H", "hashname": "H"}
_GROUPS = {"privategroups": "private groups", "curves": "curves", "overlays": "overlays"}  # these always go here
_WRITTEN = {"X": "@remove()", "Z": "@empty()", "U": "@hashuid(@UIDROOT,this)", "T": "@incrementdate(this,@DATEINC)"}
_WRITTEN |= {"K": "@keep()", "H": "@hash(this,16)", "D": "@always()REMOVED", "C": "@keep()"}


@dataclass
class Script:
    """What was read: tag → row, the script's parameters, and in words what was not taken."""

    rows: dict[int, Row] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(xml: str, table: Mapping[int, Row]) -> Script:
    """The rules of a script, as far as they are not weaker than `table`. Raises ValueError for what is no script."""
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("a script has no document type")
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    if root.tag != "script":
        raise ValueError(f"the root is <{root.tag}>, not <script>")
    out = Script({}, {p.get("t", ""): (p.text or "").strip() for p in root.iter("p")})
    for group in root.iter("r"):
        _group(group, out)
    for group in root.iter("k"):
        if group.get("en") == "T":
            out.notes.append(f"group {group.get('t')}: kept as a whole there, here by its attributes' rows")
    for element in root.iter("e"):
        if element.get("en") == "T":
            _element(element.get("t", ""), (element.text or "").strip(), out, table)
    return out


def _group(group: ET.Element, out: Script) -> None:
    what, on = group.get("t", ""), group.get("en") == "T"
    if what == "unspecifiedelements" and on:
        out.notes.append("unspecified elements: removed there, here by their rows and value representation")
    elif what in _GROUPS and not on:
        out.notes.append(f"{_GROUPS[what]}: kept there, removed here")


def _element(code: str, text: str, out: Script, table: Mapping[int, Row]) -> None:
    if not re.fullmatch(r"[0-9A-Fa-f]{8}", code):
        out.notes.append(f"{code}: not one tag")
        return
    tag = int(code, 16)
    name = keyword_for_tag(tag) or code.upper()
    if not keyword_for_tag(tag):
        out.notes.append(f"{name}: private or unknown, removed here")
        return
    if tag in OURS:
        out.notes.append(f"{name}: set by the profile itself")
        return
    row = _row(tag, text, out)
    if row is None:
        out.notes.append(f"{name}: {text[:80] or 'an empty rule'} has no counterpart")
        return
    here = table.get(tag)
    if here is not None and STRICT[row.action] < STRICT.get(here.action, 0):
        out.notes.append(f"{name}: {text[:80]} is weaker than {here.action} ({here.cited}) and was not taken")
        return
    if text.startswith("@require"):
        out.notes.append(f"{name}: kept; a file without it is not refused")
    if row.action == "T" and not text.startswith("@hashdate"):
        out.notes.append(f"{name}: moved by the patient's own offset, not by the script's")
    out.rows[tag] = row


def _row(tag: int, text: str, out: Script) -> Row | None:
    if not text.startswith("@"):
        return Row("V", "CTP", text) if text and dictionary_VR(tag) in TEXT else None
    match = _CALL.fullmatch(text)
    if match is None:
        return None
    call, inside, rest = match[1], match[2].strip(), match[3].strip()
    if call == "param" and not rest:
        return _value(tag, out.parameters.get(inside.removeprefix("@")))
    if call == "always":
        return _row(tag, rest, out) if rest else Row("Z", "CTP")
    if call not in _PLAIN or rest:
        return None
    action = _PLAIN[call]
    vr = dictionary_VR(tag)
    fits = {"U": vr == "UI", "T": vr in {"DA", "DT"}, "H": vr in TEXT}
    return Row(action, "CTP") if fits.get(action, True) else None


def _value(tag: int, value: str | None) -> Row | None:
    return Row("V", "CTP", value) if value and dictionary_VR(tag) in TEXT else None


def write(table: Mapping[int, Row], days: int | None = None) -> str:
    """The table as a script; a cleaned descriptor becomes @remove(), since there is no text finder there.

    days  the offset of dates, for @DATEINC; None leaves the parameter to be set
    """
    lines = ["<script>", f' <p t="DATEINC">{days if days is not None else ""}</p>', ' <p t="UIDROOT">2.25</p>']
    lines += list(_lines(table))
    lines += [f' <r en="T" t="{what}">Remove {words}</r>' for what, words in sorted(_GROUPS.items())]
    return "\n".join([*lines, "</script>", ""])


def _lines(table: Mapping[int, Row]) -> Iterator[str]:
    for tag, row in sorted(table.items()):
        if "x" in f"{tag:08X}".lower() or not keyword_for_tag(tag):
            continue
        vr = dictionary_VR(tag)
        if row.action == "V":
            text = f"@always(){row.value}"
        elif row.action == "C" and vr not in {"DA", "DT"}:
            text = "@remove()"
        elif row.action == "T" and vr == "TM":
            text = "@keep()"
        elif row.action == "D" and vr not in TEXT:
            text = "@empty()"
        elif row.action == "U" and vr != "UI":
            text = "@remove()" if vr == "SQ" else "@keep()"
        else:
            text = _WRITTEN[row.action]
        element = ET.Element("e", {"en": "T", "t": f"{tag:08x}", "n": keyword_for_tag(tag)})
        element.text = text
        yield " " + ET.tostring(element, encoding="unicode")

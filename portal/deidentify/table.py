"""The de-identification table: PS3.15 (2026c) table E.1-1 as data, resolved for a set of options."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("ps3_15_e1_1.csv")
DATE_VRS = frozenset({"DA", "DT", "TM"})

# Own rows beside the standard's, each for a value that can name someone and that E.1-1 leaves to an
# option or was made before the attribute: (action, why).
OWN_ROWS: Mapping[int, tuple[str, str]] = {
    0x0040A160: ("C", "text inside a content tree (E.1-1 row Content Sequence, cleaned)"),
    0x00700006: ("C", "text of a graphic annotation (E.1-1 row Graphic Annotation Sequence, cleaned)"),
    0x00204000: ("C", "image comments, cleaned"),
    0x001021B0: ("C", "additional patient history, cleaned"),
    0x00104000: ("C", "patient comments, cleaned"),
    0x00324000: ("C", "study comments, cleaned"),
    0x00401400: ("C", "requested procedure comments, cleaned"),
    0x00402400: ("C", "imaging service request comments, cleaned"),
    0x00400280: ("C", "comments on the performed procedure step, cleaned"),
    0x00401002: ("C", "reason for the requested procedure, cleaned"),
    0x00420010: ("X", "title of a document"),
    0x00081190: ("X", "address of the sender's archive"),
    0x00100024: ("X", "qualifiers of the patient ID's issuer"),
    0x00100026: ("X", "source patient group"),
    0x00100027: ("X", "group of patients"),
    0x00100033: ("X", "birth date in another calendar"),
    0x00100034: ("X", "death date in another calendar"),
    0x00100035: ("X", "calendar of the patient's dates"),
    0x00080051: ("X", "issuer of the accession number"),
    0x00400026: ("X", "identifier of the order placer"),
    0x00400027: ("X", "identifier of the order filler"),
    0x00400031: ("X", "local namespace of an issuer"),
    0x00400032: ("X", "universal entity of an issuer"),
    0x00400039: ("X", "assigning facility"),
    0x0040003A: ("X", "assigning jurisdiction"),
    0x4FFE0001: ("X", "keys of digital signatures that no longer hold"),
}

# Private elements of PS3.15 table E.3.10-1 whose values are numbers: (creator, group, element) → VRs.
SAFE_PRIVATE: Mapping[tuple[str, int, int], frozenset[str]] = {
    ("Philips PET Private Group", 0x7053, 0x00): frozenset({"DS"}),
    ("Philips PET Private Group", 0x7053, 0x09): frozenset({"DS"}),
    ("GEMS_PARM_01", 0x0043, 0x39): frozenset({"IS"}),
    ("SIEMENS MR HEADER", 0x0019, 0x0C): frozenset({"IS"}),
    ("SIEMENS MR HEADER", 0x0019, 0x0E): frozenset({"FD"}),
}

# UIDs of vocabularies and software, not of patients; everything else that is not DICOM's own is hashed.
KEPT_UIDS = frozenset(
    {
        0x0008010C,  # Coding Scheme UID
        0x00080117,  # Context UID
        0x00080118,  # Mapping Resource UID
        0x0008001A,  # Related General SOP Class UID
        0x0008001B,  # Original Specialized SOP Class UID
    }
)


@dataclass(frozen=True)
class Row:
    """What happens to one attribute, and where that is written.

    action  D/Z/X/K/C/U of PS3.15, T (date shifted), and for a site's rules H (keyed hash), V (the value given)
    """

    action: str
    cited: str
    value: str = ""


@dataclass(frozen=True)
class Options:
    """Options of PS3.15 section E.3 that are in force."""

    modified_dates: bool = True
    patient_characteristics: bool = True
    device_identity: bool = True
    descriptors: bool = True
    uids: bool = False


def resolve(basic: str, vr: str) -> str:
    """Choose one of several basic codes without knowing the IOD.

    A dummy wherever the attribute may be required with a value (…/D of type 1), an empty value where it
    may be required empty (type 2): both are legal for optional attributes too.
    """
    if basic == "X/Z/U*":
        return "U"
    if basic == "X/Z/D":
        return "Z"
    if "/" in basic:
        return basic.rsplit("/", 1)[1] if vr != "SQ" or "D" not in basic else "X"
    return basic


@cache
def rows(options: Options) -> Mapping[int, Row]:
    """Return tag → row for the options; one row of the file for every attribute of table E.1-1."""
    out: dict[int, Row] = {}
    with TABLE.open(newline="") as file:
        for line in csv.DictReader(file):
            action = resolve(line["basic"], line["vr"])
            if options.modified_dates and line["modified_dates"]:
                action = "T"
            elif options.descriptors and line["descriptors"]:
                action = "C"
            if options.patient_characteristics and line["patient_characteristics"]:
                action = line["patient_characteristics"]
            if options.device_identity and line["device_identity"]:
                action = "K"
            if options.uids and line["uids"]:
                action = "K"
            out[int(line["tag"], 16)] = Row(action, "E.1-1")
    for tag, (action, _) in OWN_ROWS.items():
        out[tag] = Row(action, "own")
    return out

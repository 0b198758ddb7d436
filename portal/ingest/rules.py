"""What may come in, and in which words and codes a sender hears that something may not. Pure functions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)+")
FOLDER_OF_A_DISC = "1.2.840.10008.1.3.10"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED})

# Meshes and code: nothing here can remove an identity from inside them. Of PDF and CDA the text is kept.
FORBIDDEN_CLASSES = frozenset(
    {
        FOLDER_OF_A_DISC,
        "1.2.840.10008.5.1.4.1.1.104.3",  # encapsulated STL
        "1.2.840.10008.5.1.4.1.1.104.4",  # encapsulated OBJ
        "1.2.840.10008.5.1.4.1.1.104.5",  # encapsulated MTL
        "1.2.840.10008.5.1.4.1.1.66",  # raw data
    }
)


@dataclass(frozen=True)
class Reason:
    """Why a file was set aside.

    words   what a person reads
    status  C-STORE status (PS3.4 table B.2-1) and STOW failure reason (PS3.18 table I.2-2), one code
    retry   whether trying again can help without the file being sent again
    """

    words: str
    status: int
    retry: bool = True


REASONS: dict[str, Reason] = {
    "not_dicom": Reason("This is not a DICOM file: the DICM mark is missing.", 0xC000),
    "unreadable": Reason("The header cannot be read.", 0xC001),
    "truncated": Reason("The file ends before its content does.", 0xC002),
    "pixel_mismatch": Reason("The pixel data do not fit the size that the header states.", 0xA900),
    "contradiction": Reason("The header contradicts itself.", 0xA901),
    "impossible_size": Reason("The header states an impossible image size.", 0xA902),
    "missing_uids": Reason("A required identifier (UID) is missing or malformed.", 0xA903),
    "wrong_study": Reason("The instance belongs to another study than the address names.", 0xA904),
    "forbidden_class": Reason("Objects of this kind are not accepted here.", 0x0122),
    "unknown_syntax": Reason("The transfer syntax is not known.", 0xC003),
    "too_large": Reason("The file is larger than this door accepts.", 0xA700, retry=False),
    "no_room": Reason("The storage is full or cannot be written.", 0xA701, retry=False),
    "conflict": Reason("Another file with the same SOP Instance UID was received before.", 0x0111),
    "not_deidentified": Reason("The identity could not be removed safely.", 0x0110),
    "pixels_not_read": Reason("The image cannot be decoded, so text burnt into it cannot be looked for.", 0x0110),
    "pixels_not_covered": Reason("The image holds a name or a date, and it cannot be covered.", 0x0110),
    "document_not_read": Reason("The document has no text that can be read, so no name can be looked for.", 0x0110),
    "no_scan": Reason("A report whose scan has not come: nothing has its patient and accession number.", 0x0110),
    "bad_report": Reason("A message that is no report that can be filed.", 0x0110, retry=False),
    "not_archived": Reason("The archive refused the instance.", 0x0110),
    "missing_bulk": Reason("A value that the metadata refer to was not sent with them.", 0xA905, retry=False),
    "bad_archive": Reason("The zip file is damaged or is not what it seems.", 0xC004, retry=False),
}

# a report's receipt in the words of who handed it in: what its state means for a report; "": any other reason
REPORT_STATES: dict[tuple[str, str], tuple[str, str, str]] = {
    ("received", ""): ("received", "Being cleaned", "Identities are being removed."),
    ("deidentified", ""): ("deidentified", "Being filed", "Identities are removed; it is on its way to its scan."),
    ("archived", ""): ("archived", "Filed", "Filed with its scan."),
    ("duplicate", ""): ("duplicate", "Already here", "The same report came before."),
    ("quarantined", "no_scan"): ("asked", "Waits for its scan", "It is filed by itself when the scan comes."),
    ("quarantined", "bad_report"): ("refused", "Refused", ""),
    ("quarantined", ""): ("held", "Held", ""),
    ("discarded", ""): ("discarded", "Discarded", "An administrator has given it up."),
}

# why a file that was received is not worked on yet
WAITS_FOR_SERIES = "waits_for_series"
WAITS = {WAITS_FOR_SERIES: "Waits until its series has come: faces are looked for in all slices together."}


@dataclass(frozen=True)
class Header:
    """The few values that the checks need; UIDs and sizes, nothing that names a person."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    modality: str = ""
    meta_sop_class: str = ""
    meta_sop_uid: str = ""
    rows: int | None = None
    columns: int | None = None
    frames: int = 1
    samples: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = 0
    photometric: str = ""


def valid_uid(uid: str) -> bool:
    """Whether the text is a UID of PS3.5 section 9, except that leading zeros are forgiven."""
    return len(uid) <= 64 and UID_FORM.fullmatch(uid) is not None


def check_header(header: Header) -> tuple[str, str] | None:
    """Return (reason code, detail without values of the header), or None when nothing is wrong."""
    names = {
        "SOP Class UID": header.sop_class,
        "SOP Instance UID": header.sop_uid,
        "Study Instance UID": header.study_uid,
        "Series Instance UID": header.series_uid,
    }
    bad = [name for name, uid in names.items() if not valid_uid(uid)]
    # A disc's folder file has no study; say what it is rather than what it lacks.
    if (header.sop_class or header.meta_sop_class) in FORBIDDEN_CLASSES:
        return "forbidden_class", "The SOP class is on the list of forbidden classes."
    if bad:
        return "missing_uids", f"Missing or malformed: {', '.join(bad)}."
    if header.meta_sop_uid and header.meta_sop_uid != header.sop_uid:
        return "contradiction", "File meta information and data set name different SOP instances."
    if header.meta_sop_class and header.meta_sop_class != header.sop_class:
        return "contradiction", "File meta information and data set name different SOP classes."
    return check_size(header)


def check_size(header: Header) -> tuple[str, str] | None:
    """Return what is wrong with the stated image size (PS3.3 C.7.6.3), or None."""
    if header.rows is None and header.columns is None:
        return None
    if not (header.rows and header.columns) or header.rows > 65535 or header.columns > 65535:
        return "impossible_size", "Rows and columns must lie between 1 and 65535."
    if not 1 <= header.frames <= 2**20:
        return "impossible_size", "The number of frames is out of range."
    if header.samples not in {1, 3, 4} or header.bits_allocated not in {1, 8, 16, 32, 64}:
        return "impossible_size", "Samples per pixel or bits allocated have no meaning."
    if not 1 <= header.bits_stored <= header.bits_allocated or header.high_bit >= header.bits_allocated:
        return "contradiction", "Bits stored and high bit do not fit the bits allocated."
    return None


def native_length(header: Header) -> int:
    """Return the bytes that uncompressed pixel data must have, without padding (PS3.5 section 8.1.1)."""
    if header.rows is None or header.columns is None:
        return 0
    samples = header.rows * header.columns * header.samples * header.frames
    if header.photometric == "YBR_FULL_422" and header.samples == 3:
        samples = samples * 2 // 3
    if header.bits_allocated == 1:
        return math.ceil(samples / 8)
    return samples * header.bits_allocated // 8


def check_native(header: Header, length: int) -> tuple[str, str] | None:
    """Compare the length of uncompressed pixel data with the header; trailing padding is forgiven."""
    wanted = native_length(header)
    if length < wanted:
        return "pixel_mismatch", f"{wanted} bytes of pixel data were announced, {length} are there."
    if length > wanted + max(1024, wanted // max(header.frames, 1) // 2):
        return "pixel_mismatch", f"{wanted} bytes of pixel data were announced, {length} are there."
    return None


def words(reason: str) -> str:
    """Return the sentence for a reason code, also for codes of an older version."""
    found = REASONS.get(reason)
    return found.words if found else WAITS.get(reason, reason.replace("_", " "))


def seen_state(state: str, reason: str) -> tuple[str, str]:
    """(state whose look a receipt has, its word or none): a report that waits for its scan is nobody's fault."""
    return REPORT_STATES[state, reason][:2] if (state, reason) == ("quarantined", "no_scan") else (state, "")


def report_state(state: str, reason: str) -> tuple[str, str, str]:
    """(state whose look it has, its word, a sentence) of a report's receipt; the sentence is empty for a reason."""
    return REPORT_STATES.get((state, reason)) or REPORT_STATES[state, ""]

"""HL7 v2 messages ORU^R01 (chapter 7.3.1) as reports: one for each order with text, one for each document in it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import hl7

from portal.ingest.report_form import MOST, BadReport, Document, Told
from portal.ingest.report_kinds import document_of

TEXTS, CODED, NUMBERS = {"TX", "FT", "ST"}, {"CE", "CWE", "CNE"}, {"NM", "SN"}
CHARSETS = {"": "utf-8", "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8", "ASCII": "ascii", "8859/1": "latin-1",
            "8859/2": "iso8859-2", "8859/5": "iso8859-5", "8859/7": "iso8859-7", "8859/9": "iso8859-9",
            "8859/15": "iso8859-15"}  # fmt: skip  # HL7 table 0211
STUDY_UID = ("110180", "STUDY INSTANCE UID")  # identifiers by which an OBX names the study


class OtherMessage(BadReport):
    """An HL7 v2 message that is no result."""


def read_hl7(raw: bytes) -> list[Told]:
    """The reports of an ORU^R01 message: of each OBR its text, and each document in it. Raises BadReport."""
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
        raise OtherMessage("Only results are taken here (ORU^R01).")
    base = Told("", institution=head.one(4))
    who, order, lines, documents, found = base, base, list[str](), list[Document](), 0
    for segment in [*segments[1:], None]:
        kind = segment.raw(0) if segment else "END"
        if kind in {"PID", "OBR", "END"}:
            if lines:
                yield replace(order, text="\n".join(lines))
            yield from (replace(order, document=document) for document in documents)
            found += bool(lines) + len(documents)
            lines, documents = [], []
        if segment is None:
            break
        if kind == "PID":
            who = order = _patient(segment, base)
        elif kind == "PV1":
            who = order = replace(who, referring=_first(segment.names(8, 2), who.referring))
        elif kind == "OBR":
            order = _order(segment, who, head)
        elif kind == "OBX":
            if uid := _study_uid(segment):
                order = replace(order, study_uid=uid)
            elif segment.one(2).upper() in {"ED", "RP"}:
                documents.append(_embedded(segment))
            elif words := _observed(segment):
                lines.append(words)
        elif kind == "NTE":
            lines += segment.plain(segment.raw(3)).splitlines()
        if found + len(documents) > MOST:
            raise BadReport(f"More than {MOST} reports in one message.")
    if not found:
        raise BadReport("The message holds no text of a report, and no document.")


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


def _embedded(obx: _Segment) -> Document:
    """The document of an ED (chapter 2A.2.24): PDF or CDA, by its content. Raises BadReport for anything else."""
    if obx.one(2).upper() == "RP":
        raise BadReport("A document that lies elsewhere (RP) is not fetched; send it in the message (ED).")
    parts = [*obx.raw(5).split(obx.parts), "", "", "", "", ""]
    encoding, said = parts[3].strip().upper(), re.sub(r"\s", "", obx.words(parts[4]))
    try:
        if encoding == "BASE64":
            raw = base64.b64decode(said, validate=True)
        elif encoding == "HEX":
            raw = bytes.fromhex(said)
        elif encoding in {"A", ""}:
            raw = obx.words(parts[4]).encode()
        else:
            raise BadReport("An embedded document has an encoding that is none of Base64, Hex and A.")
    except (binascii.Error, ValueError) as error:
        if isinstance(error, BadReport):
            raise
        raise BadReport("An embedded document is not in the encoding that it states.") from None
    if (document := document_of(raw)) is None:
        raise BadReport("An embedded document is neither a PDF nor a CDA.")
    return document


def _observed(obx: _Segment) -> str:
    """The words of one observation."""
    kind = obx.one(2).upper()
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

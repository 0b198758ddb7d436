"""The head of a message and its acknowledgement (HL7 v2.5.1 chapters 2.9, 2.15). Pure; quotes nothing of the rest."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

ENCODING = "latin-1"  # what is sent back stands byte for byte as it came; our own words are ASCII
ACCEPT = {"AA": "CA", "AE": "CE", "AR": "CR"}  # table 0008: original mode → the accept acknowledgement
# table 0357
UNSUPPORTED_TYPE, UNSUPPORTED_VERSION = ("200", "Unsupported message type"), ("203", "Unsupported version id")
BAD_CONTENT, INTERNAL = ("207", "Application error"), ("207", "Application internal error")


@dataclass(frozen=True)
class Reply:
    """What a message is answered: AA taken, AE cannot be filed as it is, AR not now, or not from this sender."""

    code: str
    words: str
    error: tuple[str, str] | None = None  # code and words of table 0357


@dataclass(frozen=True)
class Head:
    """The fields of an MSH that an answer needs, as they were sent."""

    separator: str
    marks: str
    fields: tuple[str, ...]  # [2] is MSH-3

    @classmethod
    def of(cls, raw: bytes) -> Head | None:
        """None for what does not begin with an MSH."""
        line = re.split(rb"[\r\n]", raw.lstrip(b"\r\n "), maxsplit=1)[0].decode(ENCODING)
        if not line.startswith("MSH") or len(line) < 8:
            return None
        separator = line[3]
        fields = tuple(field[:400] for field in line.split(separator))
        return cls(separator, fields[1][:5], fields)

    def field(self, number: int) -> str:
        """MSH-3 and later, whole."""
        return self.fields[number - 1] if number - 1 < len(self.fields) else ""

    def first(self, number: int) -> str:
        """The first component of a field."""
        return self.field(number).split(self.marks[:1] or "^")[0].strip()

    def name(self, number: int) -> str:
        """The first component of a field as it is read: UTF-8, else Latin 1."""
        said = self.first(number)
        try:
            return said.encode(ENCODING).decode()
        except UnicodeDecodeError:
            return said


def acknowledgement(head: Head | None, reply: Reply) -> bytes | None:
    """The message that answers `reply`; None when the sender wants none (enhanced mode, MSH-15 and 16, table 0155).

    A sender that asks for an accept acknowledgement gets that one and no other.
    """
    head = head or Head("|", "^~\\&", ())
    accept, application = head.first(15).upper(), head.first(16).upper()
    code = ACCEPT[reply.code] if accept not in {"", "NE"} else reply.code
    wanted = accept if accept not in {"", "NE"} else application
    good = reply.code == "AA"
    if (accept or application) and not {"AL": True, "SU": good, "ER": not good}.get(wanted, False):
        return None
    at = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    words = _escaped(reply.words, head)
    trigger = head.field(9).split(head.marks[:1] or "^")
    kind = (head.marks[:1] or "^").join(["ACK", *([trigger[1], "ACK"] if len(trigger) > 1 and trigger[1] else [])])
    msh = ["MSH", head.marks, head.field(5) or "CONCORD", head.field(6), head.field(3), head.field(4), at, "", kind,
           uuid.uuid4().hex[:20], head.field(11) or "P", head.field(12) or "2.5.1"]  # fmt: skip
    segments = [msh, ["MSA", code, head.field(10), words]]
    if reply.error:
        what = (head.marks[:1] or "^").join([*reply.error, "HL70357"])
        segments.append(["ERR", "", "", what, "E", "", "", "", words])
    text = "".join(head.separator.join(fields) + "\r" for fields in segments)
    return text.encode(ENCODING)


def _escaped(text: str, head: Head) -> str:
    """Our words with the sender's delimiters escaped (chapter 2.7)."""
    marks = head.marks + "    "
    escape = marks[2] if marks[2] != " " else "\\"
    meant = {head.separator: "F", marks[0]: "S", marks[1]: "R", marks[2]: "E", marks[3]: "T"}
    plain = text.encode("ascii", "replace").decode()
    return "".join(f"{escape}{meant[c]}{escape}" if c != " " and c in meant else c for c in plain)

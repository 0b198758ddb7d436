"""ORU^R01 of HL7 v2.5.1 (chapter 7.3.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from portal.export.report import LOINC, LOINC_WORDS, Told, answered, words_of

ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": "\\.br\\", "\n": "\\.br\\"}
SCHEME = "99CONCORD"


def escaped(text: object) -> str:
    """A value as it stands in a field (chapter 2.7); other control characters are left out."""
    out = "".join(ESCAPES.get(sign, sign) for sign in str(text).replace("\r\n", "\n"))
    return "".join(sign for sign in out if sign.isprintable())


def control_id(told: Told) -> str:
    """Message Control ID, 20 characters: the same while the message is, so that a repeated one is known again."""
    said = repr((told.id, told.patient_id, told.study_uid, told.text, sorted(told.answers.items(), key=str)))
    return hashlib.sha256(said.encode()).hexdigest()[:20].upper()


def build(told: Told, receiver: str) -> str:
    """The message, segments ended by CR."""
    at = f"{told.at:%Y%m%d%H%M%S%z}"
    name = "^".join(escaped(part) for part in told.patient_name.split("=")[0].split("^"))  # PN and XPN have one order
    taken = told.study_date + (told.study_time.split(".")[0] if told.study_date else "")
    done = "C" if told.corrected else "F"
    order = escaped(told.accession)
    filler = escaped(told.id)
    segments = [
        f"MSH|^~\\&|CONCORD|{escaped(told.organisation)}|{escaped(receiver)}||{at}||ORU^R01^ORU_R01|{control_id(told)}"
        "|P|2.5.1|||AL|NE||UNICODE UTF-8",
        f"PID|1||{escaped(told.patient_id)}^^^{escaped(told.patient_issuer)}^PI||{name}||{told.patient_birth}"
        f"|{told.patient_sex if told.patient_sex in {'F', 'M', 'O'} else 'U'}",
        f"OBR|1|{order}|{filler}|{LOINC}^{LOINC_WORDS}^LN|||{taken}|||||||||||{order}||||{at}||RAD|{done}",
    ]
    segments += [f"OBX|{n}|{rest}|||||{done}" for n, rest in enumerate(_observations(told), 1)]
    return "".join(segment + "\r" for segment in segments)


def _observations(told: Told) -> Iterator[str]:
    """Value type, identifier, sub-id, value and units of each OBX."""
    for line, text in enumerate(told.text.splitlines(), 1):
        yield f"TX|{LOINC}^{LOINC_WORDS}^LN|{line}|{escaped(text)}|"
    yield f"ST|110180^Study Instance UID^DCM||{told.study_uid}|"
    for question, value in answered(told):
        if question["type"] == "text":
            continue  # it stands in the text
        about = f"{escaped(question['key'])}^{escaped(question['label'])}^{SCHEME}"
        for sub, one in enumerate(value if isinstance(value, list) else [value], 1):
            yield "{}|{}|{}|{}|".format(*_value(question, one, about, sub))


def _value(question: Any, value: Any, about: str, sub: int) -> tuple[str, str, int, str]:
    if isinstance(value, bool):
        return "CWE", about, sub, "Y^Yes^HL70136" if value else "N^No^HL70136"
    if isinstance(value, int | float):
        return "NM", about, sub, f"{value:g}"
    return "CWE", about, sub, f"{escaped(value)}^{escaped(words_of(question, value))}^{SCHEME}"

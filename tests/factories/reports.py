"""Reports of one patient as other systems send them, and the words of them that name somebody."""

from __future__ import annotations

import base64

ID, ACCESSION = "QX771209", "ACC-5591"
TEXT = "Clear lungs. Known Parkinson's disease. Discussed with her sister, Zilquor Quillfeather."
WORDS = ("Quillfeather", "Rosa", "Zilquor", "Yqorvathy", ID, ACCESSION, "19410213", "Qmarspital", "Hjqwstrasse")


def message(
    text: str = TEXT,
    accession: str = ACCESSION,
    patient: str = f"{ID}^^^Qmarspital^PI",
    more: str = "",
    control: str = "77",
) -> bytes:
    """An ORU^R01 as a radiology system sends it (HL7 v2.5.1 chapter 7.3.1)."""
    segments = [*_order(accession, patient, control), f"OBX|1|FT|GDT^Impression||{text}||||||F"]
    return ("\r".join([*segments, more] if more else segments) + "\r").encode()


def embedded(raw: bytes, kind: str, encoding: str = "Base64") -> bytes:
    """The same with a document in place of the text (OBX of type ED, chapter 2A.2.24)."""
    data = raw.hex() if encoding == "Hex" else base64.b64encode(raw).decode()
    segments = [*_order(ACCESSION, f"{ID}^^^Qmarspital^PI", "78")]
    return ("\r".join([*segments, f"OBX|1|ED|PDF^Report||RIS^AP^{kind}^{encoding}^{data}||||||F"]) + "\r").encode()


def _order(accession: str, patient: str, control: str) -> list[str]:
    return [
        f"MSH|^~\\&|RIS|Qmarspital|CONCORD||20240301093000||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{patient}||Quillfeather^Rosa^M^^Ms||19410213|F|||Hjqwstrasse 7^^Lakeside",
        f"OBR|1|{accession}|F-1|CT^CT chest|||20240229101500|||||||||7^Yqorvathy^Ute^^^Dr||{accession}||||20240301",
    ]

"""Every file of pydicom and pydicom-data through every door and back; the table of docs/engineers/dicomweb.md.

`python -m pytest tests/portal/test_every_file.py` compares the page with what was found; with WRITE_SYNTAX_TABLE=1 in
the environment it writes the page instead.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_files
from pydicom.uid import UID

PAGE = Path(__file__).parent.parent / "docs" / "engineers" / "dicomweb.md"
BEGIN, END = "<!-- table of transfer syntaxes: written by a test -->", "<!-- end of the table -->"
HEAD = """| transfer syntax | files | archived | set aside, with the reason | frames bit for bit | decoded bit for bit |
|---|---|---|---|---|---|"""


def files() -> list[Path]:
    """The files that pydicom finds, its own and pydicom-data's; programs between them are left out."""
    found = {Path(path) for path in get_testdata_files() if Path(path).is_file()}
    return sorted(path for path in found if path.suffix not in {".py", ".pyc"} and "__pycache__" not in path.parts)


def syntax_of(path: Path) -> str:
    """The name of a file's transfer syntax, or what the file is instead."""
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
    except Exception:
        return "no DICOM file"
    uid = UID(str(meta.get("TransferSyntaxUID", "")))
    if not uid:
        return "no DICOM file" if path.read_bytes()[128:132] != b"DICM" else "none stated"
    return f"{uid.name} ({uid.rpartition('1.2.840.10008.')[2]})" if uid.name != uid else "unknown"


@dataclass
class Line:
    """What became of the files of one transfer syntax."""

    files: int = 0
    archived: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    exact: int = 0
    decodable: int = 0
    decoded: int = 0

    def text(self, name: str) -> str:
        aside = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items())) or "–"
        frames = f"{self.exact} of {self.frames}" if self.frames else "–"
        decoded = f"{self.decoded} of {self.decodable}" if self.decodable else "–"
        return f"| {name} | {self.files} | {self.archived} | {aside} | {frames} | {decoded} |"


def table(lines: dict[str, Line]) -> str:
    return "\n".join([HEAD, *(lines[name].text(name) for name in sorted(lines))])


def in_page(text: str) -> str:
    """The page with this table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"

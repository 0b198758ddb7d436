"""One stored file → the values of its rows: DICOM JSON without bulk data, query keys, frame table."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from portal.archive.frames import (
    PIXEL_KEYWORDS,
    BrokenPixels,
    FrameTable,
    frame_count,
    frame_table,
    pixel_element,
)

INLINE_BYTES = 1024  # larger binary values are left in the file and served by bulkdata/
BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
STUDY_KEYWORDS = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "TimezoneOffsetFromUTC",
    "ReferringPhysicianName", "StudyDescription", "PatientName", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyID",
)  # fmt: skip
SERIES_KEYWORDS = (
    "SpecificCharacterSet", "Modality", "StudyInstanceUID", "TimezoneOffsetFromUTC", "SeriesDescription", "SeriesDate",
    "SeriesTime", "BodyPartExamined", "Laterality", "ProtocolName", "Manufacturer", "SeriesInstanceUID",
    "SeriesNumber", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
)  # fmt: skip
# View codes of PS3.16 CID 4014 and CID 4010, SNOMED CT and the retired SRT values that files still hold.
VIEW_CODES = {
    "399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO", "399260004": "ML",
    "R-10224": "ML", "399352003": "LM", "R-10228": "LM", "272479007": "PA", "R-10214": "PA",
    "399348003": "AP", "R-10206": "AP",
}  # fmt: skip


class Unstorable(ValueError):
    """A file that the archive cannot hold; `code` is a reason for the quarantine."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Parsed:
    """What one file says, ready for the rows of the archive."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    header: Dataset
    json: dict[str, Any]
    frames: FrameTable
    frame_count: int
    size: int
    sha256: str

    def text(self, keyword: str, limit: int) -> str:
        """The first value as plain text of at most `limit` characters; empty when it cannot be read."""
        try:
            value = self.header.get(keyword)
        except Exception:  # values are read when they are first asked for; a bad one is as good as none
            return ""
        if isinstance(value, (list, tuple)) or (hasattr(value, "__len__") and hasattr(value, "insert")):
            value = value[0] if len(value) else ""
        return str(value if value is not None else "").replace("\0", "").strip()[:limit]

    def number(self, keyword: str, low: int = 0, high: int = 2**31 - 1) -> int | None:
        """The first value as a whole number within the column's range, else None."""
        try:
            value = int(float(self.text(keyword, 32)))
        except (ValueError, OverflowError):
            return None
        return value if low <= value <= high else None

    def day(self, keyword: str) -> date | None:
        """A DA value (YYYYMMDD), else None."""
        text = self.text(keyword, 10).replace(".", "")
        try:
            return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
        except ValueError:
            return None

    def age_years(self) -> int | None:
        """Patient's Age in years, at most 89 (PS3.5 6.2 AS)."""
        text = self.text("PatientAge", 4).upper()
        if len(text) != 4 or not text[:3].isdigit() or text[3] not in "DWMY":
            return None
        return min(89, int(int(text[:3]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[text[3]]))

    def part(self, keywords: tuple[str, ...]) -> dict[str, Any]:
        """The DICOM JSON of some attributes."""
        from pydicom.datadict import tag_for_keyword

        tags = {f"{tag_for_keyword(k) or 0:08X}" for k in keywords}
        return {tag: value for tag, value in self.json.items() if tag in tags}

    def laterality(self) -> str:
        """L, R, B or U of the image, else empty."""
        for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
            if (value := self.text(keyword, 2).upper()) in {"L", "R", "B", "U"}:
                return value
        return ""

    def view(self) -> str:
        """View Position, or the view of the View Code Sequence (PS3.3 C.8.11.4, C.8.11.5)."""
        if value := self.text("ViewPosition", 16).upper():
            return value
        for item in self.header.get("ViewCodeSequence") or []:
            if code := VIEW_CODES.get(str(item.get("CodeValue", ""))):
                return code
        return ""


def parse(path: Path) -> Parsed:
    """Read a clean file's header, find its frames and hash its bytes.

    Raises Unstorable: not DICOM, a UID missing, or pixel data that is not what the header says.
    """
    digest, size = _sha256(path)
    try:
        with path.open("rb") as file:
            ds = dcmread(file, stop_before_pixels=True)
            syntax = UID(str(ds.file_meta.TransferSyntaxUID))
            element = None if syntax.is_deflated else pixel_element(file, syntax)
            frames = frame_table(file, ds, syntax, element)
            uids = [str(ds.get(k) or "") for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
            sop_class = str(ds.get("SOPClassUID", ""))
        # pydicom reads all of a deflated file, so its pixels are in the data set itself
        inside = next((tag for tag in PIXEL_KEYWORDS if tag in ds), None) if syntax.is_deflated else None
        pixels = element.tag if element else inside
        if not all(uids) or any(len(uid) > 64 for uid in uids):
            raise Unstorable("missing_uids", "The study, series or instance UID is missing or too long.")
        content = to_json(ds, (uids[0], uids[1], uids[2]), pixels, syntax)
    except BrokenPixels as error:
        raise Unstorable("pixel_mismatch", f"The pixel data does not fit: {error}.") from error
    except Unstorable:
        raise
    except OSError:
        raise  # the disk's trouble, not the file's: tried again
    except Exception as error:  # parsers raise what they like; all of it means the same here
        raise Unstorable("unreadable", f"The file cannot be read ({type(error).__name__}).") from error
    return Parsed(
        study_uid=uids[0],
        series_uid=uids[1],
        sop_uid=uids[2],
        sop_class=sop_class,
        transfer_syntax=str(syntax),
        header=ds,
        json=content,
        frames=frames,
        frame_count=frame_count(ds),
        size=size,
        sha256=digest,
    )


def to_json(ds: Dataset, uids: tuple[str, str, str], pixels: int | None, syntax: UID) -> dict[str, Any]:
    """DICOM JSON (PS3.18 F) of a data set: binary values over INLINE_BYTES become a path to bulkdata/.

    The paths begin at the server's root. Values that JSON or the database cannot hold are made safe.
    """
    root = "/dicomweb/studies/{}/series/{}/instances/{}/bulkdata".format(*uids)
    paths: dict[int, str] = {}
    for tag in PIXEL_KEYWORDS:
        if tag in ds:
            del ds[tag]
    for element, path in _binary(ds, ""):
        paths[id(element)] = f"{root}/{path}"
    content = ds.to_json_dict(
        bulk_data_threshold=INLINE_BYTES,
        bulk_data_element_handler=lambda element: paths.get(id(element), ""),
        suppress_invalid_tags=True,
    )
    content = {tag: value for tag, value in content.items() if not tag.startswith("0002")}
    if pixels:
        vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(pixels, _pixel_vr(ds, syntax))
        content[f"{pixels:08X}"] = {"vr": vr, "BulkDataURI": f"{root}/{pixels:08X}"}
    content["00083002"] = {"vr": "UI", "Value": [str(syntax)]}  # Available Transfer Syntax UID
    return safe(content)


def safe(value: Any) -> Any:
    """The same JSON without what jsonb refuses: NUL, lone surrogates, numbers that are not finite (F.2.3)."""
    if isinstance(value, dict):
        return {key: safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [safe(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _binary(ds: Dataset, prefix: str) -> Iterator[tuple[DataElement, str]]:
    for element in ds:
        path = f"{prefix}{int(element.tag):08X}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value or [], 1):
                yield from _binary(item, f"{path}/{number}/")
        elif element.VR in BULK_VRS:
            yield element, path


def _pixel_vr(ds: Dataset, syntax: UID) -> str:
    return "OB" if syntax.is_encapsulated or int(ds.get("BitsAllocated", 16) or 16) <= 8 else "OW"


def _sha256(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size

"""Instances sent as metadata (DICOM JSON or XML) and bulk data in parts of their own (PS3.18 section 10.5.1.2)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from portal.core import native_xml
from portal.core.errors import Refused
from portal.ingest import landing
from portal.ingest.parts import Part

MOST_METADATA = 64 << 20
PIXELS = "PixelData"
# The transfer syntax that a media type means without naming one (PS3.18 table 8.7.3-5).
SYNTAXES = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
}


class Missing(Exception):
    """A bulk data value was not sent."""


class Collector:
    """Takes the parts of a request, and makes files of them when it is complete; a context that cleans up."""

    def __init__(self, xml: bool) -> None:
        self.xml = xml
        self.metadata: Part | None = None
        self.bulk: dict[str, list[Part]] = {}

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        for part in [*([self.metadata] if self.metadata else []), *(p for some in self.bulk.values() for p in some)]:
            part.drop()

    def take(self, part: Part) -> None:
        """The first part is the metadata; several parts of one address are frames. Raises Refused (413)."""
        if self.metadata is None:
            self.metadata = part
        else:
            self.bulk.setdefault(part.headers.get("content-location", ""), []).append(part)
        if not part.whole or (part is self.metadata and part.size > MOST_METADATA):
            raise Refused("too_large", "A part of the request is larger than this door accepts.", status=413)

    def instances(self) -> Iterator[Part | tuple[str, str]]:
        """A file for each instance, or (reason, detail) where none can be made. Raises Refused (400)."""
        for item in self._items():
            try:
                yield self._file(item)
            except Missing as error:
                yield "missing_bulk", str(error)
            except OSError:
                raise
            except Exception as error:  # pydicom raises a dozen kinds of error for malformed values
                yield "unreadable", f"{type(error).__name__} while reading the metadata."

    def _items(self) -> list[dict[str, Any]]:
        try:
            text = self.metadata.path.read_bytes() if self.metadata else b""
            items = native_xml.decode(text) if self.xml else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Refused("metadata", "The first part holds no metadata as announced.", status=400) from error
        items = [items] if isinstance(items, dict) else items
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise Refused("metadata", "The metadata are no list of data sets.", status=400)
        if len(items) > settings.MAX_UPLOAD_FILES:
            raise Refused("too_many", "The request holds too many instances.", status=413)
        return items

    def _file(self, item: dict[str, Any]) -> Part:
        stated = item.get("00020010", {}).get("Value") or item.get("00083002", {}).get("Value") or [""]
        pixels = self.bulk.get(str(item.get("7FE00010", {}).get("BulkDataURI", "")), [])
        syntax = UID(self._syntax(pixels[0]) if pixels else str(stated[0]))
        if not syntax.is_transfer_syntax or syntax.is_deflated or not syntax.is_little_endian:
            syntax = ExplicitVRLittleEndian
        body = {tag: value for tag, value in item.items() if not tag.startswith("0002") and tag != "00083002"}
        dataset = Dataset.from_json(body, bulk_data_uri_handler=self._value)
        if syntax.is_encapsulated and pixels:
            dataset.PixelData = encapsulate([part.path.read_bytes() for part in pixels])
            dataset[PIXELS].is_undefined_length = True
        elif syntax.is_encapsulated:
            syntax = ExplicitVRLittleEndian
        if PIXELS in dataset:
            small = syntax.is_encapsulated or int(dataset.get("BitsAllocated", 16)) <= 8
            dataset[PIXELS].VR = "OB" if small else "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        path = landing.incoming() / f"{uuid.uuid4()}.part"
        try:
            with path.open("xb") as out:
                dcmwrite(out, dataset, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR, little_endian=True)
            return _part(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _syntax(self, part: Part) -> str:
        given = part.kind.get_param("transfer-syntax")
        return str(given or SYNTAXES.get(part.kind.get_content_type(), ExplicitVRLittleEndian))

    def _value(self, tag: str, vr: str, uri: str) -> bytes:
        """What was sent under an address; nothing is ever fetched."""
        if uri not in self.bulk:
            raise Missing("The metadata name bulk data that the request does not hold.")
        return b"".join(part.path.read_bytes() for part in self.bulk[uri])


def _part(path: Path) -> Part:
    part = Part(path, size=path.stat().st_size)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            part.digest.update(piece)
    part.whole = part.size <= settings.MAX_INSTANCE_BYTES
    return part

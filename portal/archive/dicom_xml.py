"""DICOM JSON as Native DICOM Model XML (PS3.19 A.1), for clients that ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from portal.core.native_xml import encode


def xml_parts(data: bytes) -> Iterator[bytes]:
    """One XML document for each object of a DICOM JSON array."""
    return map(encode, json.loads(data))

"""When a return is tried again, and names that are the same each time. Pure functions."""

from __future__ import annotations

import uuid
from datetime import timedelta

from portal.core.pauses import Pauses

PAUSES = Pauses(timedelta(seconds=30), timedelta(hours=6), 12)
NAMESPACE = uuid.UUID("6f0d3a52-0f6e-5c55-9c0e-2d1c7d1c6a41")


def derived_uid(*parts: object) -> str:
    """A DICOM UID that equal parts always give again: 2.25 and a name-based UUID (PS3.5 B.2, RFC 9562 5.5)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"

"""WADO metadata of a series: DICOM JSON, joined and compressed once when the study settles."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from typing import Any

from django.conf import settings

from portal.archive.models import Instance, Series, Study

LEVEL = 6


def public(headers: dict[str, Any], root: str = "") -> dict[str, Any]:
    """The same DICOM JSON with absolute bulk data addresses (they are stored from the server's root)."""
    root = root or settings.PUBLIC_URL
    return {tag: _public(element, root) for tag, element in headers.items()}


def _public(element: dict[str, Any], root: str) -> dict[str, Any]:
    if "BulkDataURI" in element:
        return {**element, "BulkDataURI": root + element["BulkDataURI"]}
    if element.get("vr") == "SQ" and "Value" in element:
        return {**element, "Value": [public(item, root) for item in element["Value"]]}
    return element


def encode(items: Iterable[dict[str, Any]]) -> bytes:
    """Compact UTF-8 JSON array."""
    return json.dumps(list(items), ensure_ascii=False, separators=(",", ":")).encode()


def build_series_metadata(series: Series) -> bytes:
    """Make, store and return the gzip of a series' metadata; its revision is its number of instances."""
    headers = list(_headers(Instance.objects.filter(series=series)))
    data = gzip.compress(encode(public(h) for h in headers), LEVEL, mtime=0)
    Series.objects.filter(pk=series.pk).update(metadata=data, metadata_revision=len(headers))
    return data


def series_metadata(series: Series, blind: bool = False) -> bytes:
    """The gzip of a series' metadata, as stored when it is complete, else made now and not kept.

    `blind` leaves opinions out (archive/rules.py).
    """
    if blind and (rows := Instance.objects.filter(series=series)).filter(opinion=True).exists():
        return gzip.compress(encode(public(h) for h in _headers(rows.filter(opinion=False))), 1, mtime=0)
    if series.metadata is not None and series.metadata_revision == series.instance_count:
        return bytes(series.metadata)
    headers = _headers(Instance.objects.filter(series=series))
    return gzip.compress(encode(public(h) for h in headers), 1, mtime=0)


def study_metadata(study: Study, blind: bool = False) -> bytes:
    """The gzip of all series' metadata in one array; `blind` leaves opinions out."""
    series = list(study.series.order_by("number", "pk"))
    if len(series) == 1:
        return series_metadata(series[0], blind)
    return joined([series_metadata(one, blind) for one in series])


def joined(parts: list[bytes]) -> bytes:
    """One gzip of an array of what is in several."""
    inner = [gzip.decompress(part)[1:-1] for part in parts]
    return gzip.compress(b"[" + b",".join(part for part in inner if part) + b"]", 1, mtime=0)


def _headers(instances: Any) -> Iterable[dict[str, Any]]:
    return instances.order_by("number", "pk").values_list("headers", flat=True).iterator(chunk_size=200)

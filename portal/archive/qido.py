"""QIDO-RS (PS3.18 section 10.6): what a request asks for, and the answer that is made of what was found.

Both are pure, and shared by Django's view and the short way before Django (`portal.archive.fastsearch`).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import zstandard
from django.conf import settings
from django.http import QueryDict

from portal.archive import delivery, media
from portal.archive.attributes import INSTANCE_ANSWER, SERIES_LEVEL, STUDY_LEVEL, tag_of, vr_of
from portal.archive.dicom_xml import xml_parts
from portal.archive.headers import SERIES_KEYWORDS, STUDY_KEYWORDS
from portal.archive.matching import RESERVED, How, Key, Keys, bad, clauses
from portal.archive.search import INSTANCE, SERIES, STUDY, Found, Search
from portal.core.errors import Refused

# a study of many slices is listed whole when no limit is asked for
DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET = 1000, 1000, 10_000
WORTH_PACKING = 1024  # bytes
KEPT = "private, no-cache"
VARY = f"{delivery.VARY}, Accept-Encoding"
XML = "application/dicom+xml"

STUDY_KEYS: Keys = {
    "StudyInstanceUID": Key("study_uid", "uid"),
    "PatientID": Key("patient__pseudonym", "text"),
    "PatientName": Key("patient__name", "name"),
    "PatientSex": Key("patient__sex", "text"),
    "AccessionNumber": Key("accession", "text"),
    "StudyDescription": Key("description", "name"),
    "StudyDate": Key("study_date", "day"),
    "StudyTime": Key("study_time", "time"),
    "ModalitiesInStudy": Key("modalities", "codes"),
    "Modality": Key("modalities", "codes"),  # of a series, but many clients ask studies for it
}
SERIES_KEYS: Keys = {
    "SeriesInstanceUID": Key("series_uid", "uid"),
    "Modality": Key("modality", "code"),
    "SeriesNumber": Key("number", "number"),
    "SeriesDescription": Key("description", "name"),
    "BodyPartExamined": Key("body_part", "text"),
}
INSTANCE_KEYS: Keys = {
    "SOPInstanceUID": Key("sop_uid", "uid"),
    "SOPClassUID": Key("sop_class", "uid"),
    "AvailableTransferSyntaxUID": Key("transfer_syntax", "uid"),
    "InstanceNumber": Key("number", "number"),
    "Rows": Key("rows", "number"),
    "Columns": Key("columns", "number"),
    "NumberOfFrames": Key("frames", "number"),
}


def _tags(*keywords: str) -> frozenset[str]:
    return frozenset(tag_of(keyword) for keyword in keywords)


IN_STUDY, IN_SERIES = _tags(*STUDY_KEYWORDS), _tags(*SERIES_KEYWORDS)


@dataclass(frozen=True)
class Level:
    """What one kind of search knows: `matching.clauses`' arguments, the tags of every answer and those that fit."""

    keys: tuple[tuple[str, Keys], ...]
    headers: Mapping[str, frozenset[str] | None]
    answer: frozenset[str]
    own: frozenset[str] | None  # None: any
    orders: Mapping[str, str]


_STUDY_ORDERS = {
    "StudyDate": "s.study_date", "StudyTime": "s.study_time", "AccessionNumber": "s.accession",
    "StudyDescription": "s.description", "PatientID": "p.pseudonym", "PatientName": "p.name",
}  # fmt: skip
_SERIES_ORDERS = {
    "SeriesNumber": "e.number", "Modality": "e.modality", "SeriesDescription": "e.description", **_STUDY_ORDERS,
}  # fmt: skip
LEVELS = {
    STUDY: Level(
        (("", STUDY_KEYS), ("series__", SERIES_KEYS), ("instances__", INSTANCE_KEYS)),
        {"": IN_STUDY, "series__": IN_SERIES, "instances__": None},
        IN_STUDY | _tags("InstanceAvailability", "ModalitiesInStudy", "RetrieveURL", "NumberOfStudyRelatedSeries",
                         "NumberOfStudyRelatedInstances"),
        STUDY_LEVEL,
        _STUDY_ORDERS,
    ),
    SERIES: Level(
        (("", SERIES_KEYS), ("study__", STUDY_KEYS), ("instances__", INSTANCE_KEYS)),
        {"": IN_SERIES, "study__": IN_STUDY, "instances__": None},
        IN_SERIES | _tags("InstanceAvailability", "RetrieveURL", "NumberOfSeriesRelatedInstances"),
        SERIES_LEVEL | STUDY_LEVEL,
        _SERIES_ORDERS,
    ),
    INSTANCE: Level(
        (("", INSTANCE_KEYS), ("series__", SERIES_KEYS), ("study__", STUDY_KEYS)),
        {"": None},
        frozenset(INSTANCE_ANSWER),
        None,
        {"InstanceNumber": "i.number", **_SERIES_ORDERS},
    ),
}  # fmt: skip
# places are listed in their natural order, everything else newest first
NATURAL = {SERIES: (("e.number", False),), INSTANCE: (("e.number", False), ("i.series_id", False), ("i.number", False))}


@dataclass(frozen=True)
class Asked:
    """A request understood: the search, whether the next page is found by key, and warnings for the answer."""

    search: Search
    by_key: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def too_broad() -> Refused:
    """413: the server gave up (PS3.18 table 10.6.3-1)."""
    return Refused("too_broad", "This search takes too long; narrow it by study, patient or date.", status=413)


def ask(level: str, place: tuple[str, ...], query: QueryDict) -> Asked:
    """Understand a request. `place`: UIDs of the study, or study and series, that is searched.

    Raises Refused (400).
    """
    known, warnings = LEVELS[level], []
    how = How(*(_flag(query, f"{name}matching") for name in ("fuzzy", "emptyvalue", "multiplevalue")))
    given = {name: values for name, values in query.lists() if name.lower() not in RESERVED}
    found = clauses(given, known.keys, known.headers, how)
    matched = {tag_of(name.partition(".")[0]) for name in given}
    if how.fuzzy and any(vr_of(tag) == "PN" and tag != "00100010" for tag in matched):
        warnings.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
    order = _order(query, known) or (NATURAL[level][-1 if len(place) == 2 else 0 :] if place else ())
    limit = whole(query, "limit", DEFAULT_LIMIT) or DEFAULT_LIMIT
    offset = whole(query, "offset", 0)
    if offset > MAX_OFFSET:
        raise bad(f"offset goes to {MAX_OFFSET}; go on with the next link, or narrow the search.")
    after = whole(query, "after", 0)
    if after and order:
        raise bad("after is for answers in the archive's own order; use offset.")
    search = Search(level, found, place, _fields(query, known, matched), order, min(limit, MAX_LIMIT), offset, after)
    return Asked(search, not order, tuple(warnings))


def _fields(query: QueryDict, known: Level, matched: set[str]) -> tuple[str, ...] | None:
    """Tags that the answers must have beyond those they always have; None: all of them."""
    wanted = [f.strip() for given in query.getlist("includefield") for f in given.split(",") if f.strip()]
    if "all" in wanted:
        return None if known.own is None else tuple(sorted(known.own - known.answer))
    tags = set(matched)
    for name in wanted:
        tag = tag_of(name.partition(".")[0])
        if not tag:
            raise bad(f"includefield: {name[:40]} is not an attribute.")
        tags.add(tag)
        if int(tag[:4], 16) & 1:
            tags.add(f"{tag[:4]}00{tag[4:6]}")  # its private creator
    return tuple(sorted(tags - known.answer if known.own is None else (tags & known.own) - known.answer))


def _order(query: QueryDict, known: Level) -> tuple[tuple[str, bool], ...]:
    """`orderby=-StudyDate,PatientName`: an extension of this server."""
    out = []
    for name in filter(None, query.get("orderby", "").split(",")):
        column = known.orders.get(name.lstrip("-"))
        if column is None:
            raise bad(f"orderby: {name[:40]} is none of {', '.join(known.orders)}.")
        out.append((column, name.startswith("-")))
    return tuple(out)


def _flag(query: QueryDict, name: str) -> bool:
    value = (query.get(name) or "false").lower()
    if value not in {"true", "false"}:
        raise bad(f"{name} is true or false.")
    return value == "true"


def whole(query: QueryDict, name: str, default: int) -> int:
    """A parameter that is a whole number. Raises Refused (400)."""
    value = query.get(name) or str(default)
    if not re.fullmatch(r"\d{1,12}", value):
        raise bad(f"{name} is a whole number.")
    return int(value)


def kind_of(accept: str) -> str:
    """The media type of the answer. Raises Refused (406)."""
    for one in media.parse_accept(accept):
        if media.wants_json([one]) and not (one.multipart and one.media != "*/*"):
            return "application/dicom+json"
        if one.media == XML:
            return XML
    raise Refused("not_acceptable", "Searches are answered as application/dicom+json or application/dicom+xml.", 406)


def reply(asked: Asked, found: Found, address: str, query: QueryDict, headers: Mapping[str, str]) -> Reply:
    """The answer to a search.

    address  of the resource as the client asked for it, without the query
    headers  accept, accept-encoding and if-none-match of the request

    Raises Refused (406).
    """
    kind = kind_of(query.get("accept") or headers.get("accept", ""))
    root = settings.PUBLIC_URL
    out = {"Cache-Control": KEPT, "Vary": VARY}
    if found.more:
        out["Link"] = f'<{address}?{_next(asked, found, query)}>; rel="next"'
    warnings = list(asked.warnings)
    if found.more and whole(query, "limit", 0) not in range(1, MAX_LIMIT + 1):
        warnings.append("There are additional results that can be requested.")
    if warnings:
        out["Warning"] = ", ".join(f'299 {root}/dicomweb "{words}"' for words in warnings)
    if not found.items:
        return Reply(204, out)
    body = absolute("[" + ", ".join(found.items) + "]", root).encode()
    tag = hashlib.blake2b(body, digest_size=12).hexdigest()
    if kind == XML:
        out["Content-Type"], head, between, tail = delivery.framing(XML, XML, tag)
        body, tag = head + between.join(xml_parts(body)) + tail, f"{tag}-xml"
    else:
        out["Content-Type"] = kind
    packing = _packing(headers.get("accept-encoding", "")) if len(body) >= WORTH_PACKING else ""
    out["ETag"] = f'"{tag}{"-" if packing else ""}{packing}"'
    if delivery.fresh(headers.get("if-none-match", ""), out["ETag"]):
        return Reply(304, {name: out[name] for name in ("ETag", "Cache-Control", "Vary")})
    if packing:
        out["Content-Encoding"] = packing
        body = (
            zstandard.ZstdCompressor(level=1).compress(body) if packing == "zstd" else gzip.compress(body, 1, mtime=0)
        )
    return Reply(200, out, body)


def absolute(text: str, root: str) -> str:
    """The same DICOM JSON with whole addresses; the archive keeps them from the server's root.

    A name of an object cannot stand inside a value: there its quotes are escaped.
    """
    for start in ('"00081190": {"vr": "UR", "Value": ["', '"BulkDataURI": "'):
        text = text.replace(f"{start}/dicomweb/", f"{start}{root}/dicomweb/")
    return text


def _next(asked: Asked, found: Found, query: QueryDict) -> str:
    """The query of the next page: by key where that is the order, so that page 1,000 costs what page 1 costs."""
    pairs = [(name, value) for name, values in query.lists() for value in values if name not in {"offset", "after"}]
    if asked.by_key:
        return urlencode([*pairs, ("after", str(found.last))])
    return urlencode([*pairs, ("offset", str(asked.search.offset + asked.search.limit))])


def _packing(header: str) -> str:
    """zstd or gzip, whichever is accepted, zstd first (RFC 9110 12.5.3)."""
    for name in ("zstd", "gzip"):
        found = re.search(rf"(?:^|[,\s]){name}\s*(?:;\s*q=([0-9.]+))?\s*(?:,|$)", header)
        if found and (found[1] is None or float(found[1] or 0) > 0):
            return name
    return ""

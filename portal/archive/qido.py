"""QIDO-RS (PS3.18 section 10.6): searches for studies, series and instances."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from portal.archive.models import Instance, Series, Study
from portal.core.errors import Refused

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
RESERVED = {"limit", "offset", "includefield", "fuzzymatching", "orderby"}


def text(column: str) -> Callable[[str], Q]:
    """Exact or wildcard matching of a text column, without regard to case (PS3.4 C.2.2.2.4)."""

    def match(value: str) -> Q:
        if "*" not in value and "?" not in value:
            return Q(**{f"{column}__iexact": value})
        pattern = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in value)
        return Q(**{f"{column}__iregex": f"^{pattern}$"})

    return match


def exact(column: str) -> Callable[[str], Q]:
    """One value, or a list of them parted by comma or backslash."""
    return lambda value: Q(**{f"{column}__in": [v for v in re.split(r"[,\\]", value) if v]})


def days(column: str) -> Callable[[str], Q]:
    """A day or a range a-b, a-, -b (PS3.4 C.2.2.2.5)."""

    def match(value: str) -> Q:
        low, dash, high = value.partition("-")
        if not dash:
            return Q(**{column: _day(low)})
        rule = Q()
        if low:
            rule &= Q(**{f"{column}__gte": _day(low)})
        if high:
            rule &= Q(**{f"{column}__lte": _day(high)})
        return rule

    return match


def number(column: str) -> Callable[[str], Q]:
    """A whole number."""

    def match(value: str) -> Q:
        if not re.fullmatch(r"-?\d{1,9}", value.strip()):
            raise Refused("bad_query", f"{value[:20]} is not a number.", status=400)
        return Q(**{column: int(value)})

    return match


def _day(value: str) -> date:
    try:
        return datetime.strptime(value.strip(), "%Y%m%d").date()
    except ValueError:
        raise Refused("bad_query", f"{value[:20]} is not a date (YYYYMMDD).", status=400) from None


def _modalities(value: str) -> Q:
    return Q(modalities__overlap=[v for v in re.split(r"[,\\]", value.upper()) if v])


STUDY_KEYS: dict[str, Callable[[str], Q]] = {
    "StudyInstanceUID": exact("study_uid"),
    "PatientID": text("patient__pseudonym"),
    "PatientName": text("patient__name"),
    "PatientSex": text("patient__sex"),
    "AccessionNumber": text("accession"),
    "StudyDescription": text("description"),
    "StudyDate": days("study_date"),
    "ModalitiesInStudy": _modalities,
    "Modality": _modalities,
    "BodyPartExamined": text("body_part"),
}
SERIES_KEYS: dict[str, Callable[[str], Q]] = {
    "SeriesInstanceUID": exact("series_uid"),
    "Modality": exact("modality"),
    "SeriesNumber": number("number"),
    "SeriesDescription": text("description"),
    "BodyPartExamined": text("body_part"),
}
INSTANCE_KEYS: dict[str, Callable[[str], Q]] = {
    "SOPInstanceUID": exact("sop_uid"),
    "SOPClassUID": exact("sop_class"),
    "InstanceNumber": number("number"),
}


def _prefixed(rule: Q, prefix: str) -> Q:
    out = Q()
    out.connector, out.negated = rule.connector, rule.negated
    out.children = [
        _prefixed(child, prefix) if isinstance(child, Q) else (prefix + child[0], child[1]) for child in rule.children
    ]
    return out


def filters(query: QueryDict, levels: list[tuple[str, dict[str, Callable[[str], Q]]]]) -> Q:
    """All matching keys of a query; each is looked for from the lowest level upwards. Unknown ones are ignored."""
    found = Q()
    for name, value in query.items():
        if name in RESERVED or not value or value == "*":
            continue
        keyword = keyword_for_tag(int(name, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name
        for prefix, keys in levels:
            if keyword in keys:
                found &= _prefixed(keys[keyword](str(value)), prefix)
                break
        else:
            if keyword and keyword.startswith("Patient") and keyword not in {"PatientBirthDate"}:
                found &= _header(keyword, str(value), levels)
    return found


def _header(keyword: str, value: str, levels: list[tuple[str, Any]]) -> Q:
    tag = tag_for_keyword(keyword)
    prefix = levels[-1][0]
    return Q(**{f"{prefix}headers__contains": {f"{tag:08X}": {"Value": [value]}}}) if tag else Q()


def page(query: QueryDict) -> tuple[int, int]:
    """(limit, offset) within bounds. Raises Refused for nonsense."""
    try:
        limit, offset = int(query.get("limit") or DEFAULT_LIMIT), int(query.get("offset") or 0)
    except ValueError:
        raise Refused("bad_query", "limit and offset are whole numbers.", status=400) from None
    if limit < 0 or offset < 0 or offset > 10_000_000:
        raise Refused("bad_query", "limit and offset are not negative, and not absurdly large.", status=400)
    return min(limit or DEFAULT_LIMIT, MAX_LIMIT), offset


def element(keyword: str, *values: Any) -> dict[str, Any]:
    """One DICOM JSON element by keyword."""
    tag = tag_for_keyword(keyword) or 0
    vr = dictionary_VR(tag)[:2]
    kept = [v for v in values if v not in (None, "")]
    if vr == "PN":
        kept = [{"Alphabetic": v} for v in kept]
    return {f"{tag:08X}": {"vr": vr, **({"Value": kept} if kept else {})}}


def search_studies(rows: QuerySet[Study], query: QueryDict) -> list[dict[str, Any]]:
    """Study-level answers, newest first."""
    limit, offset = page(query)
    found = rows.filter(filters(query, [("", STUDY_KEYS)])).order_by("-id")[offset : offset + limit]
    return [study_json(study) for study in found.select_related("patient")]


def study_json(study: Study) -> dict[str, Any]:
    """A study's required attributes (PS3.18 table 10.6.3-3) over what its header says."""
    return {
        **study.headers,
        **element("StudyInstanceUID", study.study_uid),
        **element("PatientID", study.patient.pseudonym),
        **element("ModalitiesInStudy", *study.modalities),
        **element("NumberOfStudyRelatedSeries", study.series_count),
        **element("NumberOfStudyRelatedInstances", study.instance_count),
        **element("InstanceAvailability", "ONLINE"),
    }


def search_series(rows: QuerySet[Series], query: QueryDict, with_study: bool) -> list[dict[str, Any]]:
    """Series-level answers; with the study's attributes when the search spans studies."""
    limit, offset = page(query)
    found = rows.filter(filters(query, [("", SERIES_KEYS), ("study__", STUDY_KEYS)]))
    found = found.select_related("study", "study__patient").defer("metadata").order_by("-study_id", "number", "id")
    return [
        {
            **(study_json(series.study) if with_study else {}),
            **series.headers,
            **element("StudyInstanceUID", series.study.study_uid),
            **element("SeriesInstanceUID", series.series_uid),
            **element("Modality", series.modality),
            **element("NumberOfSeriesRelatedInstances", series.instance_count),
        }
        for series in found[offset : offset + limit]
    ]


INSTANCE_TAGS = {
    f"{tag_for_keyword(k):08X}"
    for k in ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
              "NumberOfFrames", "SpecificCharacterSet")
}  # fmt: skip


def search_instances(rows: QuerySet[Instance], query: QueryDict, with_parents: bool) -> list[dict[str, Any]]:
    """Instance-level answers; `includefield=all` gives the whole header."""
    limit, offset = page(query)
    levels = [("", INSTANCE_KEYS), ("series__", SERIES_KEYS), ("study__", STUDY_KEYS)]
    found = rows.filter(filters(query, levels)).select_related("series", "study", "study__patient")
    found = found.defer("series__metadata").order_by("-study_id", "series__number", "series_id", "number", "id")
    wanted = {_tag(v) for field in query.getlist("includefield") for v in field.split(",")}
    everything = "all" in query.getlist("includefield")
    return [
        {
            **(study_json(i.study) | i.series.headers if with_parents else {}),
            **{t: v for t, v in i.headers.items() if everything or t in INSTANCE_TAGS or t in wanted},
            **element("StudyInstanceUID", i.study.study_uid),
            **element("SeriesInstanceUID", i.series.series_uid),
            **element("InstanceAvailability", "ONLINE"),
        }
        for i in found[offset : offset + limit]
    ]


def _tag(field: str) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", field):
        return field.upper()
    return f"{tag_for_keyword(field) or 0:08X}"

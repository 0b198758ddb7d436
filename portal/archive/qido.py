"""QIDO-RS (PS3.18 section 10.6): searches for studies, series and instances, paged by key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import F, Q, QuerySet
from django.http import QueryDict
from pydicom.datadict import dictionary_VR, tag_for_keyword

from portal.archive.matching import Keys, bad, condition, days, modalities, number, one_of, text
from portal.archive.models import Instance, Series, Study

Json = dict[str, Any]
# a study of many slices is listed whole when no limit is asked for
DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET = 1000, 1000, 10_000

STUDY_KEYS: Keys = {
    "StudyInstanceUID": one_of("study_uid"),
    "PatientID": text("patient__pseudonym"),
    "PatientName": text("patient__name", name=True),
    "PatientSex": text("patient__sex"),
    "AccessionNumber": text("accession"),
    "StudyDescription": text("description", name=True),
    "StudyDate": days("study_date"),
    "ModalitiesInStudy": modalities,
}
SERIES_KEYS: Keys = {
    "SeriesInstanceUID": one_of("series_uid"),
    "Modality": one_of("modality"),
    "SeriesNumber": number("number"),
    "SeriesDescription": text("description", name=True),
    "BodyPartExamined": text("body_part"),
}
INSTANCE_KEYS: Keys = {
    "SOPInstanceUID": one_of("sop_uid"),
    "SOPClassUID": one_of("sop_class"),
    "InstanceNumber": number("number"),
    "Rows": number("rows"),
    "Columns": number("columns"),
    "NumberOfFrames": number("frames"),
}
# Attributes that always come back at instance level (PS3.18 table 10.6.3-5).
INSTANCE_TAGS = {
    f"{tag_for_keyword(k):08X}"
    for k in ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns",
              "BitsAllocated", "NumberOfFrames", "AvailableTransferSyntaxUID")
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """One page of answers; `next` is the key to go on after, None on the last page."""

    rows: list[Json]
    next: int | None


@lru_cache(maxsize=256)
def _entry(keyword: str) -> tuple[str, str]:
    tag = tag_for_keyword(keyword) or 0
    return f"{tag:08X}", dictionary_VR(tag)[:2]


def element(keyword: str, *values: Any) -> Json:
    """One DICOM JSON element by keyword; not for names of people."""
    tag, vr = _entry(keyword)
    kept = [v for v in values if v not in (None, "")]
    return {tag: {"vr": vr, "Value": kept} if kept else {"vr": vr}}


def search_studies(rows: QuerySet[Study], query: QueryDict) -> Page:
    """Study-level answers, newest first; `after=<key>` goes on where a page ended, at the cost of page one."""
    found = rows.filter(condition(query, [("", STUDY_KEYS), ("series__", {"Modality": one_of("modality")})], [""]))
    if "Modality" in query or "00080060" in query:
        found = found.distinct()
    page, more = _page(found.select_related("patient"), query, ["-id"])
    return Page([study_json(study) for study in page], more)


def study_json(study: Study) -> Json:
    """A study's attributes (PS3.18 table 10.6.3-3): its header, and what only the archive knows."""
    return {
        **study.headers,
        **element("StudyInstanceUID", study.study_uid),
        **element("PatientID", study.patient.pseudonym),
        **element("InstanceAvailability", "ONLINE"),
        **element("ModalitiesInStudy", *study.modalities),
        **element("NumberOfStudyRelatedSeries", study.series_count),
        **element("NumberOfStudyRelatedInstances", study.instance_count),
    }


def search_series(rows: QuerySet[Series], query: QueryDict, with_study: bool) -> Page:
    """Series-level answers; with the study's attributes when the search spans studies."""
    found = rows.filter(condition(query, [("", SERIES_KEYS), ("study__", STUDY_KEYS)], ["", "study__"]))
    found = found.select_related("study__patient" if with_study else "study").defer("metadata")
    page, more = _page(found, query, ["-id"] if with_study else [F("number").asc(nulls_last=True), "id"])
    return Page([_series_json(series, with_study) for series in page], more)


def _series_json(series: Series, with_study: bool) -> Json:
    return {
        **(study_json(series.study) if with_study else {}),
        **series.headers,
        **element("StudyInstanceUID", series.study.study_uid),
        **element("SeriesInstanceUID", series.series_uid),
        **element("Modality", series.modality),
        **element("NumberOfSeriesRelatedInstances", series.instance_count),
    }


def search_instances(rows: QuerySet[Instance], query: QueryDict, with_parents: bool) -> Page:
    """Instance-level answers; `includefield` adds attributes of the header, `all` the whole of it."""
    levels = [("", INSTANCE_KEYS), ("series__", SERIES_KEYS), ("study__", STUDY_KEYS)]
    found = rows.filter(condition(query, levels, ["", "series__", "study__"])).defer("frame_table", "series__metadata")
    found = found.select_related("series", "study__patient" if with_parents else "study")
    page, more = _page(found, query, ["-id"] if with_parents else [F("number").asc(nulls_last=True), "id"])
    fields = [f for given in query.getlist("includefield") for f in given.split(",") if f]
    wanted = INSTANCE_TAGS | {_tag(field) for field in fields}
    everything = "all" in fields
    known: dict[int, Json] = {}  # a page mostly holds many instances of few series
    return Page([_instance_json(i, None if everything else wanted, with_parents, known) for i in page], more)


def _instance_json(instance: Instance, wanted: set[str] | None, with_parents: bool, known: dict[int, Json]) -> Json:
    if with_parents and instance.series_id not in known:
        known[instance.series_id] = {**study_json(instance.study), **instance.series.headers}
    return {
        **known.get(instance.series_id, {}),
        **{tag: value for tag, value in instance.headers.items() if wanted is None or tag in wanted},
        **element("StudyInstanceUID", instance.study.study_uid),
        **element("SeriesInstanceUID", instance.series.series_uid),
        **element("InstanceAvailability", "ONLINE"),
    }


def _tag(field: str) -> str:
    return field.upper() if re.fullmatch(r"[0-9A-Fa-f]{8}", field) else f"{tag_for_keyword(field) or 0:08X}"


def _page(rows: QuerySet, query: QueryDict, order: list[Any]) -> tuple[list[Any], int | None]:
    limit = min(_whole(query, "limit", DEFAULT_LIMIT) or DEFAULT_LIMIT, MAX_LIMIT)
    offset, after = _whole(query, "offset", 0), _whole(query, "after", 0)
    if offset > MAX_OFFSET:
        raise bad(f"offset goes to {MAX_OFFSET}; go on with the next link, or narrow the search.")
    if after and order == ["-id"]:
        rows = rows.filter(Q(pk__lt=after))
    found = list(rows.order_by(*order)[offset : offset + limit + 1])
    more = found[limit - 1].pk if len(found) > limit and order == ["-id"] else None
    return found[:limit], more


def _whole(query: QueryDict, name: str, default: int) -> int:
    value = query.get(name) or str(default)
    if not re.fullmatch(r"\d{1,12}", value):
        raise bad(f"{name} is a whole number.")
    return int(value)

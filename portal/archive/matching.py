"""DICOM attribute matching as database conditions (PS3.4 C.2.2.2, PS3.18 8.3.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

from django.db.models import Q
from django.http import QueryDict
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from portal.core.errors import Refused

Rule = Callable[[str, str], Q]  # (prefix to the model, value) → condition
Keys = dict[str, Rule]
RESERVED = {"limit", "offset", "after", "includefield", "fuzzymatching", "orderby", "emptyvaluematching"}
MAX_VALUE, MAX_WILDCARDS, MAX_LIST = 256, 8, 500


def bad(words: str) -> Refused:
    """400 with words for the caller."""
    return Refused("bad_query", words, status=400)


def text(column: str, name: bool = False) -> Rule:
    """Single value or wildcard matching. Names are matched without regard to case (PS3.4 C.2.2.2.1)."""

    def match(prefix: str, value: str) -> Q:
        wild = "*" in value or "?" in value
        if not wild:
            return Q(**{f"{prefix}{column}__{'iexact' if name else 'exact'}": value})
        if sum(value.count(mark) for mark in "*?") > MAX_WILDCARDS:
            raise bad(f"At most {MAX_WILDCARDS} wildcards in one value.")
        pattern = re.sub(r"([\\%_])", r"\\\1", value).replace("*", "%").replace("?", "_")
        return Q(**{f"{prefix}{column}__{'ilike' if name else 'like'}": pattern})

    return match


def one_of(column: str) -> Rule:
    """UID list matching: values parted by comma or backslash (PS3.4 C.2.2.2.2)."""

    def match(prefix: str, value: str) -> Q:
        values = [v.strip() for v in re.split(r"[,\\]", value) if v.strip()]
        if len(values) > MAX_LIST:
            raise bad(f"At most {MAX_LIST} values in one list.")
        return Q(**{f"{prefix}{column}__in": values})

    return match


def days(column: str) -> Rule:
    """A day, or a range a-b, a-, -b (PS3.4 C.2.2.2.5)."""

    def match(prefix: str, value: str) -> Q:
        low, dash, high = value.partition("-")
        if not dash:
            return Q(**{f"{prefix}{column}": _day(low)})
        ends = {"gte": low.strip(), "lte": high.strip()}
        return Q(**{f"{prefix}{column}__{end}": _day(day) for end, day in ends.items() if day})

    return match


def number(column: str) -> Rule:
    """A whole number."""

    def match(prefix: str, value: str) -> Q:
        if not re.fullmatch(r"[+-]?\d{1,9}", value.strip()):
            raise bad(f"{value[:20]} is not a whole number.")
        return Q(**{f"{prefix}{column}": int(value)})

    return match


def modalities(prefix: str, value: str) -> Q:
    """Any of the listed modalities in the study."""
    return Q(**{f"{prefix}modalities__overlap": [v.strip() for v in re.split(r"[,\\]", value.upper()) if v.strip()]})


def _day(value: str) -> date:
    try:
        return datetime.strptime(value.strip(), "%Y%m%d").date()
    except ValueError:
        raise bad(f"{value[:20]} is not a date (YYYYMMDD).") from None


def condition(query: QueryDict, levels: list[tuple[str, Keys]], headers: Iterable[str]) -> Q:
    """All matching keys of a query.

    levels   (prefix, keys) from the asked level upwards; the first level that knows a key matches it
    headers  prefixes of DICOM JSON columns: an attribute without a column is matched there, exactly
    Universal matching for empty values and `*`. Raises Refused (400) for what cannot be understood.
    """
    found = Q()
    for name in query:
        if name.lower() in RESERVED:
            continue
        value = ",".join(query.getlist(name)) if name in {"StudyInstanceUID", "0020000D"} else str(query[name])
        value = value.replace("\0", "").strip()
        if not value or set(value) == {"*"}:
            continue
        if len(value) > MAX_VALUE and "UID" not in name:
            raise bad(f"The value of {name[:40]} is too long.")
        keyword = keyword_for_tag(int(name, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name
        tag = tag_for_keyword(keyword) if keyword else None
        if tag is None:
            raise bad(f"{name[:40]} is not an attribute.")
        rule = next(((prefix, keys[keyword]) for prefix, keys in levels if keyword in keys), None)
        found &= rule[1](rule[0], value) if rule else _in_headers(tag, value, headers)
    return found


def _in_headers(tag: int, value: str, headers: Iterable[str]) -> Q:
    wanted: Any = value
    if dictionary_VR(tag) == "PN":
        wanted = {"Alphabetic": value}
    elif dictionary_VR(tag) in {"IS", "US", "SS", "UL", "SL"} and re.fullmatch(r"[+-]?\d{1,9}", value):
        wanted = int(value)
    found = Q()
    for prefix in headers:
        found |= Q(**{f"{prefix}headers__contains": {f"{tag:08X}": {"Value": [wanted]}}})
    return found

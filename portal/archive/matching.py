"""DICOM attribute matching (PS3.4 C.2.2.2, PS3.18 8.3.4): what is asked for, as clauses that any search can be made of.

`clauses` is pure: attribute names and values in, terms on the archive's columns out. `condition` makes Django's
condition of them; `portal.archive.search` makes SQL of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Q
from django.http import QueryDict

from portal.archive.attributes import keyword_of, tag_of, vr_of
from portal.archive.names import phonetic
from portal.archive.paths import Tree, header_path
from portal.core.errors import Refused

RESERVED = {
    "limit", "offset", "after", "includefield", "fuzzymatching", "orderby", "emptyvaluematching",
    "multiplevaluematching", "accept", "charset",
}  # fmt: skip
MAX_VALUE, MAX_WILDCARDS, MAX_LIST = 256, 8, 500
EMPTY = '""'  # the value that matches empty attributes (PS3.4 C.2.2.2.7)
TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")


@dataclass(frozen=True)
class Term:
    """One comparison. `prefix` leads from the level that is searched to the column's own (Django's path)."""

    prefix: str
    column: str
    lookup: str
    value: Any


Clause = tuple[Term, ...]  # one of them must hold; of clauses all must


@dataclass(frozen=True)
class How:
    """Kinds of matching that a request may ask for (PS3.18 8.3.4.2, 8.3.4.5, 8.3.4.6)."""

    fuzzy: bool = False
    empty: bool = False
    multiple: bool = False


@dataclass(frozen=True)
class Key:
    """A matching key with a column of its own."""

    column: str
    kind: str  # text, name, uid, code, codes, day, time, number


Keys = Mapping[str, Key]
NOTHING: dict[str, tuple[str, Any]] = {
    "day": ("isnull", True), "number": ("isnull", True), "codes": ("exact", []),
}  # fmt: skip


def bad(words: str) -> Refused:
    """400 with words for the caller."""
    return Refused("bad_query", words, status=400)


def condition(query: QueryDict, levels: list[tuple[str, Keys]], headers: Iterable[str]) -> Q:
    """All matching keys of a query as Django's condition.

    levels   (prefix, keys) from the asked level upwards; the first level that knows a key matches it
    headers  prefixes of DICOM JSON columns: an attribute without a column is matched there
    Raises Refused (400) for what cannot be understood.
    """
    found = Q()
    for clause in clauses(dict(query.lists()), levels, dict.fromkeys(headers)):
        any_of = Q()
        for term in clause:
            any_of |= Q(**{f"{term.prefix}{term.column}__{term.lookup}": term.value})
        found &= any_of
    return found


def clauses(
    query: Mapping[str, Sequence[str]],
    levels: Iterable[tuple[str, Keys]],
    headers: Mapping[str, frozenset[str] | None],
    how: How = How(),
) -> list[Clause]:
    """What a query asks for. Universal matching for empty values and `*`.

    query    attribute → values; `RequestAttributesSequence.ScheduledProcedureStepID` reaches into a sequence
    levels   as for `condition`
    headers  prefix of a DICOM JSON column → tags it holds, None: any
    Raises Refused (400).
    """
    levels, found, plain = list(levels), [], {}
    trees: dict[str, Tree] = {}
    for name, values in query.items():
        if name.lower() in RESERVED:
            continue
        tags = [tag_of(part) for part in name.split(".")]
        if not all(tags):
            raise bad(f"{name[:40]} is not an attribute.")
        value = _value(name, tags[-1], values)
        if not value:
            continue
        if len(tags) > 1:
            _into(trees.setdefault(tags[0], {}), tags[1:], value)
            continue
        keyword = keyword_of(tags[0])
        key = next(((prefix, keys[keyword]) for prefix, keys in levels if keyword in keys), None)
        if key:
            plain[keyword] = (*key, value)
        else:
            found.append(_in_headers(tags[0], value, headers, how))
    found += _moments(plain)
    for prefix, column, value in plain.values():
        found += _by_column(prefix, column, value, how)
    return found + [_in_headers(tag, tree, headers, how) for tag, tree in trees.items()]


def _value(name: str, tag: str, values: Sequence[str]) -> str:
    """The value to match, empty for universal matching; a list of UIDs may come as repeated parameters."""
    joined = vr_of(tag) == "UI"
    value = ("\\".join(values) if joined else values[-1] if values else "").replace("\0", "").strip()
    if len(value) > MAX_VALUE and not joined:
        raise bad(f"The value of {name[:40]} is too long.")
    return "" if set(value) == {"*"} else value


def _into(tree: Tree, tags: list[str], value: str) -> None:
    for tag in tags[:-1]:
        inner = tree.setdefault(tag, {})
        if isinstance(inner, str):
            raise bad(f"{tag} is given a value and looked into.")
        tree = inner
    tree[tags[-1]] = value


def _in_headers(tag: str, value: str | Tree, headers: Mapping[str, frozenset[str] | None], how: How) -> Clause:
    prefixes = [prefix for prefix, held in headers.items() if held and tag in held] or [
        prefix for prefix, held in headers.items() if held is None
    ]
    if not prefixes:
        raise bad(f"{keyword_of(tag) or tag} is no attribute of this level; search for instances.")
    path = header_path(tag, value, how.empty, how.multiple)
    return tuple(Term(prefix, "headers", "jsonpath", path) for prefix in prefixes)


def _by_column(prefix: str, key: Key, value: str, how: How) -> list[Clause]:
    if how.empty and value == EMPTY:
        lookup, nothing = NOTHING.get(key.kind, ("exact", ""))
        return [(Term(prefix, key.column, lookup, nothing),)]
    return [
        tuple(Term(prefix, column, lookup, wanted) for column, lookup, wanted in clause)
        for clause in _KINDS[key.kind](key.column, value, how)
    ]


Bare = list[list[tuple[str, str, Any]]]


def _text(column: str, value: str, how: How) -> Bare:
    """Single value or wildcard matching, to the letter (PS3.4 C.2.2.2.1, C.2.2.2.4)."""
    if "*" in value or "?" in value:
        return [[(column, "like", wildcards(value))]]
    return [[(column, "exact", value)]]


def _name(column: str, value: str, how: How) -> Bare:
    """Names and descriptions: without regard to case; names of people, if asked for, by how they sound."""
    wild = "*" in value or "?" in value
    literal = (column, "ilike", wildcards(value)) if wild else (column, "iexact", value)
    codes = phonetic(value) if how.fuzzy and column.endswith("name") else []
    if not codes:
        return [[literal]]
    return [[literal, (f"{column.removesuffix('name')}phonetic", "contains", codes)]]


def wildcards(value: str) -> str:
    """The pattern of LIKE for `*` and `?`. Raises Refused (400) for too many of them."""
    if sum(value.count(mark) for mark in "*?") > MAX_WILDCARDS:
        raise bad(f"At most {MAX_WILDCARDS} wildcards in one value.")
    return re.sub(r"([\\%_])", r"\\\1", value).replace("*", "%").replace("?", "_")


def parts(value: str) -> list[str]:
    """Values parted by comma or backslash (PS3.4 C.2.2.2.2). Raises Refused (400)."""
    values = [v.strip() for v in re.split(r"[,\\]", value) if v.strip()]
    if len(values) > MAX_LIST:
        raise bad(f"At most {MAX_LIST} values in one list.")
    return values


def _uid(column: str, value: str, how: How) -> Bare:
    values = parts(value)
    return [[(column, "in", values)]] if len(values) != 1 else [[(column, "exact", values[0])]]


def _code(column: str, value: str, how: How) -> Bare:
    """A code: a list of values, or one with wildcards."""
    return _text(column, value, how) if "*" in value or "?" in value else _uid(column, value, how)


def _codes(column: str, value: str, how: How) -> Bare:
    """An array of codes: one of the given is among them, or all with multiple value matching (PS3.4 C.2.2.2.8)."""
    return [[(column, "contains" if how.multiple else "overlap", parts(value.upper()))]]


def _days(column: str, value: str, how: How) -> Bare:
    """A day, or a range a-b, a-, -b (PS3.4 C.2.2.2.5)."""
    low, dash, high = value.partition("-")
    if not dash:
        return [[(column, "exact", _day(low))]]
    ends = {"gte": low.strip(), "lte": high.strip()}
    return [[(column, end, _day(day))] for end, day in ends.items() if day]


def _times(column: str, value: str, how: How) -> Bare:
    """A time or a range; a value of less precision stands for all it may mean: 1015 is 10:15:00 to 10:15:59.999999."""
    low, dash, high = value.partition("-")
    high = high if dash else low
    bounds = [[(column, "gte", earliest(low))]] if low.strip() else [[(column, "gt", "")]]
    return bounds + ([[(column, "lte", latest(high))]] if high.strip() else [])


def _number(column: str, value: str, how: How) -> Bare:
    if not re.fullmatch(r"[+-]?\d{1,9}", value):
        raise bad(f"{value[:20]} is not a whole number.")
    return [[(column, "exact", int(value))]]


_KINDS = {
    "text": _text, "name": _name, "uid": _uid, "code": _code, "codes": _codes, "day": _days, "time": _times,
    "number": _number,
}  # fmt: skip


def _day(value: str) -> date:
    try:
        return datetime.strptime(value.strip(), "%Y%m%d").date()
    except ValueError:
        raise bad(f"{value[:20]} is not a date (YYYYMMDD).") from None


def earliest(value: str) -> str:
    """A TM value as it is. Raises Refused (400)."""
    value = value.strip()
    if not TIME.fullmatch(value):
        raise bad(f"{value[:20]} is not a time (HHMMSS).")
    return value


def latest(value: str) -> str:
    """The last moment that a TM value may mean. Raises Refused (400)."""
    value = earliest(value)
    return value + "9" * (13 - len(value)) if "." in value else value + "5959.999999"[len(value) - 2 :]


def _moments(plain: dict[str, tuple[str, Key, str]]) -> list[Clause]:
    """Ranges of both StudyDate and StudyTime are one range of moments (PS3.4 C.2.2.2.5.4); both are taken out."""
    if not all("-" in plain[name][2] if name in plain else False for name in ("StudyDate", "StudyTime")):
        return []
    prefix, day_key, days = plain.pop("StudyDate")
    _, time_key, times = plain.pop("StudyTime")
    found: list[Clause] = []
    sides = zip(days.split("-", 1), times.split("-", 1), (("gte", "gt"), ("lte", "lt")), strict=True)
    for day, time, (within, beyond) in sides:
        bound = (earliest if within == "gte" else latest)(time) if time.strip() else None
        if day.strip():
            found.append((Term(prefix, day_key.column, within, _day(day)),))
        if bound:
            at = Term(prefix, time_key.column, within, bound)
            some = Term(prefix, time_key.column, "gt", "")  # no time is not an early one
            for term in (at, some):
                found.append((Term(prefix, day_key.column, beyond, _day(day)), term) if day.strip() else (term,))
    return found

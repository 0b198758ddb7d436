"""Find dates in text in every common format, and write them moved by days in the same format."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_SHORT = {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_NAMES = "|".join(sorted([*_MONTHS, *_SHORT], key=len, reverse=True))
_DAYS = "|".join([*calendar.day_name, *calendar.day_abbr, "Tues", "Thur", "Thurs"])
_WEEKDAY = rf"(?:(?P<weekday>{_DAYS})\.?,?\s+)?"
_YEAR = r"(?P<year>(?:1[89]|20)\d\d)"
_YY = r"(?P<year>(?:1[89]|20)\d\d|'?\d\d)"
_ORDINAL = r"(?P<ordinal>st|nd|rd|th)?"
_END = r"(?![\w/]|[.-]\d)"
_START = r"(?<![\w/.-])"

# A date that is certain by its form, then those that need a word before them.
_FORMS = [
    ("iso", rf"{_START}{_YEAR}(?P<sep>[-/.])(?P<month>\d\d?)(?P=sep)(?P<day>\d\d?)(?![\d/])"),
    ("numeric", rf"{_START}(?P<first>\d\d?)(?P<sep>\s?[-/.]\s?)(?P<second>\d\d?)(?P=sep){_YY}{_END}"),
    ("compact", r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?!\d)"),
    ("month first", rf"{_START}{_WEEKDAY}(?P<name>{_NAMES})\.?\s*(?P<day>\d\d?){_ORDINAL}(?:\s*,\s*|"
                    rf"\s+){_YY}(?![\d:])"),
    (
        "day first",
        rf"{_START}{_WEEKDAY}(?P<day>\d\d?){_ORDINAL}(?P<sep>[-/\s.]*)(?:of\s+)?(?P<name>{_NAMES})\.?"
        rf"(?P=sep),?\s?{_YY}(?!\d)",
    ),
    ("month year", rf"{_START}(?P<name>{_NAMES})\.?,?(?P<gap>[-/\s]*)(?:of\s+)?(?P<year>(?:1[89]|20)\d\d|'\d\d)(?!\d)"),
    ("month day", rf"{_START}{_WEEKDAY}(?P<name>{_NAMES})\.?\s*(?P<day>\d\d?){_ORDINAL}(?![\w/.]\d|\w)"),
    ("day month", rf"{_START}{_WEEKDAY}(?P<day>\d\d?){_ORDINAL}(?P<sep>[-\s.]*)(?:of\s+)?(?P<name>{_NAMES})(?!\w)"),
]  # fmt: skip
_CUE = (
    r"(?:on|dated|from|of|date|since|until|till|through|between|and|prior|exam|study|to|seen|done|performed|"
    r"compared|comparison|previous|the|by|at|was|chest|ct|mri|mr|us|mammogram|radiograph|x-?ray)"
)
_CUED = [
    ("short", r"(?<=\s)(?<![\d/])(?P<first>\d\d?)/(?P<second>\d\d?)(?![\w/%]|\.\d)"),
    ("month slash year", rf"{_START}(?P<month>0?[1-9]|1[0-2])(?P<sep>[/-]){_YEAR}(?![\w/])"),
    ("year", r"(?<![\w/.,-])(?P<year>19[3-9]\d|20[0-4]\d)(?![\w/%]|[.,-]\d)"),
]
_PATTERNS = [(name, re.compile(form, re.IGNORECASE)) for name, form in _FORMS]
_WEAK = [(name, re.compile(form, re.IGNORECASE)) for name, form in _CUED]
_BEFORE = re.compile(rf"\b{_CUE}\W{{1,3}}$", re.IGNORECASE)
_UNIT = re.compile(r"\s?(?:mm|cm|ml|mg|cc|hu|images?|slices?|hours?|hrs?|units?|am|pm)\b", re.IGNORECASE)
_BORN = re.compile(r"(?:\bborn\b|\bbirth\w*|\bd\.?\s?o\.?\s?b\b\.?)[^.;\d]{0,24}$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A date in a text: text[start:end], the day it means (first of month or year where it says no more)."""

    start: int
    end: int
    form: str
    match: re.Match[str]
    born: bool


def find_dates(text: str) -> Iterator[Found]:
    """Dates of a text from left to right, none over another; words that only look like one are left."""
    taken: list[tuple[int, int]] = []
    found: list[Found] = []
    if not any(c.isdigit() for c in text):
        return
    for patterns, cued in ((_PATTERNS, False), (_WEAK, True)):
        for form, pattern in patterns:
            for match in pattern.finditer(text):
                start, end = match.span()
                if any(start < e and s < end for s, e in taken) or not plausible(form, match):
                    continue
                if cued and not _fits(text, match, form):
                    continue
                taken.append((start, end))
                found.append(Found(start, end, form, match, bool(_BORN.search(text[max(0, start - 40) : start]))))
    yield from sorted(found, key=lambda f: f.start)


def _fits(text: str, match: re.Match[str], form: str) -> bool:
    if _UNIT.match(text, match.end()):
        return False
    before = text[max(0, match.start() - 16) : match.start()]
    if form == "month slash year":
        return True
    if form == "year":
        return bool(
            re.search(
                r"(?:\b(?:in|since|from|of|year|dated|circa|around|early|late|until|and|to|ct|mri|mr|us|pet|exam|"
                r"study|radiographs?|mammograms?|surgery|chest|prior|before|after)\W{1,3}$)|(?:\($)",
                before,
                re.IGNORECASE,
            )
        )
    return bool(
        re.search(
            r"\b(?:on|dated|date|from|since|until|prior|previous|study|exam|seen|comparison|compared\s+to|of)\W{1,3}$",
            before,
            re.IGNORECASE,
        )
    )


def plausible(form: str, match: re.Match[str]) -> bool:
    """Whether some reading of the match is a day of the calendar."""
    return any(True for order in ("mdy", "dmy") if day_of(form, match, order, date(2000, 1, 1)) is not None)


def _year(text: str) -> int:
    digits = text.lstrip("'")
    if len(digits) == 4:
        return int(digits)
    return 2000 + int(digits) if int(digits) <= 49 else 1900 + int(digits)


def day_of(form: str, match: re.Match[str], order: str, near: date) -> date | None:
    """The day that is meant; `order` (mdy, dmy) reads numeric forms, `near` gives the year where none is written."""
    part = match.groupdict()
    try:
        if form in {"numeric", "short"}:
            first, second = int(part["first"]), int(part["second"])
            month, day = (first, second) if order == "mdy" else (second, first)
            if form == "short":
                return _before(month, day, near)
            return date(_year(part["year"]), month, day)
        if form == "year":
            return date(_year(part["year"]), 7, 1)
        month = _month(part["name"]) if part.get("name") else int(part["month"])
        if not part.get("year"):
            return _before(month, int(part["day"]), near)
        return date(_year(part["year"]), month, int(part["day"]) if part.get("day") else 15)
    except ValueError:
        return None


def _month(name: str) -> int:
    return _MONTHS.get(name.lower()) or _SHORT[name.lower()]


def _before(month: int, day: int, near: date) -> date:
    """The last such day that is not after `near` by more than a month."""
    for year in range(near.year + 1, near.year - 9, -1):  # 29 February comes every four years, or eight
        try:
            guess = date(year, month, day)
        except ValueError:
            continue
        if guess <= near + timedelta(31):
            return guess
    raise ValueError("no such day")


def order_of(text: str, near: date | None, default: str = "mdy") -> str:
    """How numeric dates of a text are to be read: by one that can be read in one way only, else by the nearest day."""
    votes = {"mdy": 0.0, "dmy": 0.0}
    for found in find_dates(text):
        if found.form != "numeric":
            continue
        days = {order: day_of("numeric", found.match, order, near or date(2000, 1, 1)) for order in votes}
        for order, other in (("mdy", "dmy"), ("dmy", "mdy")):
            if days[order] and not days[other]:
                votes[order] += 10
        if near and days["mdy"] and days["dmy"] and days["mdy"] != days["dmy"]:
            best = min(votes, key=lambda o: abs((days[o] or near) - near))
            votes[best] += 1
        if "." in found.match["sep"]:
            votes["dmy"] += 5
    return default if votes["mdy"] == votes["dmy"] else max(votes, key=lambda o: votes[o])


def moved(found: Found, text: str, days: int, order: str, near: date) -> str | None:
    """The date `days` later in the same format, None when it cannot be written (out of the calendar)."""
    day = day_of(found.form, found.match, order, near)
    other = {"mdy": "dmy", "dmy": "mdy"}[order]
    if day is None:
        order, day = other, day_of(found.form, found.match, other, near)
    if day is None:
        return None
    try:
        new = day + timedelta(days=days)
    except OverflowError:
        return None
    pieces: list[tuple[int, int, str]] = []

    def put(group: str, value: str) -> None:
        start, end = found.match.span(group)
        if start >= 0:
            pieces.append((start, end, value))

    groups = found.match.groupdict()
    numbers = list(_numbers(found.form, groups, new, order))
    old = [groups[group] or "" for group, _ in numbers]
    tight = bool(groups.get("name")) and groups.get("sep") in {"", "-"}
    two = all(len(digits) == 2 for digits in old) and (len(old) > 1 or tight)
    padded = two or any(digits.startswith("0") for digits in old)
    for group, number in numbers:
        put(group, f"{number:02d}" if padded else str(number))
    if groups.get("name"):
        put("name", _like(groups["name"], new.month))
    if year := groups.get("year"):
        short = ("'" if year[0] == "'" else "") + f"{new.year % 100:02d}"
        put("year", f"{new.year:04d}" if len(year.lstrip("'")) == 4 else short)
    if groups.get("weekday"):
        put("weekday", _cased(groups["weekday"], calendar.day_name[new.weekday()]))
    if groups.get("ordinal"):
        put("ordinal", _cased(groups["ordinal"], _ordinal(new.day)))
    out, at = "", found.start
    for start, end, value in sorted(pieces):
        out, at = out + text[at:start] + value, end
    return out + text[at : found.end]


def _numbers(form: str, groups: dict[str, str | None], new: date, order: str) -> Iterator[tuple[str, int]]:
    if form in {"numeric", "short"}:
        yield from zip(
            ("first", "second"), (new.month, new.day) if order == "mdy" else (new.day, new.month), strict=True
        )
        return
    if groups.get("month"):
        yield "month", new.month
    if groups.get("day"):
        yield "day", new.day


def _like(old: str, month: int) -> str:
    full = old.lower() in _MONTHS and not (old.lower() == "may" and len(old) == 3)
    return _cased(old, (calendar.month_name if full else calendar.month_abbr)[month])


def _cased(old: str, new: str) -> str:
    new = new[: len(old)] if len(old) == 3 and old.lower() in {d[:3].lower() for d in calendar.day_name} else new
    return new.upper() if old.isupper() else new.lower() if old.islower() else new


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")

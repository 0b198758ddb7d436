"""Header standardisation: near-miss headers become proper ones by administrable rules. Pure functions.

A template names groups of the matched patterns: `{case}`, with an optional map: `{side|LEFT=L,RIGHT=R}`.
Groups joined by `+` are mapped as one text: `{side+view|LEFTCC=1,RIGHTCC=2}`. Attributes that are matched
can be named like groups: `{StudyDate}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from re._constants import MAX_REPEAT, MAXREPEAT, MIN_REPEAT
from re._parser import SubPattern, parse
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

PLACE = re.compile(r"\{(\w+(?:\+\w+)*)(?:\|([^{}]*))?\}")
MAX_PATTERN, MAX_VALUE = 300, 256
# set by the studies that images are joined to, or by the machine; a rule has no business with them
FIXED = frozenset({"SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PixelData"})


class BadRule(ValueError):
    """A rule that cannot work; the message says why."""


@dataclass(frozen=True)
class Rule:
    """match: keyword → pattern that the whole value must fit; assign: keyword → template."""

    name: str
    match: Mapping[str, str]
    assign: Mapping[str, str]
    study_key: str = ""
    series_key: str = ""


@dataclass(frozen=True)
class Standardised:
    """What a rule makes of a header: new values, and keys of the study and series that the image joins."""

    rule: str
    values: Mapping[str, str]
    study_key: str
    series_key: str


def check(rule: Rule) -> None:
    """Raise BadRule unless patterns compile and templates name groups that exist."""
    groups: set[str] = set()
    if not rule.match:
        raise BadRule("A rule needs at least one pattern to match.")
    for keyword, pattern in rule.match.items():
        if len(pattern) > MAX_PATTERN:
            raise BadRule(f"The pattern for {keyword} is longer than {MAX_PATTERN} characters.")
        try:
            groups |= {keyword, *re.compile(pattern).groupindex}
        except (re.error, RecursionError) as error:
            raise BadRule(f"The pattern for {keyword} is not a regular expression: {error}.") from error
        if repeats_itself(pattern):
            raise BadRule(f"The pattern for {keyword} repeats a repetition, which can take for ever.")
        if tag_for_keyword(keyword) is None:
            raise BadRule(f"{keyword} is no DICOM attribute.")
    for keyword in rule.assign:
        tag = tag_for_keyword(keyword)
        if tag is None or keyword in FIXED or dictionary_VR(tag) == "SQ":
            raise BadRule(f"{keyword} is no attribute that a rule can set.")
    for text in [*rule.assign.values(), rule.study_key, rule.series_key]:
        for names, _ in PLACE.findall(text):
            for name in names.split("+"):
                if name not in groups:
                    raise BadRule(f"{{{name}}} is no group of any pattern.")


def repeats_itself(pattern: str) -> bool:
    """Whether an unbounded repetition holds another one, such as (a+)+, whose search time explodes."""

    def search(node: Any, inside: bool) -> bool:
        for item in node if isinstance(node, list | tuple | SubPattern) else ():
            if isinstance(item, tuple) and len(item) == 2 and item[0] in {MAX_REPEAT, MIN_REPEAT}:
                endless = item[1][1] == MAXREPEAT
                if (endless and inside) or search(item[1][2], inside or endless):
                    return True
            elif isinstance(item, list | tuple | SubPattern) and search(item, inside):
                return True
        return False

    return search(parse(pattern), False)


def standardise(header: Mapping[str, str], rules: Sequence[Rule]) -> Standardised | None:
    """Apply the first rule whose patterns all fit; None when none does.

    header  keyword → text of the header as received
    """
    for rule in rules:
        found: dict[str, str] = {}
        for keyword, pattern in rule.match.items():
            text = header.get(keyword, "")[:MAX_VALUE]
            fit = re.fullmatch(pattern, text)
            if fit is None:
                break
            found |= {keyword: text} | {name: value or "" for name, value in fit.groupdict().items()}
        else:
            values = {keyword: fill(text, found) for keyword, text in rule.assign.items()}
            return Standardised(rule.name, values, fill(rule.study_key, found), fill(rule.series_key, found))
    return None


def fill(template: str, groups: Mapping[str, str]) -> str:
    """Put the groups' texts into a template; a map without the text leaves it as it is."""

    def place(match: re.Match[str]) -> str:
        text = "".join(groups.get(name, "") for name in match[1].split("+"))
        pairs = dict(pair.split("=", 1) for pair in (match[2] or "").split(",") if "=" in pair)
        return pairs.get(text, text)

    return PLACE.sub(place, template)

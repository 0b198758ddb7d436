"""Header standardisation: near-miss headers become proper ones by administrable rules. Pure functions.

A template names groups of the matched patterns: `{case}`, with an optional map: `{side|LEFT=L,RIGHT=R}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLACE = re.compile(r"\{(\w+)(?:\|([^{}]*))?\}")
MAX_PATTERN = 300


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
            groups |= set(re.compile(pattern).groupindex)
        except re.error as error:
            raise BadRule(f"The pattern for {keyword} is not a regular expression: {error}.") from error
    for text in [*rule.assign.values(), rule.study_key, rule.series_key]:
        for name, _ in PLACE.findall(text):
            if name not in groups:
                raise BadRule(f"{{{name}}} is no group of any pattern.")


def standardise(header: Mapping[str, str], rules: Sequence[Rule]) -> Standardised | None:
    """Apply the first rule whose patterns all fit; None when none does.

    header  keyword → text of the header as received
    """
    for rule in rules:
        found: dict[str, str] = {}
        for keyword, pattern in rule.match.items():
            fit = re.fullmatch(pattern, header.get(keyword, ""))
            if fit is None:
                break
            found |= {name: value or "" for name, value in fit.groupdict().items()}
        else:
            values = {keyword: fill(text, found) for keyword, text in rule.assign.items()}
            return Standardised(rule.name, values, fill(rule.study_key, found), fill(rule.series_key, found))
    return None


def fill(template: str, groups: Mapping[str, str]) -> str:
    """Put the groups' texts into a template; a map without the text leaves it as it is."""

    def place(match: re.Match[str]) -> str:
        text = groups.get(match[1], "")
        pairs = dict(pair.split("=", 1) for pair in (match[2] or "").split(",") if "=" in pair)
        return pairs.get(text, text)

    return PLACE.sub(place, template)

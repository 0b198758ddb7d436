"""What a search for work items asks for (PS3.18 8.3.4, 11.9), as conditions on assignments.

Attributes inside sequences are reached by dots, as in the searches of studies. Only what stands in `KEYS` is matched;
anything else is refused, since a filter that is passed over in silence would answer with work that was not asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase

from django.db.models import F, Q
from django.http import QueryDict

from portal.archive.attributes import keyword_of, tag_of
from portal.archive.matching import RESERVED, Key, bad, condition, parts
from portal.programmes.models import Assignment
from portal.read.workitems import rules

NEVER = Q(pk__in=[])
Make = Callable[[str, str, bool], Q]  # value, prefix from the rows to the assignment, rows are ended claims → condition


def _choice(words: Mapping[str, Q], value: str) -> Q:
    """One of a list of values, wildcards among them."""
    found = NEVER
    for word, where in words.items():
        if any(fnmatchcase(word, re.sub(r"\[", "[[]", part)) for part in parts(value)):
            found |= where
    return found


def _always(*words: str) -> Make:
    """An attribute that has the same value in every work item."""
    return lambda value, prefix, ended: _choice(dict.fromkeys(words, ~NEVER), value)


def _state(value: str, prefix: str, ended: bool) -> Q:
    if ended:
        return _choice({rules.CANCELED: ~NEVER}, value)
    return _choice({word: Q(**{f"{prefix}state": state}) for state, word in rules.STATES.items()}, value)


def _label(value: str, prefix: str, ended: bool) -> Q:
    words: dict[str, Q] = {}
    for kind, word in rules.LABELS.items():
        words[word] = words.get(word, NEVER) | Q(**{f"{prefix}kind": kind})
    return _choice(words, value)


def _priority(value: str, prefix: str, ended: bool) -> Q:
    words, below = {}, Q()
    for word, least in rules.PRIORITIES.items():
        at_least = Q() if word == rules.LOW else Q(**{f"{prefix}priority__gte": least})
        words[word] = at_least & below
        below = Q(**{f"{prefix}priority__lt": least})
    return _choice(words, value)


def _uid(value: str, prefix: str, ended: bool) -> Q:
    found = NEVER
    for uid in parts(value):
        for pk, number in _named(uid, prefix, ended):
            found |= Q(**{f"{prefix}pk": pk, ("round" if ended else "given_back"): number})
    return found


def _named(uid: str, prefix: str, ended: bool) -> list[tuple[object, int]]:
    place = rules.place_of(uid)
    if place is None:
        return []
    keys = Assignment.objects.filter(pk__range=place).values_list("pk", flat=True)[:2]
    return [(pk, rules.round_of(uid, pk)) for pk in keys]


def _since(value: str, prefix: str, ended: bool) -> Q:
    low, high = rules.moments(value)
    ends: dict[str, datetime | None] = {f"{prefix}created_at__gte": low, f"{prefix}created_at__lte": high}
    return Q(**{name: moment for name, moment in ends.items() if moment})


def _column(column: str, kind: str) -> Make:
    """An attribute with a column, matched as in the searches of studies."""

    def make(value: str, prefix: str, ended: bool) -> Q:
        query = QueryDict(mutable=True)
        query["StudyInstanceUID" if kind == "uid" else "PatientID"] = value
        return condition(query, [("", {name: Key(f"{prefix}{column}", kind) for name in query})], ())

    return make


STUDY_UID = _column("case__study__study_uid", "uid")
CODE = "ScheduledWorkitemCodeSequence"
# dotted keywords → what matches them, and how that is called
KEYS: dict[str, tuple[Make, str]] = {
    "SOPClassUID": (_always(rules.SOP_CLASS), "list of UIDs"),
    "SOPInstanceUID": (_uid, "list of UIDs"),
    "ProcedureStepState": (_state, "list of values, wildcard"),
    "InputReadinessState": (_always(rules.READY), "list of values, wildcard"),
    "ScheduledProcedureStepPriority": (_priority, "list of values, wildcard"),
    "ScheduledProcedureStepStartDateTime": (_since, "single value, range"),
    "ProcedureStepLabel": (_label, "list of values, wildcard"),
    "WorklistLabel": (_column("case__programme__name", "text"), "single value, wildcard"),
    f"{CODE}.CodeValue": (_always(rules.WORKITEM_CODE[0]), "list of values, wildcard"),
    f"{CODE}.CodingSchemeDesignator": (
        _always(rules.WORKITEM_CODE[1]),
        "list of values, wildcard",
    ),
    "PatientID": (_column("case__study__patient__pseudonym", "text"), "single value, wildcard"),
    "PatientName": (_column("case__study__patient__name", "name"), "single value, wildcard, without regard to case"),
    "PatientSex": (_column("case__study__patient__sex", "text"), "single value, wildcard"),
    "StudyInstanceUID": (STUDY_UID, "list of UIDs"),
    "InputInformationSequence.StudyInstanceUID": (STUDY_UID, "list of UIDs"),
    "ReferencedRequestSequence.StudyInstanceUID": (STUDY_UID, "list of UIDs"),
    "ReferencedRequestSequence.AccessionNumber": (_column("case__study__accession", "text"), "single value, wildcard"),
}


def named(name: str) -> str:
    """An attribute's dotted keywords, from keywords or tags. Raises Refused (400)."""
    tags = [tag_of(part) for part in name.split(".")]
    if not all(tags):
        raise bad(f"{name[:60]} is not an attribute.")
    return ".".join(keyword_of(tag) or tag for tag in tags)


def wanted(query: QueryDict) -> dict[str, str]:
    """Matching keys of a request and their values, without those that match everything. Raises Refused (400)."""
    found = {}
    for name, values in query.lists():
        if name.lower() in RESERVED:
            continue
        key = named(name)
        if key not in KEYS:
            raise bad(f"Work items cannot be searched by {key[:60]}.")
        value = ("\\" if key.endswith("UID") else ",").join(values).replace("\0", "").strip()
        if value and set(value) != {"*"}:
            found[key] = value
    return found


def where(keys: Mapping[str, str], *, ended: bool = False) -> Q:
    """The condition on assignments, or on ended claims of them (`WorkitemClaim`). Raises Refused (400)."""
    prefix = "assignment__" if ended else ""
    found = Q(round__lt=F("assignment__given_back")) if ended else Q()
    for key, value in keys.items():
        found &= KEYS[key][0](value, prefix, ended)
    return found

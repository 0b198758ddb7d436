"""Filters of cohorts by what was said about scans: for those alone whom no blinding keeps from it.

Later steps register them: only they know what models found and what cases were settled to be. Who is in such a cohort
tells what was said, so who may not know it makes none, and sees none that others made, frozen ones included.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import QueryDict

from portal.archive import filters
from portal.core.tables import Filter

May = Callable[[Any, int], bool]  # user, organisation → whether what the filter tells may be known there


@dataclass(frozen=True)
class Guarded:
    """A filter, and who may use it."""

    filter: Filter
    may: May


_known: dict[str, Guarded] = {}


def register(one: Filter, may: May) -> None:
    """Add a filter; again under the same key has the effect of once."""
    _known[one.key] = Guarded(one, may)


def every() -> list[Filter]:
    """All filters of cohorts, those of the archive first."""
    return [*filters.FILTERS, *(one.filter for one in _known.values())]


def offered(user: Any, organisation: int) -> list[Filter]:
    """The filters that a person may use in an organisation."""
    return [*filters.FILTERS, *(one.filter for one in _known.values() if one.may(user, organisation))]


def read(query: QueryDict) -> dict[str, str]:
    """Filter → value of an address, as `filters.read`, with the guarded ones."""
    return filters.read(query) | _read(query)


def _read(query: QueryDict) -> dict[str, str]:
    return {key: value for key, one in _known.items() if (value := one.filter.read(query))}


def condition(query: QueryDict) -> Q:
    """The condition on studies that an address asks for."""
    wanted = filters.condition(query)
    for key, value in _read(query).items():
        wanted &= _known[key].filter.where(value)
    return wanted


def words(query: QueryDict) -> list[tuple[str, str]]:
    """(label, value in words) of the filters that an address uses."""
    found = filters.words(query)
    for key, value in _read(query).items():
        one = _known[key].filter
        found.append((one.label, str({str(k): str(v) for k, v in one.choices}.get(value, value))))
    return found


def may(user: Any, organisation: int, query: QueryDict) -> bool:
    """Whether the person may use all filters of an address there."""
    return all(_known[key].may(user, organisation) for key in _read(query))


def hidden(user: Any, organisations: list[int]) -> Q:
    """The condition on cohorts of these organisations whose filters tell what the person may not know."""
    found = Q(pk__in=[])
    for key, one in _known.items():
        closed = [pk for pk in organisations if not one.may(user, pk)]
        found |= Q(organisation__in=closed, query__regex=rf"(^|&){re.escape(key)}=")
    return found

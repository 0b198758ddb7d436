"""Which cohorts a person may see, who is in one, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Func, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.fields.json import KT
from django.http import Http404, QueryDict

from portal.accounts.models import Role
from portal.accounts.queries import has_role
from portal.archive import filters
from portal.archive.cohorts import guarded
from portal.archive.models import Cohort, Instance, Series, Study
from portal.archive.queries import organisations

SHOWN = 8  # values of one part of the composition; the rest are counted together
LOOKED_AT = 20_000  # newest studies of which the composition is told
DECADES = 10


def cohorts(user: Any) -> QuerySet[Cohort]:
    """The person's own cohorts and those shared in organisations whose scans they may see, newest first; none whose
    filters tell what they may not know (`guarded`).
    """
    places = list(organisations(user))
    rows = Cohort.objects.filter(organisation__in=places).exclude(guarded.hidden(user, places))
    return rows.filter(Q(owner=user.pk) | Q(shared=True)).select_related("owner").order_by("-created_at", "-pk")


def may_change(user: Any, cohort: Cohort) -> bool:
    """Whether the person may change, freeze or remove it: its owner, and coordinators what is shared."""
    return cohort.owner_id == user.pk or (cohort.shared and has_role(user, cohort.organisation_id, Role.COORDINATOR))


def access_cohort(user: Any, pk: Any, need: str = "read") -> Cohort:
    """The one door to a cohort; need="change" for those who may change it. Raises Http404."""
    cohort = cohorts(user).select_related("organisation").filter(pk=pk).first()
    if cohort is None or (need == "change" and not may_change(user, cohort)):
        raise Http404
    return cohort


def members(user: Any, cohort: Cohort) -> QuerySet[Study]:
    """The studies of a cohort that the person may see, in any order."""
    return selected(cohort).filter(organisation__in=organisations(user))


def selected(cohort: Cohort) -> QuerySet[Study]:
    """The studies of a cohort, whoever asks."""
    rows = Study.objects.filter(organisation=cohort.organisation_id)
    if cohort.frozen:
        return rows.filter(cohort_memberships__cohort=cohort)
    return rows.filter(guarded.condition(QueryDict(cohort.query)))


@dataclass(frozen=True)
class Bar:
    """One value of a part of the composition: how many studies have it, and their share of all."""

    word: str
    count: int
    share: float

    @property
    def percent(self) -> int:
        """The share in whole percent."""
        return round(100 * self.share)


@dataclass(frozen=True)
class Part:
    """What a cohort is made of in one respect; a study may have several values."""

    key: str
    title: str
    bars: list[Bar]


# a part made by a later step: (user, keys of the studies) → counts by word, None: not for this person
Counts = list[tuple[str, int]]
More = Callable[[Any, QuerySet[Study]], Counts | None]
_more: list[tuple[str, str, More]] = []


def register(key: str, title: str, count: More) -> None:
    """Add a part to the composition; later steps know more about a study than the archive does."""
    if (key, title, count) not in _more:
        _more.append((key, title, count))


def composition(user: Any, cohort: Cohort) -> tuple[int, list[Part]]:
    """(how many studies, what they are made of), told of the newest LOOKED_AT."""
    newest = members(user, cohort).order_by("-pk").values("pk")[:LOOKED_AT]
    rows = Study.objects.filter(pk__in=list(newest.values_list("pk", flat=True)))
    total = rows.count()
    counted: list[tuple[str, str, Counts | None]] = [
        ("modality", "Modality", _modalities(rows)),
        ("part", "Body part", _column(rows, "body_part")),
        ("sex", "Sex", [(SEXES.get(word, word), n) for word, n in _column(rows, "patient__sex")]),
        ("age", "Age", _ages(rows)),
        ("machine", "Machine", _machines(rows)),
        ("year", "Year", _column(rows, "study_date__year")),
        *((key, title, count(user, rows)) for key, title, count in _more),
    ]
    return total, [Part(key, title, _bars(counts, total)) for key, title, counts in counted if counts is not None]


SEXES = {"F": "female", "M": "male", "O": "other"}


def _bars(counts: Counts, total: int) -> list[Bar]:
    shown, rest = counts[:SHOWN], counts[SHOWN:]
    if rest:
        shown = [*shown, (f"{len(rest)} more", sum(n for _, n in rest))]
    return [Bar(word, n, min(1.0, n / total) if total else 0.0) for word, n in shown]


def _column(rows: QuerySet[Study], column: str) -> Counts:
    found = rows.order_by().values_list(column).annotate(n=Count("pk")).order_by("-n", column)
    return [(str(value if value not in (None, "") else "not stated"), n) for value, n in found]


def _modalities(rows: QuerySet[Study]) -> Counts:
    each = Func(F("modalities"), function="unnest", output_field=TextField())
    found = rows.order_by().annotate(word=each).values_list("word").annotate(n=Count("pk")).order_by("-n", "word")
    return [(word or "not stated", n) for word, n in found]


def _ages(rows: QuerySet[Study]) -> Counts:
    """By decade, youngest first."""
    found: dict[int | None, int] = {}
    for age, n in rows.order_by().values_list("patient_age").annotate(n=Count("pk")):
        decade = None if age is None else age // DECADES
        found[decade] = found.get(decade, 0) + n
    known = sorted(decade for decade in found if decade is not None)
    out = [(f"{decade * DECADES}–{decade * DECADES + DECADES - 1}", found[decade]) for decade in known]
    return out + ([("not stated", found[None])] if None in found else [])


def _machines(rows: QuerySet[Study]) -> Counts:
    """Maker, and the model of the first image of each series."""
    first = Instance.objects.filter(series=OuterRef("pk")).order_by("pk")
    model = Subquery(first.values(value=KT(f"headers__{filters.MODEL}__Value__0"))[:1], output_field=TextField())
    series = Series.objects.filter(study__in=rows).annotate(
        maker=KT(f"headers__{filters.MAKER}__Value__0"), model=model
    )
    found = series.order_by().values_list("maker", "model").annotate(n=Count("study", distinct=True))
    counts: dict[str, int] = {}
    for maker, kind, n in found:
        word = " ".join(part for part in (maker, kind) if part) or "not stated"
        counts[word] = counts.get(word, 0) + n
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


@dataclass(frozen=True)
class Use:
    """Something that can be done with a cohort: a form with one choice, offered on its page.

    url  where it is posted to; `field` with one of `options` (value, words)
    """

    title: str
    button: str
    url: str
    field: str
    label: str
    options: list[tuple[str, str]]


Offer = Callable[[Any, Cohort], Use | None]
_uses: list[Offer] = []


def offer(use: Offer) -> None:
    """Add something that can be done with a cohort: None for whom it is not."""
    if use not in _uses:
        _uses.append(use)


def uses(user: Any, cohort: Cohort) -> list[Use]:
    """What the person may do with a cohort."""
    return [made for use in _uses if (made := use(user, cohort)) is not None]

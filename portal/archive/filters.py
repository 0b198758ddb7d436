"""What scans can be filtered by: one list for the table, the API and cohorts (seed 001, medical scan entry)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.http import QueryDict

from portal.archive.models import Instance, Series, Study
from portal.core.tables import Choices, Filter

MODALITIES = ("MG", "DX", "CR", "CT", "MR", "US", "PT", "NM", "XA", "RF")
URGENCIES = (("1", "raised"), ("7", "high"), ("10", "at once"))
SEXES = (("F", "female"), ("M", "male"), ("O", "other"))
QUALITIES = (("50", "50 % and more"), ("70", "70 % and more"), ("85", "85 % and more"))
MAKER, MODEL = "00080070", "00081090"  # Manufacturer, Manufacturer's Model Name (PS3.3 C.7.5.1)


def _share(column: str, lookup: str) -> Callable[[str], Q]:
    """A bound in percent on a column from 0 to 1; nothing for what is no number."""
    return lambda v: Q(**{f"{column}__{lookup}": int(v) / 100}) if v.isdecimal() else Q()


def _machine(v: str) -> Q:
    """Maker, or model of any of its images, contains the words."""
    model = Instance.objects.filter(series=OuterRef("pk"), **{f"headers__{MODEL}__Value__0__icontains": v})
    maker = Q(**{f"headers__{MAKER}__Value__0__icontains": v})
    return Q(Exists(Series.objects.filter(maker | Q(Exists(model)), study=OuterRef("pk"))))


def _series(v: str) -> Q:
    return Q(Exists(Series.objects.filter(study=OuterRef("pk"), description__icontains=v)))


def _view(v: str) -> Q:
    return Q(Exists(Instance.objects.filter(study=OuterRef("pk"), view__iexact=v)))


def _one(key: str, label: str, where: Callable[[str], Q], choices: Choices = (), kind: str = "choice") -> Filter:
    return Filter(key, label, where, choices, kind, extra=True)


FILTERS: tuple[Filter, ...] = (
    Filter(
        "q",
        "Description, patient or UID",
        lambda v: Q(description__icontains=v) | Q(patient__pseudonym__icontains=v) | Q(study_uid=v),
        kind="text",
    ),
    Filter("modality", "Modality", lambda v: Q(modalities__contains=[v]), [(one, one) for one in MODALITIES]),
    Filter("state", "State", lambda v: Q(state=v), Study.State.choices),
    Filter("quality", "Image quality", _share("image_quality", "gte"), QUALITIES),
    Filter("poor", "Poor images", _share("image_quality", "lt"), (("50", "below 50 %"), ("70", "below 70 %"))),
    Filter("longitudinal", "Scans over time", _share("patient__longitudinal_quality", "gte"), QUALITIES),
    Filter(
        "urgent", "Priority", lambda v: Q(priority__gte=int(v)), (("1", "raised"), ("7", "high"), ("10", "at once"))
    ),
    Filter("from", "From", lambda v: Q(study_date__gte=v), kind="day"),
    Filter("to", "to", lambda v: Q(study_date__lte=v), kind="day"),
    _one("part", "Body part", lambda v: Q(body_part__iexact=v), kind="text"),
    _one("view", "View", _view, kind="text"),
    _one("series", "Series description", _series, kind="text"),
    _one("machine", "Maker or model", _machine, kind="text"),
    _one("source", "Source", lambda v: Q(source__name__iexact=v), kind="text"),
    _one("sex", "Sex", lambda v: Q(patient__sex=v), SEXES),
    _one("age_from", "Age from", lambda v: Q(patient_age__gte=int(v)), kind="number"),
    _one("age_to", "Age to", lambda v: Q(patient_age__lte=int(v)), kind="number"),
    _one("risk", "Risk factor", lambda v: Q(patient__risk_factors__has_key=v), kind="text"),
)
# the table offers some of what may be asked for
FREE = {"modality": "text", **dict.fromkeys(("quality", "poor", "longitudinal", "urgent"), "number")}


def read(query: QueryDict) -> dict[str, str]:
    """Filter → value of an address, without those that say nothing or make no sense."""
    found = {}
    for one in FILTERS:
        asked = replace(one, kind=FREE[one.key], choices=()) if one.key in FREE else one
        if value := asked.read(query):
            found[one.key] = value
    return found


def condition(query: QueryDict) -> Q:
    """The condition on studies that an address asks for."""
    values, wanted = read(query), Q()
    for one in FILTERS:
        if one.key in values:
            wanted &= one.where(values[one.key])
    return wanted


def words(query: QueryDict) -> list[tuple[str, str]]:
    """(label, value in words) of the filters that an address uses."""
    values: dict[str, Any] = read(query)
    named = {one.key: dict(one.choices) for one in FILTERS}
    return [
        (one.label.capitalize(), str(named[one.key].get(values[one.key], values[one.key])))
        for one in FILTERS
        if one.key in values
    ]

"""Reads of the archive; every one of them begins at the access door."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import Case, F, JSONField, QuerySet, Value, When
from django.http import Http404

from portal.accounts.models import Role
from portal.accounts.queries import AUDIENCES, memberships
from portal.archive import filters, rules
from portal.archive.delivery import Located
from portal.archive.models import Instance, Series, Study
from portal.archive.search import EVERYTHING, GIVEN, Blind, Found, Search, gather, statement
from portal.core import blinding

# What a role may do with scans. Account administrators see bills, not patients.
NEEDS: dict[str, frozenset[str]] = {
    "read": AUDIENCES["scans"],
    "output": AUDIENCES["output"],
    "run": frozenset({Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN}),
    "category": frozenset({Role.COORDINATOR, Role.PACS_ADMIN}),  # say what a scan shows, against its header
    "identity": frozenset({Role.PACS_ADMIN}),  # ask who the patient is
}


def organisations(user: Any, need: str = "read") -> list[int]:
    """Keys of the organisations in which the user may do what `need` names."""
    cache: dict[str, list[int]] = user.__dict__.setdefault("_archive_needs", {})
    if need not in cache:
        cache[need] = list(
            memberships(user).filter(roles__overlap=sorted(NEEDS[need])).values_list("organisation_id", flat=True)
        )
    return cache[need]


def studies(user: Any, need: str = "read") -> QuerySet[Study]:
    """The studies that the user may see."""
    return Study.objects.filter(organisation__in=organisations(user, need))


SEARCH_SECONDS = 20  # what takes longer has to be narrowed
# studies of the organisations in which who asks may see scans, but nothing that is said of them
UNTOLD = """SELECT b.id FROM archive_study b JOIN who ON who.org = b.organisation_id
    WHERE b.opinions AND b.organisation_id <> ALL (%s::bigint[])"""


def search(user: Any, wanted: Search) -> Found:
    """Search what the user may see. Raises django.db.OperationalError after SEARCH_SECONDS."""
    hidden, values = blinding.hidden_sql(user)
    blind = Blind(f"{UNTOLD} UNION ALL {hidden}" if hidden else UNTOLD, (organisations(user, "output"), *values))
    return search_in(organisations(user), wanted, blind)


def search_in(organisation_pks: list[int], wanted: Search, blind: Blind = EVERYTHING) -> Found:
    """The same among the scans of organisations; everything is shown unless told otherwise."""
    sql, values = statement(wanted, GIVEN, [organisation_pks], blind)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {SEARCH_SECONDS * 1000}")
        cursor.execute(sql, values)
        return gather(cursor.fetchall(), wanted)


def filtered(user: Any, query: Any) -> QuerySet[Study]:
    """The user's studies that fit an address's filters (`archive.filters`); what makes no sense is left out."""
    return studies(user).filter(filters.condition(query))


def access_study(user: Any, study_uid: str, need: str = "read") -> Study:
    """The one door to a study, by UID. Raises Http404 for missing and forbidden alike."""
    study = studies(user, need).select_related("patient").filter(study_uid=study_uid).order_by("pk").first()
    if study is None:
        raise Http404
    return study


def accessions(study: Study) -> list[str]:
    """The (pseudonymous) accession numbers of a study and its instances."""
    rows = Instance.objects.filter(study=study, headers__has_key="00080050").order_by()
    found = rows.values_list("headers__00080050__Value__0", flat=True).distinct()
    return sorted({str(number) for number in (study.accession, *found) if number})


def blind(user: Any, study: Study) -> bool:
    """Whether the opinions that a study holds (`rules.opinion`) are kept from the user now."""
    return study.opinions and (
        study.organisation_id not in organisations(user, "output") or blinding.hidden(user, study.pk)
    )


def shown(user: Any, study: Study) -> QuerySet[Instance]:
    """The instances of a study that the user may see now."""
    rows = Instance.objects.filter(study=study)
    return rows.filter(opinion=False) if blind(user, study) else rows


def access_series(user: Any, study_uid: str, series_uid: str, need: str = "read") -> Series:
    """A series through the door of its study. Raises Http404."""
    series: Series = _one(
        Series.objects.select_related("study").filter(
            organisation__in=organisations(user, need), series_uid=series_uid, study__study_uid=study_uid
        )
    )
    if series.opinion and blind(user, series.study):
        raise Http404
    return series


def access_instance(user: Any, study_uid: str, series_uid: str, sop_uid: str, need: str = "read") -> Instance:
    """An instance through the door of its study; its headers are not loaded. Raises Http404."""
    instance: Instance = _one(
        Instance.objects.defer("headers").filter(
            organisation__in=organisations(user, need),
            sop_uid=sop_uid,
            series__series_uid=series_uid,
            study__study_uid=study_uid,
        )
    )
    if instance.opinion and blind(user, instance.study):
        raise Http404
    return instance


def located(user: Any, study_uid: str, series_uid: str = "", sop_uid: str = "") -> list[Located]:
    """Where the files lie that an address names, in reading order, in one statement; empty for missing and forbidden.

    Frame tables come with a single instance only.
    """
    rows = Instance.objects.filter(organisation__in=organisations(user), study__study_uid=study_uid)
    if series_uid:
        rows = rows.filter(series__series_uid=series_uid)
    if sop_uid:
        rows = rows.filter(sop_uid=sop_uid)
    table = F("frame_table") if sop_uid else Value([], JSONField())
    frames = Case(When(rows__gt=0, then=F("frames")), default=0)
    found = rows.order_by("study_id", "series__number", "series_id", "number", "pk").values_list(
        "study_id", "name", "transfer_syntax", frames, "sha256", table, "size", "opinion"
    )
    places = [(study, Located(*values)) for study, *values in found]
    places = [(study, place) for study, place in places if study == places[0][0]]
    if any(place.opinion for _, place in places) and blind(user, Study.objects.get(pk=places[0][0])):
        places = [(study, place) for study, place in places if not place.opinion]
    return [place for _, place in places][: 1 if sop_uid else None]


def _one(rows: QuerySet) -> Any:
    row = rows.order_by("pk").first()
    if row is None:
        raise Http404
    return row


def category(study: Study) -> tuple[list[str], str]:
    """(modalities, body part) by which functions and programmes are chosen for a study."""
    rows = study.series.order_by("number", "pk").values_list(
        "modality", "body_part", "given_modality", "given_body_part", "set_aside"
    )
    return rules.category(study.modalities, study.body_part, [rules.Filed(*row) for row in rows])


def image_list(study: Study, with_priors: bool = True) -> list[dict[str, Any]]:
    """The images of a study and its priors, as the reading room's bundle lists them.

    Priors are the same patient's earlier studies that share a modality, newest first, three at most.
    """
    images = _images(study, "current")
    for prior in priors(study) if with_priors else []:
        images += _images(prior, "prior")
    return images


def priors(study: Study, limit: int = 3) -> list[Study]:
    """Earlier studies of the same patient with a modality in common, newest first."""
    if not study.modalities:
        return []
    rows = Study.objects.filter(
        organisation_id=study.organisation_id,
        patient_id=study.patient_id,
        modalities__overlap=study.modalities,
    ).exclude(pk=study.pk)
    if study.study_date:
        rows = rows.filter(study_date__lt=study.study_date)
    return list(rows.order_by("-study_date", "-pk")[:limit])


def _images(study: Study, role: str) -> list[dict[str, Any]]:
    rows = Instance.objects.filter(study=study, rows__gt=0, opinion=False)
    rows = rows.select_related("series").defer("headers", "frame_table")
    return [
        {
            "study_uid": study.study_uid,
            "series_uid": row.series.series_uid,
            "sop_uid": row.sop_uid,
            "modality": row.series.modality,
            "laterality": row.laterality or None,
            "view": row.view or None,
            "rows": row.rows,
            "columns": row.columns,
            "frames": row.frames,
            "instance_number": row.number,
            "role": role,
            "study_date": study.study_date.isoformat() if study.study_date else None,
        }
        for row in rows.order_by("series__number", "series_id", "number", "pk")
    ]

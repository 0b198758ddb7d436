"""The tables of scans and of cohorts."""

from __future__ import annotations

from django.db.models import Q

from portal.archive.filters import FILTERS
from portal.archive.models import Study
from portal.core.tables import Column, Filter, Table

SCANS = Table(
    "scans",
    (
        Column("scan", "Scan", lambda s: s.description, fixed=True),
        Column("modality", "Modality", lambda s: s.modalities),
        Column("part", "Body part", lambda s: s.body_part, extra=True),
        Column("patient", "Patient", lambda s: s.patient.pseudonym, css="mono small"),
        Column("date", "Date", lambda s: s.study_date, order="study_date", nullable=True),
        Column("images", "Images", lambda s: s.instance_count, order="instance_count", css="num"),
        Column(
            "quality",
            "Image quality",
            lambda s: s.image_quality,
            order="image_quality",
            nullable=True,
            css="num",
            extra=True,
        ),
        Column(
            "longitudinal",
            "Scans over time",
            lambda s: s.patient.longitudinal_quality,
            order="patient__longitudinal_quality",
            nullable=True,
            css="num",
            extra=True,
        ),
        Column("priority", "Priority", lambda s: s.priority, order="priority", css="num", extra=True),
        Column("source", "Source", lambda s: s.source and s.source.name, extra=True),
        Column("uid", "Study UID", lambda s: s.study_uid, css="mono small wrap", extra=True),
        Column("state", "State", lambda s: Study.State(s.state).label),
        Column("arrived", "Arrived", lambda s: s.arrived_at, order="pk"),  # scans are numbered as they arrive
    ),
    FILTERS,
    sort="-arrived",
)

COHORTS = Table(
    "cohorts",
    (
        Column("name", "Cohort", lambda c: c.name, order="name", fixed=True),
        Column("filters", "Filters", lambda c: "; ".join(f"{label} {value}" for label, value in c.words), css="words"),
        Column("kind", "Studies", lambda c: "frozen" if c.frozen else "live", css="tight"),
        Column("owner", "Made by", lambda c: str(c.owner or "")),
        Column("shared", "Shared", lambda c: "yes" if c.shared else "no", css="tight"),
        Column("made", "Made", lambda c: c.created_at, order="created_at", css="tight"),
    ),
    (
        Filter("q", "Name or description", lambda v: Q(name__icontains=v) | Q(description__icontains=v), kind="text"),
        Filter("kind", "Studies", lambda v: Q(frozen_at__isnull=v == "live"), (("live", "live"), ("frozen", "frozen"))),
        Filter("shared", "Sharing", lambda v: Q(shared=v == "yes"), (("yes", "shared"), ("no", "private"))),
    ),
    sort="-made",
)

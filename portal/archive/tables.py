"""The table of scans."""

from __future__ import annotations

from portal.archive.models import Study
from portal.archive.queries import CONDITIONS
from portal.core.tables import Column, Filter, Table

MODALITIES = ("MG", "DX", "CR", "CT", "MR", "US")

QUALITIES = (("50", "50 % and more"), ("70", "70 % and more"), ("85", "85 % and more"))

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
    (
        Filter("q", "Description, patient or UID", CONDITIONS["q"], kind="text"),
        Filter("modality", "Modality", CONDITIONS["modality"], [(one, one) for one in MODALITIES]),
        Filter("state", "State", CONDITIONS["state"], Study.State.choices),
        Filter("quality", "Image quality", CONDITIONS["quality"], QUALITIES),
        Filter("poor", "Poor images", CONDITIONS["poor"], (("50", "below 50 %"), ("70", "below 70 %"))),
        Filter("longitudinal", "Scans over time", CONDITIONS["longitudinal"], QUALITIES),
        Filter("urgent", "Priority", CONDITIONS["urgent"], (("1", "raised"), ("7", "high"), ("10", "at once"))),
        Filter("from", "From", CONDITIONS["from"], kind="day"),
        Filter("to", "to", CONDITIONS["to"], kind="day"),
    ),
    sort="-arrived",
)

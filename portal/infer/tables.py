"""The table of a function's runs."""

from __future__ import annotations

from django.db.models import Q

from portal.core.tables import Column, Filter, Table
from portal.infer.models import Run

RUNS = Table(
    "runs",
    (
        Column("state", "State", lambda r: Run.State(r.state).label, fixed=True, css="tight"),
        Column("scan", "Scan", lambda r: r.study.description, fixed=True),
        Column("version", "Version", lambda r: r.version.version),
        Column("attempts", "Attempts", lambda r: r.attempts, order="attempts", css="num"),
        Column("queued", "Queued", lambda r: r.queued_at, order="queued_at", css="tight"),
        Column("finished", "Finished", lambda r: r.finished_at, order="finished_at", nullable=True,
               css="tight", extra=True),
        Column("words", "Words", lambda r: r.error, css="words"),
    ),
    (
        Filter("state", "State", lambda v: Q(state=v), Run.State.choices, "chips"),
        Filter("q", "Scan", lambda v: Q(study__description__icontains=v) | Q(study__study_uid=v), kind="text"),
        Filter("version", "Version", lambda v: Q(version__version=v), kind="text"),
        Filter("from", "From", lambda v: Q(queued_at__date__gte=v), kind="day"),
        Filter("to", "to", lambda v: Q(queued_at__date__lte=v), kind="day"),
    ),
    sort="-queued",
    bulk=True,
)  # fmt: skip

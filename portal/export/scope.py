"""What a data set speaks of: a programme, all of it or the cases whose scans are in a cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from portal.archive.cohorts.queries import selected
from portal.archive.models import Cohort
from portal.programmes.models import Case, Programme


@dataclass(frozen=True)
class Scope:
    """A programme as its data sets ask for it; with a cohort, only its cases of the cohort's scans as they are now."""

    programme: Programme
    cohort: Cohort | None = None

    @property
    def name(self) -> str:
        """The programme's name."""
        return self.programme.name

    @property
    def slug(self) -> str:
        """The programme's slug."""
        return self.programme.slug

    @property
    def protocols(self) -> QuerySet[Any]:
        """Every version of the protocol."""
        return self.programme.protocols.all()

    @property
    def cases(self) -> QuerySet[Case]:
        """The cases that are meant."""
        rows = self.programme.cases.all()
        return rows.filter(study__in=selected(self.cohort)) if self.cohort else rows

"""Many cases and many readers at once, without images: for queues, races and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from portal.accounts.models import Membership, Organisation, Qualification, Role, User
from portal.archive.models import Patient, Study
from portal.programmes.models import Assignment, Case, PanelMember, Programme


def queued(programme: Programme, count: int, *, slots: int = 1, state: str = "open", **values: Any) -> list[Assignment]:
    """`count` cases with `slots` offered first readings each, a minute apart, the oldest first.

    values  of the assignments: kind, priority, created_at (of the first), reader …
    """
    organisation, protocol = programme.organisation, programme.protocols.order_by("-number")[:1].get()
    patient, _ = Patient.objects.get_or_create(organisation=organisation, pseudonym="P-QUEUE")
    last = programme.cases.count()
    start: datetime = values.pop("created_at", timezone.now() - timedelta(days=30))
    studies = Study.objects.bulk_create(
        Study(organisation=organisation, patient=patient, study_uid=f"2.25.{programme.pk}.{last + n}", state="settled",
              modalities=programme.modalities)
        for n in range(count)
    )  # fmt: skip
    cases = Case.objects.bulk_create(
        Case(organisation=organisation, programme=programme, protocol=protocol, study=study, number=last + n + 1,
             state=state)
        for n, study in enumerate(studies)
    )  # fmt: skip
    return Assignment.objects.bulk_create(
        Assignment(organisation=organisation, case=case, state="offered", slot=slot + 1,
                   created_at=start + timedelta(minutes=n), **values)
        for n, case in enumerate(cases)
        for slot in range(slots)
    )  # fmt: skip


def panel(programme: Programme, count: int, prefix: str = "reader") -> list[User]:
    """`count` qualified readers on the panel of a programme."""
    organisation: Organisation = programme.organisation
    users = User.objects.bulk_create(User(username=f"{prefix}-{n}", is_active=True) for n in range(count))
    Membership.objects.bulk_create(Membership(user=u, organisation=organisation, roles=[Role.READER]) for u in users)
    wanted = programme.protocols.order_by("-number")[:1].get().qualification
    Qualification.objects.bulk_create(Qualification(user=u, organisation=organisation, category=wanted) for u in users)
    PanelMember.objects.bulk_create(PanelMember(programme=programme, user=u, part="reader") for u in users)
    return users


def taken(user: User, offers: Sequence[Assignment]) -> None:
    """As if the user had read these before, at another slot of the same case."""
    Assignment.objects.bulk_create(
        Assignment(organisation_id=a.organisation_id, case_id=a.case_id, state="submitted", slot=90, reader=user)
        for a in offers
    )

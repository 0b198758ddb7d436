"""Ways out: destinations, queued returns to them, and data sets."""

import uuid
from typing import ClassVar

import pghistory
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.core.states import StateModel, Table
from portal.infer.models import Run
from portal.programmes.models import Case, Programme


@pghistory.track()
class Destination(models.Model):
    """A PACS that takes results by C-STORE."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="destinations")
    name = models.CharField(max_length=80)
    ae_title = models.CharField(max_length=16)
    host = models.CharField(max_length=120)
    port = models.PositiveIntegerField()
    automatic = models.BooleanField(default=False)  # each settled case is returned at once
    active = models.BooleanField(default=True)
    # the owner's own PACS: patient and original UIDs are put back on the way; elsewhere the pseudonym goes out
    restore_identity = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="destination_name_once")]

    def __str__(self) -> str:
        return self.name


class Return(StateModel):
    """One result object on its way to a destination."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        SENT = "sent", "Acknowledged"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[Table] = {
        "queued": frozenset({"sent", "failed"}),
        "failed": frozenset({"queued"}),
        "sent": frozenset({"queued"}),  # the truth changed: the peer gets the new result
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="returns")
    format = models.CharField(max_length=8, default="sr")
    sop_uid = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(null=True)  # when a failed one is sent again by itself; empty: by a person only
    sent_at = models.DateTimeField(null=True)
    identified = models.BooleanField(default=False)  # whether what was sent held the patient's identity

    class Meta:
        constraints = [models.UniqueConstraint(fields=["destination", "case", "format"], name="one_return_a_case")]
        indexes = [
            models.Index(fields=["next_at"], condition=models.Q(state="failed"), name="return_due"),
            models.Index(fields=["organisation", "-queued_at"], name="return_newest"),
        ]

    def __str__(self) -> str:
        return f"return {self.id} ({self.state})"

    @property
    def failed(self) -> bool:
        """Whether it can be sent again by hand."""
        return self.state == self.State.FAILED


class DataSet(StateModel):
    """An export of a programme's readings and truth, with a manifest of hashes."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        BUILDING = "building", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[Table] = {
        "queued": frozenset({"building"}),
        "building": frozenset({"ready", "failed"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    programme = models.ForeignKey(Programme, on_delete=models.CASCADE, related_name="data_sets")
    format = models.CharField(max_length=12)
    asked_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    name = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.CharField(max_length=300, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["organisation", "-asked_at"], name="data_set_newest")]

    def __str__(self) -> str:
        return f"data set {self.id} ({self.state})"


class MapExport(models.Model):
    """Who took a run's maps out, and what it was."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="map_exports")
    kind = models.CharField(max_length=12)
    taken_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    taken_at = models.DateTimeField(default=timezone.now)
    objects_count = models.PositiveIntegerField()
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.kind} of {self.run_id}"

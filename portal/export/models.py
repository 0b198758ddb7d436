"""Ways out: destinations, queued returns to them, and data sets."""

import uuid
from typing import ClassVar

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.archive.models import Cohort
from portal.core.states import StateModel, Table
from portal.export.kinds import KINDS
from portal.export.rules import PAUSES
from portal.infer.models import Run
from portal.peers.client import Address
from portal.peers.models import Commitment
from portal.peers.outgoing import Outgoing
from portal.programmes.models import Case, Programme


def first_wants() -> list[str]:
    """What a new destination takes until somebody chooses: structured reports of readings."""
    return ["sr"]


@pghistory.track(exclude=["secret"])
class Destination(models.Model):
    """Where results go: a PACS by C-STORE or STOW-RS, or whoever takes reports by HL7 or FHIR."""

    class Kind(models.TextChoices):
        DIMSE = "dimse", "PACS by C-STORE"
        DICOMWEB = "dicomweb", "PACS by STOW-RS"
        MLLP = "mllp", "HL7 v2 over MLLP"
        FHIR = "fhir", "FHIR R4 server"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="destinations")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.DIMSE)
    ae_title = models.CharField(max_length=16, blank=True)
    host = models.CharField(max_length=120, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
    tls = models.BooleanField(default=False)  # C-STORE and MLLP; the web kinds say https in their address
    url = models.URLField(max_length=300, blank=True)
    secret = models.TextField(blank=True, editable=False)  # bearer token, or user:password; sealed (core.sealed)
    wants = ArrayField(models.CharField(max_length=12), default=first_wants, blank=True)  # keys of export.kinds
    automatic = models.BooleanField(default=False)  # each result is returned at once
    active = models.BooleanField(default=True)
    # the owner's own: patient and original UIDs are put back on the way; elsewhere the pseudonym goes out
    restore_identity = models.BooleanField(default=False)
    commit = models.BooleanField(default=False)  # asked to promise that it keeps what it took (PS3.4 Annex J)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="destination_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def takes(self) -> list[dict[str, str]]:
        """The kinds of result that it wants, with their words."""
        return [{"key": key, "words": kind.words} for key, kind in KINDS.items() if key in self.wants]

    @property
    def entity(self) -> Address:
        """How it is reached by DICOM."""
        return Address(self.name, self.host, self.port or 104, self.ae_title, tls=self.tls, trusted=True)

    @property
    def address(self) -> str:
        """Where it is, in one line."""
        return self.url or f"{self.host} port {self.port}"


class Return(Outgoing):
    """One result on its way to a destination: of a settled case, or of a model's run."""

    TOPIC = "export.return_queued"
    PAUSES = PAUSES

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        SENT = "sent", "Acknowledged"
        FAILED = "failed", "Failed"
        NOTHING = "nothing", "Nothing to send"

    TRANSITIONS: ClassVar[Table] = {
        "queued": frozenset({"sent", "failed", "nothing"}),
        "failed": frozenset({"queued"}),
        # the truth changed, and the peer gets the new result; or it will not keep what it took
        "sent": frozenset({"queued", "failed"}),
        "nothing": frozenset({"queued"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, null=True, related_name="returns")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, related_name="returns")
    format = models.CharField(max_length=12, default="sr")  # key of export.kinds
    content = models.CharField(max_length=64, blank=True)  # SHA-256 of what was said when it was sent last
    sop_uid = models.CharField(max_length=64, blank=True)  # the first object's, or the message's id
    objects_count = models.PositiveIntegerField(default=0)
    answer = models.CharField(max_length=200, blank=True)  # the peer's acknowledgement in its words
    sent_at = models.DateTimeField(null=True)
    identified = models.BooleanField(default=False)  # whether what was sent held the patient's identity
    # the promise to keep it, where the destination is asked for one
    commitment = models.ForeignKey(Commitment, on_delete=models.SET_NULL, null=True, related_name="returns")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["destination", "case", "format"], name="one_return_a_case"),
            models.UniqueConstraint(fields=["destination", "run", "format"], name="one_return_a_run"),
            models.CheckConstraint(
                condition=models.Q(case__isnull=True) ^ models.Q(run__isnull=True), name="return_of_case_or_run"
            ),
        ]
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

    @property
    def what(self) -> str:
        """Its kind in words."""
        return KINDS[self.format].words

    @property
    def about(self) -> str:
        """What it is a result of, in words."""
        if self.case is not None:
            return f"{self.case.programme.name} case {self.case.number}"
        return f"{self.run.version} on {self.run.study.description or 'a scan'}" if self.run else ""


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
    # only the cases whose scans are in it; its name stays when it is removed
    cohort = models.ForeignKey(Cohort, on_delete=models.SET_NULL, null=True, related_name="data_sets")
    cohort_name = models.CharField(max_length=80, blank=True)
    format = models.CharField(max_length=12)  # key of export.sets.FORMATS
    container = models.CharField(max_length=3, default="zip")  # key of export.sets.CONTAINERS
    asked_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    name = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)  # of the file
    content_sha256 = models.CharField(max_length=64, blank=True)  # of what is in it, whatever the container and day
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

"""Inference runs and their stored results."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.archive.models import Instance, Study
from portal.core.states import StateModel, Table
from portal.functions.models import FunctionVersion


class Run(StateModel):
    """One function version on one study at one revision of it."""

    class State(models.TextChoices):
        HELD = "held", "Held"
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    TRANSITIONS: ClassVar[Table] = {
        "held": frozenset({"queued", "cancelled"}),  # until it is decided what the scan is
        "queued": frozenset({"running", "cancelled", "held"}),
        "running": frozenset({"done", "failed", "queued", "cancelled"}),
        "failed": frozenset({"queued"}),
    }

    AT_WORK: ClassVar[frozenset[str]] = frozenset({"held", "queued", "running"})

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="runs")
    study_revision = models.PositiveIntegerField()
    version = models.ForeignKey(FunctionVersion, on_delete=models.PROTECT, related_name="runs")
    attempts = models.PositiveIntegerField(default=0)
    priority = models.SmallIntegerField(default=0)  # the study's when it was queued; higher is sooner
    ready = models.BooleanField(default=False)  # its inputs were prepared, or cannot be: a gpu worker may take it
    progress = models.FloatField(default=0.0)
    stage = models.CharField(max_length=40, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=500, blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # function id and version, inputs (SOP UIDs + SHA-256), parameters, weights hash, code version, device
    provenance = models.JSONField(default=dict)
    timings_ms = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "version", "study_revision"], name="one_run_a_revision")
        ]
        indexes = [
            models.Index(fields=["organisation", "-queued_at"], name="run_newest"),
            models.Index(
                fields=["-priority", "queued_at"], condition=models.Q(state="queued", ready=True), name="run_waiting"
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id} ({self.state})"


class CaseResult(models.Model):
    """The case-level output of a run."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="result")
    score = models.FloatField(null=True)  # malignancy output, or the largest global probability
    call = models.BooleanField(null=True)
    threshold = models.FloatField(null=True)
    sides = models.JSONField(default=dict)
    views = models.JSONField(default=dict)
    missing_views = models.JSONField(default=list)
    lesions = models.JSONField(default=list)  # gated: empty unless call is positive
    warnings = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"result of {self.run_id}"


class ImageResult(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="images")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="results")
    score = models.FloatField(null=True)
    classes = models.JSONField(default=list)
    global_probabilities = models.JSONField(default=dict)
    present = models.JSONField(default=dict)
    thresholds = models.JSONField(default=dict)
    any_abnormality = models.BooleanField(default=False)
    regions = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "instance"], name="one_result_an_image")]

    def __str__(self) -> str:
        return f"{self.run_id} on {self.instance_id}"


class Matrix(models.Model):
    """A probability matrix (K, N, N), uint8 = probability × 255, C order, gzip."""

    image = models.ForeignKey(ImageResult, on_delete=models.CASCADE, related_name="matrices")
    row = models.PositiveSmallIntegerField()  # N
    shape = models.JSONField()
    data = models.BinaryField()

    class Meta:
        verbose_name_plural = "matrices"
        constraints = [models.UniqueConstraint(fields=["image", "row"], name="one_matrix_a_row")]

    def __str__(self) -> str:
        return f"matrix {self.row} of {self.image_id}"

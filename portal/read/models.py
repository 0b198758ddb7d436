"""Readings: drafts that are never lost, submissions that are final, marks tied to the image."""

import uuid
from typing import ClassVar

import pghistory
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.core.states import StateModel, Table
from portal.programmes.models import Assignment, Case, Protocol


@pghistory.track()
class Reading(StateModel):
    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        SUBMITTED = "submitted", "Submitted"

    TRANSITIONS: ClassVar[Table] = {"draft": frozenset({"submitted"})}

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="reading")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="readings")
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT)
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="readings")
    revision = models.PositiveIntegerField(default=0)
    client = models.CharField(max_length=64, blank=True)  # the tab that saved last
    base_revision = models.PositiveIntegerField(default=0)  # what that tab had seen when it began to save
    answers = models.JSONField(default=dict)
    draft_marks = models.JSONField(default=list)  # as the viewer sends them, until submit
    # SOP Instance UID → {"centre", "width", "inverted"}: the window under which each image was read last
    display = models.JSONField(default=dict)
    active_ms = models.PositiveBigIntegerField(default=0)
    model_seen_at = models.DateTimeField(null=True)  # when the model's output was first shown to this reader
    alerted_at = models.DateTimeField(null=True)  # when a disagreement with the model was shown to this reader
    submit_key = models.UUIDField(null=True, unique=True)
    started_at = models.DateTimeField(default=timezone.now)
    saved_at = models.DateTimeField(default=timezone.now)
    submitted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["reader", "-submitted_at"], name="reading_of_reader")]

    def __str__(self) -> str:
        return f"reading of {self.case_id} by {self.reader_id} ({self.state})"


class Mark(models.Model):
    """A geometric annotation of a submitted reading."""

    class Tool(models.TextChoices):
        LENGTH = "length"
        RECTANGLE = "rectangle"
        ELLIPSE = "ellipse"
        FREEHAND = "freehand"
        ARROW = "arrow"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reading = models.ForeignKey(Reading, on_delete=models.CASCADE, related_name="marks")
    client_id = models.CharField(max_length=64)
    tool = models.CharField(max_length=12, choices=Tool.choices)
    sop_uid = models.CharField(max_length=64)
    frame = models.PositiveIntegerField(default=1)
    points_px = models.JSONField()  # [[column, row], …], pixel centres are whole numbers
    points_mm = models.JSONField(null=True)  # [[x, y, z], …] patient coordinates (PS3.3 C.7.6.2.1.1)
    label = models.CharField(max_length=64, blank=True)
    rating = models.FloatField(null=True)  # 0–100
    text = models.CharField(max_length=500, blank=True)
    measurements = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["reading", "client_id"], name="mark_once")]
        indexes = [models.Index(fields=["sop_uid"], name="mark_on_image")]

    def __str__(self) -> str:
        return f"{self.tool} on {self.sop_uid}"


class WorkitemClaim(models.Model):
    """A claim made by UPS-RS (PS3.18 section 11.7): who holds which round of an assignment under which Transaction UID.

    A round of an assignment is one work item. A claim that was given back, or ran out, ends its work item as
    CANCELED, and the next round is another: `round` is `Assignment.given_back` at the claim.
    """

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="workitem_claims")
    round = models.PositiveSmallIntegerField()
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    transaction_uid = models.CharField(max_length=64)
    claimed_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)  # given back under this transaction
    progress = models.JSONField(default=dict)  # {"percent", "words"} as reported
    reason = models.JSONField(default=dict)  # {"words", "code"} why it was given back

    class Meta:
        constraints = [models.UniqueConstraint(fields=["assignment", "round"], name="workitem_claimed_once")]
        indexes = [models.Index(fields=["reader", "-claimed_at"], name="workitem_claims_of")]

    def __str__(self) -> str:
        return f"claim {self.round} of {self.assignment_id}"

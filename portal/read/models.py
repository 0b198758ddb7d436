"""Readings: drafts that are never lost, submissions that are final, marks tied to the image."""

import uuid
from typing import ClassVar

import pghistory
import pgtrigger
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.core.states import StateModel, Table
from portal.programmes.models import Assignment, Case, Protocol

CHANNEL = "concord_workitems"  # told when a report is written
LOCK = 0x5550532D5253  # "UPS-RS": advisory lock between changes of assignments and subscriptions to the worklist


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


class WorkitemSubscriber(models.Model):
    """Who is told of what happens to work items, under an AE title of their own choice (PS3.4 CC.2.3)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    # that of the token by which the subscription was made; none: all that the user works in
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, null=True)
    ae_title = models.CharField(max_length=16)
    connection = models.UUIDField(null=True)  # the newest event channel, the only one that is served
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organisation", "ae_title"], nulls_distinct=False, name="subscriber_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.ae_title} of {self.user_id}"


class WorkitemSubscription(models.Model):
    """A subscription to one work item, or to the worklist (PS3.4 table CC.2.3-2)."""

    subscriber = models.ForeignKey(WorkitemSubscriber, on_delete=models.CASCADE, related_name="subscriptions")
    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, null=True, related_name="+")  # none: worklist
    round = models.PositiveSmallIntegerField(null=True)
    filter = models.JSONField(default=dict)  # of the worklist: dotted keyword → value, as of `matching.wanted`
    locked = models.BooleanField(default=False)  # Deletion Lock
    excluded = models.BooleanField(default=False)  # unsubscribed from this one of a worklist that is subscribed to

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "assignment", "round"], nulls_distinct=False, name="subscription_once"
            )
        ]

    def __str__(self) -> str:
        return f"subscription of {self.subscriber_id} to {self.assignment_id or 'the worklist'}"


class WorkitemReport(models.Model):
    """What a subscriber is still to be told; whether they may be told is decided when it is sent."""

    class Event(models.IntegerChoices):
        """Event Type ID (PS3.4 table CC.2.4-1)."""

        STATE = 1
        CANCEL_REQUESTED = 2
        PROGRESS = 3
        ASSIGNED = 5

    subscriber = models.ForeignKey(WorkitemSubscriber, on_delete=models.CASCADE, related_name="reports")
    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="+")
    round = models.PositiveSmallIntegerField()
    event = models.PositiveSmallIntegerField(choices=Event.choices)
    step_state = models.CharField(max_length=12, blank=True)  # Procedure Step State then; empty: as it is when told
    data = models.JSONField(default=dict)  # what was said in a request: {"percent", "words"} or {"words", "code", …}
    at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["subscriber", "id"], name="reports_of_subscriber")]
        triggers = [
            pgtrigger.Trigger(
                name="tell",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func=f"PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL;",
            )
        ]

    def __str__(self) -> str:
        return f"report {self.event} for {self.subscriber_id}"


# Whoever changes an assignment, and by whichever statement, its subscribers' reports are written with it. The lock is
# shared by all who change one; who subscribes to the worklist takes it alone, so that no change goes between.
WATCH = f"""
  PERFORM pg_advisory_xact_lock_shared({LOCK});
  IF EXISTS (SELECT 1 FROM read_workitemsubscription) THEN
    FOR news IN
      SELECT * FROM (VALUES
        (NEW.given_back, 1, CASE NEW.state WHEN 'offered' THEN 'SCHEDULED' WHEN 'claimed' THEN 'IN PROGRESS'
                            WHEN 'submitted' THEN 'COMPLETED' ELSE 'CANCELED' END,
         TG_OP = 'INSERT' OR (NEW.given_back = OLD.given_back AND NEW.state <> OLD.state
                              AND NOT (OLD.state = 'claimed' AND NEW.state = 'offered'))),
        (NEW.given_back - 1, 1, 'CANCELED', TG_OP = 'UPDATE' AND NEW.given_back > OLD.given_back),
        (NEW.given_back, 1, 'SCHEDULED', TG_OP = 'UPDATE' AND NEW.given_back > OLD.given_back),
        (NEW.given_back, 5, 'SCHEDULED', NEW.state = 'offered' AND NEW.reader_id IS NOT NULL
                              AND (TG_OP = 'INSERT' OR NEW.reader_id IS DISTINCT FROM OLD.reader_id))
      ) AS told(round, event, state, so) WHERE so
    LOOP
      INSERT INTO read_workitemreport (subscriber_id, assignment_id, round, event, step_state, data, at)
      SELECT DISTINCT who.id, NEW.id, news.round, news.event, news.state, '{{}}'::jsonb, now()
      FROM read_workitemsubscription one
      JOIN read_workitemsubscriber who ON who.id = one.subscriber_id
      JOIN accounts_membership works ON works.user_id = who.user_id AND works.active
       AND works.organisation_id = NEW.organisation_id
       AND works.organisation_id = COALESCE(who.organisation_id, NEW.organisation_id)
      WHERE one.assignment_id IS NULL OR (one.assignment_id = NEW.id AND one.round = news.round);
    END LOOP;
  END IF;
  RETURN NULL;
"""


class WatchedAssignment(Assignment):
    """Assignments as those who subscribed to work items see them change."""

    class Meta:
        proxy = True
        triggers = [
            pgtrigger.Trigger(
                name="workitem_reports",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("state", "reader_id", "given_back"),
                declare=[("news", "RECORD")],
                func=WATCH,
            )
        ]

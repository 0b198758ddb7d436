"""Programmes of reading work: protocol versions, panels of readers, cases and assignments."""

import uuid
from typing import ClassVar

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, Role, User
from portal.archive.models import Study
from portal.core.states import StateModel, Table


@pghistory.track()
class Programme(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="programmes")
    slug = models.SlugField()
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    modalities = ArrayField(models.CharField(max_length=16), default=list)  # the cohort: which studies
    body_parts = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "slug"], name="programme_slug_once")]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class Protocol(models.Model):
    """One version of a programme's rules; readings keep the version they were made under."""

    class Mode(models.TextChoices):
        BLINDED = "blinded", "Blinded independent"
        SECOND_READER = "second_reader", "Model as independent second reader"
        ON_DEMAND = "on_demand", "Model on demand"
        VERIFICATION = "verification", "Verification after the first reading"

    class Trigger(models.TextChoices):
        SECOND_READING = "second_reading", "Queue a second reader"
        ALERT = "alert", "Show the outlines to the first reader"

    programme = models.ForeignKey(Programme, on_delete=models.CASCADE, related_name="protocols")
    number = models.PositiveIntegerField()
    form = models.JSONField(default=list)  # questions, see docs/user/reading-room.md
    labels = models.JSONField(default=list)
    tools = models.JSONField(default=list)
    hanging = models.CharField(max_length=16, default="stack")
    mode = models.CharField(max_length=16, choices=Mode.choices, default=Mode.BLINDED)
    trigger = models.CharField(max_length=16, choices=Trigger.choices, default=Trigger.SECOND_READING)
    readers_per_case = models.PositiveSmallIntegerField(default=1)
    similarity_rule = models.JSONField(default=dict)  # {"id", "version", "weights": {...}}
    similarity_threshold = models.FloatField(default=0.7)
    consensus_rule = models.JSONField(default=dict)  # {"id", "version", ...}
    discrepancy_threshold = models.FloatField(default=0.25)
    qualification = models.CharField(max_length=64, blank=True)
    expected_seconds = models.PositiveIntegerField(default=90)
    claim_minutes = models.PositiveIntegerField(default=240)
    credits = models.PositiveIntegerField(default=10)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["programme", "number"], name="protocol_number_once")]

    def __str__(self) -> str:
        return f"{self.programme} v{self.number}"


@pghistory.track()
class PanelMember(models.Model):
    """A user's part in one programme."""

    class Part(models.TextChoices):
        READER = "reader", "Reader"
        ARBITER = "arbiter", "Arbiter"
        COORDINATOR = "coordinator", "Coordinator"

    programme = models.ForeignKey(Programme, on_delete=models.CASCADE, related_name="panel")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="panels")
    part = models.CharField(max_length=12, choices=Part.choices)
    available = models.BooleanField(default=True)
    quota = models.PositiveIntegerField(null=True, blank=True)  # open assignments at once

    class Meta:
        constraints = [models.UniqueConstraint(fields=["programme", "user", "part"], name="panel_part_once")]

    def __str__(self) -> str:
        return f"{self.user} {self.part} of {self.programme}"


# which of these roles in the programme's organisation a part asks for
PART_ROLES: dict[str, tuple[Role, ...]] = {
    PanelMember.Part.READER: (Role.READER,),
    PanelMember.Part.ARBITER: (Role.READER, Role.COORDINATOR),
    PanelMember.Part.COORDINATOR: (Role.COORDINATOR,),
}


# its state is told by what happens to it; its priority is a person's decision
@pghistory.track(
    pghistory.UpdateEvent(condition=pghistory.AnyChange("priority")),
    fields=["number", "priority"],
    model_name="CasePriorityEvent",
    obj_field=pghistory.ObjForeignKey(related_name="priority_events"),
)
class Case(StateModel):
    """One study in one programme, from waiting for the model to a settled truth."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the model"
        OPEN = "open", "To be read"
        COMPARING = "comparing", "Being compared"
        SECOND = "second", "Second reading"
        MERGING = "merging", "Being merged"
        ARBITRATION = "arbitration", "Arbitration"
        SETTLED = "settled", "Settled"

    TRANSITIONS: ClassVar[Table] = {
        "waiting": frozenset({"open"}),
        "open": frozenset({"comparing"}),
        "comparing": frozenset({"second", "merging"}),
        "second": frozenset({"merging"}),
        "merging": frozenset({"arbitration", "settled", "second"}),
        "arbitration": frozenset({"settled"}),
    }

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    programme = models.ForeignKey(Programme, on_delete=models.CASCADE, related_name="cases")
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="cases")
    number = models.PositiveIntegerField()
    priority = models.SmallIntegerField(default=0)
    control = models.BooleanField(default=False)  # truth known beforehand
    created_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["programme", "study"], name="study_once_a_programme"),
            models.UniqueConstraint(fields=["programme", "number"], name="case_number_once"),
        ]
        indexes = [models.Index(fields=["programme", "state", "-priority", "number"], name="case_queue")]

    def __str__(self) -> str:
        return f"case {self.number} of {self.programme}"


class Assignment(StateModel):
    """A slot of a case: offered to the panel, or to one reader, then claimed and submitted."""

    class State(models.TextChoices):
        OFFERED = "offered", "Offered"
        CLAIMED = "claimed", "In reading"
        SUBMITTED = "submitted", "Submitted"
        CANCELLED = "cancelled", "Cancelled"

    class Kind(models.TextChoices):
        FIRST = "first", "Reading"
        SECOND = "second", "Second reading"
        ARBITRATION = "arbitration", "Arbitration"

    TRANSITIONS: ClassVar[Table] = {
        "offered": frozenset({"claimed", "cancelled"}),
        "claimed": frozenset({"submitted", "offered", "cancelled"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    # the case's own: a trigger fills it in, so that the queue's index can begin with it and it is never another
    programme = models.ForeignKey(Programme, on_delete=models.CASCADE, related_name="+", db_index=False)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="assignments")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.FIRST)
    slot = models.PositiveSmallIntegerField(default=1)
    # the reader it is pushed to or who claimed it; empty: any eligible reader may claim it
    reader = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="assignments")
    why = models.CharField(max_length=300, blank=True)
    priority = models.SmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    given_back = models.PositiveSmallIntegerField(default=0)  # claims of it that were given back, or whose time ran out

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "kind", "slot"], name="slot_once"),
            # nobody reads the same case twice, whatever races happen
            models.UniqueConstraint(
                fields=["case", "reader"],
                condition=models.Q(reader__isnull=False) & ~models.Q(state="cancelled"),
                name="a_reader_once_a_case",
            ),
        ]
        indexes = [
            models.Index(fields=["reader", "state"], name="assignment_of_reader"),
            # the queue of each kind, in the order in which it is taken
            models.Index(
                fields=["organisation", "kind", "-priority", "created_at", "id"],
                condition=models.Q(state="offered"),
                name="assignment_queue",
            ),
            models.Index(
                fields=["programme", "kind", "-priority", "created_at", "id"],
                condition=models.Q(state="offered"),
                name="assignment_next",
            ),
            models.Index(fields=["expires_at"], condition=models.Q(state="claimed"), name="assignment_claims"),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="programme_of_case",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("case_id", "programme_id"),
                func="SELECT programme_id INTO NEW.programme_id FROM programmes_case WHERE id = NEW.case_id; "
                "RETURN NEW;",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.slot} of {self.case}"

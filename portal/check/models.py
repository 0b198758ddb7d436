"""The input check: is a scan of the category that its header claims (seed 001, FIG. 5B–6B)."""

from typing import ClassVar

import pghistory
from django.db import models
from django.utils import timezone

from inference.check import Category
from portal.accounts.models import Organisation, User
from portal.archive.models import Series, Study
from portal.core.states import StateModel, Table
from portal.ingest.models import Source

NAMES: list[tuple[Category, str]] = [
    ("chest_frontal", "Frontal chest x-ray"),
    ("chest_lateral", "Lateral chest x-ray"),
    ("mammogram", "Mammogram"),
    ("ct", "CT slice"),
    ("other", "Something else"),
]


class StudyCheck(StateModel):
    """The check of one study at one revision of it: whether it is owed, and with what it was made."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Done"
        OVERDUE = "overdue", "Not made in time"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Not made"

    TRANSITIONS: ClassVar[Table] = {
        "waiting": frozenset({"done", "overdue", "failed", "skipped"}),
        "overdue": frozenset({"done", "failed", "skipped"}),
    }

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="input_checks")
    study_revision = models.PositiveIntegerField()
    attempts = models.PositiveIntegerField(default=0)
    words = models.CharField(max_length=300, blank=True)  # why it was not made
    function_id = models.CharField(max_length=64, blank=True)
    version = models.CharField(max_length=32, blank=True)
    weights_sha256 = models.CharField(max_length=64, blank=True)
    code_version = models.CharField(max_length=32, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "study_revision"], name="one_check_a_revision")]

    def __str__(self) -> str:
        return f"check of {self.study_id} at {self.study_revision} ({self.state})"


@pghistory.track()
class SeriesCheck(StateModel):
    """What the check says of a series, what its header claims, and what was decided about it.

    Each check of a later revision takes the place of the one before; a person's decision stays.
    """

    class Verdict(models.TextChoices):
        AGREES = "agrees", "As its header says"
        MISMATCH = "mismatch", "Not what its header says"
        UNCERTAIN = "uncertain", "Perhaps not what its header says"
        UNCLAIMED = "unclaimed", "The header says too little"
        UNSEEN = "unseen", "Could not be looked at"

    class State(models.TextChoices):
        PASSED = "passed", "Nothing to decide"
        NOTED = "noted", "Noted"
        HELD = "held", "Waits for a decision"
        REASSIGNED = "reassigned", "Corrected at once"
        KEPT = "kept", "Header kept"
        CORRECTED = "corrected", "Corrected"
        DISCARDED = "discarded", "Discarded"

    TRANSITIONS: ClassVar[Table] = {
        "passed": frozenset({"noted", "held", "reassigned", "kept", "corrected", "discarded"}),
        "noted": frozenset({"passed", "held", "reassigned", "kept", "corrected", "discarded"}),
        "held": frozenset({"passed", "noted", "reassigned", "kept", "corrected", "discarded"}),
        "reassigned": frozenset({"passed", "noted", "held", "kept", "corrected", "discarded"}),
        # a person may think again
        "kept": frozenset({"corrected", "discarded"}),
        "corrected": frozenset({"kept", "corrected", "discarded"}),
        "discarded": frozenset({"kept", "corrected"}),
    }
    DECIDED: ClassVar[frozenset[str]] = frozenset({"kept", "corrected", "discarded"})

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    source = models.ForeignKey(Source, on_delete=models.SET_NULL, null=True, related_name="input_checks")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="series_checks")
    series = models.OneToOneField(Series, on_delete=models.CASCADE, related_name="input_check")
    check_made = models.ForeignKey(StudyCheck, on_delete=models.CASCADE, related_name="series_checks")
    claimed = models.CharField(max_length=16, blank=True, choices=NAMES)  # empty: the header says too little
    claim_words = models.CharField(max_length=80, blank=True)  # "DX CHEST PA"
    found = models.CharField(max_length=16, blank=True, choices=NAMES)  # empty: nothing could be looked at
    probability = models.FloatField(null=True)  # of `found`, mean over the images
    probabilities = models.JSONField(default=dict)
    verdict = models.CharField(max_length=12, choices=Verdict.choices)
    inverted = models.BooleanField(null=True)  # None: cannot be told
    rotation = models.PositiveSmallIntegerField(null=True)  # degrees clockwise; None: cannot be told
    cut_off = models.JSONField(default=list)
    poor = models.JSONField(default=list)
    images = models.JSONField(default=list)  # what was said of each image that was looked at
    checked_at = models.DateTimeField(default=timezone.now)
    category = models.CharField(max_length=16, blank=True, choices=NAMES)  # given instead of the header's
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["organisation", "-checked_at"], name="check_newest"),
            models.Index(fields=["source", "state"], name="check_of_source"),
        ]

    def __str__(self) -> str:
        return f"check of series {self.series_id} ({self.state})"

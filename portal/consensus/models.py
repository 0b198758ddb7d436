"""Merged answers with the rule that made them, and what a case is held to be."""

import pghistory
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.programmes.models import Case


class Consensus(models.Model):
    """One merge of a case's readings under one rule; readings are never changed by it."""

    class Outcome(models.TextChoices):
        AGREED = "agreed", "Agreed"
        DISCREPANT = "discrepant", "Sent to arbitration"
        ARBITRATED = "arbitrated", "Arbitrated"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="consensus")
    rule_id = models.CharField(max_length=40)
    rule_version = models.CharField(max_length=16)
    parameters = models.JSONField(default=dict)
    readings = models.JSONField(default=list)  # ids of the merged readings, in order of submission
    inputs_digest = models.CharField(max_length=64)
    answers = models.JSONField(default=dict)
    marks = models.JSONField(default=list)
    parts = models.JSONField(default=list)  # per question: who said what, agreement
    discrepancy = models.FloatField()  # 0 … 1
    confidence = models.FloatField()
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "consensus"
        constraints = [
            models.UniqueConstraint(
                fields=["case", "rule_id", "rule_version", "inputs_digest"], name="one_merge_of_the_same"
            )
        ]

    def __str__(self) -> str:
        return f"consensus of {self.case_id} ({self.outcome})"


@pghistory.track()
class Truth(models.Model):
    class Origin(models.TextChoices):
        CONSENSUS = "consensus", "Consensus"
        ARBITRATION = "arbitration", "Arbitration"
        PATHOLOGY = "pathology", "Pathology"
        PERSON = "person", "Set by a person"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    case = models.OneToOneField(Case, on_delete=models.CASCADE, related_name="truth")
    origin = models.CharField(max_length=12, choices=Origin.choices)
    positive = models.BooleanField(null=True)
    answers = models.JSONField(default=dict)
    marks = models.JSONField(default=list)
    confidence = models.FloatField(default=1.0)
    set_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True)
    set_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"truth of {self.case_id}"

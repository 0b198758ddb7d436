"""Scores of contributions: accuracy against truth, efficiency of active time."""

from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.infer.models import Run
from portal.programmes.models import Case
from portal.read.models import Reading


class ReadingScore(models.Model):
    class Basis(models.TextChoices):
        """What the reading was measured against."""

        OWN = "own", "Its own answer alone"  # no measure of the reader: left out of means
        OTHERS = "others", "The other readers of the case"
        ARBITRATION = "arbitration", "Arbitration"
        PATHOLOGY = "pathology", "Pathology"
        PERSON = "person", "A person's word"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    reading = models.OneToOneField(Reading, on_delete=models.CASCADE, related_name="score")
    reader = models.ForeignKey(User, on_delete=models.CASCADE, related_name="scores")
    category = models.CharField(max_length=64)
    accuracy = models.FloatField()  # 0 … 1
    efficiency = models.FloatField()  # 0 … 1, 0.5 at the expected time
    basis = models.CharField(max_length=12, choices=Basis.choices, default=Basis.OTHERS)
    parts = models.JSONField(default=dict)
    rule_id = models.CharField(max_length=40)
    rule_version = models.CharField(max_length=16)
    scored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["reader", "category", "-scored_at"], name="score_of_reader")]

    def __str__(self) -> str:
        return f"score of {self.reading_id}"


class RunScore(models.Model):
    """How a function did on a case whose truth is known."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="scores")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="run_scores")
    correct = models.BooleanField()
    brier = models.FloatField()
    scored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "case"], name="run_scored_once")]

    def __str__(self) -> str:
        return f"score of {self.run_id}"

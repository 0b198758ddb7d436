"""The comparison of a reading with the model's output (seed 000, FIG. 5) and what followed."""

from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.infer.models import Run
from portal.programmes.models import Case
from portal.read.models import Reading


class Comparison(models.Model):
    class Action(models.TextChoices):
        NONE = "none", "No further action"
        SECOND_READING = "second_reading", "Second reading"
        ALERT = "alert", "First reader alerted"
        NO_MODEL = "no_model", "No model output to compare with"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="comparisons")
    reading = models.OneToOneField(Reading, on_delete=models.CASCADE, related_name="comparison")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True)
    rule_id = models.CharField(max_length=40)
    rule_version = models.CharField(max_length=16)
    parameters = models.JSONField(default=dict)
    similarity = models.FloatField(null=True)  # 0 … 1
    threshold = models.FloatField()
    parts = models.JSONField(default=list)  # [{"name", "value", "weight", "words"}]
    action = models.CharField(max_length=16, choices=Action.choices)
    sentence = models.CharField(max_length=500, blank=True)
    decided_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"comparison of {self.reading_id}: {self.similarity}"

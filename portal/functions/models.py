"""The registry of inference functions and the life of their versions (seed 001, FIG. 5B–6B)."""

from typing import ClassVar

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.core.states import StateModel, Table


@pghistory.track()
class InferenceFunction(models.Model):
    """A named task on a scan category; its versions do the work. No organisation: offered to all."""

    class Output(models.TextChoices):
        HEATMAP = "heatmap", "Heat maps"
        MALIGNANCY = "malignancy", "Malignancy"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, null=True, blank=True)
    # whose engineers look after it; none: only the house's own commands do
    owner = models.ForeignKey(Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="owned")
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    modalities = ArrayField(models.CharField(max_length=16), default=list)
    body_parts = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    output_type = models.CharField(max_length=16, choices=Output.choices)

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class FunctionVersion(StateModel):
    class State(models.TextChoices):
        REGISTERED = "registered", "Registered"
        COMMISSIONING = "commissioning", "In its test"
        IN_SERVICE = "in_service", "In service"
        REMEDIATION = "remediation", "In remediation"
        OUT_OF_SERVICE = "out_of_service", "Out of service"
        RETIRED = "retired", "Retired"

    TRANSITIONS: ClassVar[Table] = {
        "registered": frozenset({"commissioning", "retired"}),
        "commissioning": frozenset({"in_service", "out_of_service"}),
        "in_service": frozenset({"remediation", "out_of_service", "retired"}),
        "remediation": frozenset({"commissioning", "retired"}),
        "out_of_service": frozenset({"commissioning", "retired"}),
    }

    function = models.ForeignKey(InferenceFunction, on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=32)
    package = models.CharField(max_length=200)  # folder below settings.PACKAGES_ROOT
    weights_sha256 = models.CharField(max_length=64)
    manifest = models.JSONField(default=dict)
    card = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["function", "version"], name="version_once"),
            models.UniqueConstraint(
                fields=["function"], condition=models.Q(state="in_service"), name="one_version_in_service"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function.slug} {self.version}"

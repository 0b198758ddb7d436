"""Plans, subscriptions, and the append-only ledger of use and credits."""

import pghistory
import pgtrigger
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User


@pghistory.track()
class Plan(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    runs_a_month = models.PositiveIntegerField()
    seats = models.PositiveIntegerField()
    price_cents_a_month = models.PositiveIntegerField(default=0)
    overage_cents_a_run = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class Subscription(models.Model):
    organisation = models.OneToOneField(Organisation, on_delete=models.CASCADE, related_name="subscription")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    since = models.DateField(default=timezone.localdate)

    def __str__(self) -> str:
        return f"{self.organisation}: {self.plan}"


class LedgerEntry(models.Model):
    """One use or contribution. Rows are added, never changed; the key makes adding idempotent."""

    class Kind(models.TextChoices):
        RUN = "run", "Inference run"
        READING = "reading", "Reading"
        CREDIT = "credit", "Credit earned"

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="ledger")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="ledger")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    quantity = models.IntegerField()
    key = models.CharField(max_length=100, unique=True)
    reference = models.CharField(max_length=64)  # the run's or reading's key
    words = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes = [models.Index(fields=["organisation", "-at"], name="ledger_newest")]
        triggers = [
            pgtrigger.Protect(name="ledger_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.quantity} ({self.key})"

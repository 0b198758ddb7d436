"""The outbox, where every piece of work that must happen after a commit has a row first, and the zone's public key."""

from django.db import models
from django.utils import timezone


class OutboxEvent(models.Model):
    """One task owed for one key; written in the transaction that makes the work."""

    class State(models.TextChoices):
        WAITING = "waiting"
        LEASED = "leased"
        DONE = "done"
        FAILED = "failed"

    topic = models.CharField(max_length=64)
    task = models.CharField(max_length=128)
    key = models.CharField(max_length=128)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    sends = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(default=timezone.now)
    leased_until = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    done_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_at"], condition=models.Q(state="waiting"), name="outbox_waiting"),
            models.Index(fields=["leased_until"], condition=models.Q(state="leased"), name="outbox_leased"),
            models.Index(fields=["done_at"], condition=models.Q(state="done"), name="outbox_done"),
            models.Index(fields=["topic", "key"], name="outbox_topic_key"),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.key} → {self.task} ({self.state})"


class ZoneKey(models.Model):
    """The identity zone's public key: the app zone seals with it what only the identity zone may read."""

    public = models.BinaryField()
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"key of {self.made_at:%Y-%m-%d}"

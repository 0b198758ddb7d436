"""Who sends HL7 v2 messages, and which of them were taken."""

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.ingest.models import Source


@pghistory.track(exclude=["last_at", "last_code", "last_words"])
class MessageSender(models.Model):
    """A system that an administrator has entered, known by where it calls from and by how its messages name it.

    A message proves nothing of its sender, so an address or a certificate is needed (CheckConstraint).
    """

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="message_senders")
    name = models.CharField(max_length=80)
    application = models.CharField(max_length=180, blank=True)  # MSH-3, its first component; empty: any
    facility = models.CharField(max_length=180, blank=True)  # MSH-4, its first component; empty: any
    addresses = ArrayField(models.CharField(max_length=43), default=list, blank=True)  # networks; empty: anywhere
    tls = models.BooleanField(default=False)  # it calls over TLS only
    certificate = models.CharField(max_length=64, blank=True)  # SHA-256 of its certificate; empty: any the CA signed
    most_connections = models.PositiveSmallIntegerField(default=4)
    idle_seconds = models.PositiveIntegerField(default=600)
    # its reports come in by this way and under its privacy profile
    source = models.OneToOneField(Source, on_delete=models.PROTECT, related_name="message_sender")
    active = models.BooleanField(default=True)
    last_at = models.DateTimeField(null=True)  # its last message, and what it was answered
    last_code = models.CharField(max_length=2, blank=True)
    last_words = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="message_sender_name_once"),
            models.CheckConstraint(
                condition=~models.Q(addresses=[]) | ~models.Q(certificate=""), name="message_sender_is_known_by"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class TakenMessage(models.Model):
    """A message that was taken, by a keyed digest of control id and bytes: sent again, it is not taken again."""

    sender = models.ForeignKey(MessageSender, on_delete=models.CASCADE, related_name="taken")
    digest = models.CharField(max_length=64)
    reports = models.PositiveSmallIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sender", "digest"], name="taken_message_once")]
        indexes = [models.Index(fields=["at"], name="taken_message_at")]

    def __str__(self) -> str:
        return self.digest[:12]

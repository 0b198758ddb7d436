"""The doors: where scans come from, what was received, what was set aside and why."""

import uuid
from typing import ClassVar

import pghistory
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, Site, User
from portal.core.states import StateModel, Table


@pghistory.track()
class Source(models.Model):
    """One way in (AE title, token, browser, folder) with the privacy profile it is received under."""

    class Kind(models.TextChoices):
        DIMSE = "dimse", "DICOM (C-STORE)"
        DICOMWEB = "dicomweb", "DICOMweb (STOW-RS)"
        UPLOAD = "upload", "Browser upload"
        FOLDER = "folder", "Watched folder"
        REPORT = "report", "Reports (HL7, text)"

    class Privacy(models.TextChoices):
        FULL = "full", "Full de-identification"
        KEEP_UIDS = "keep_uids", "De-identify, keep UIDs"
        DONE = "deidentified", "Already de-identified"

    class Mismatch(models.TextChoices):
        HOLD = "hold", "Wait for a person's decision"
        CORRECT = "correct", "Use the picture's category at once"
        NOTE = "note", "Only note it"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="sources")
    site = models.ForeignKey(Site, on_delete=models.SET_NULL, null=True, blank=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=80)
    ae_title = models.CharField(max_length=16, blank=True)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True)
    privacy = models.CharField(max_length=16, choices=Privacy.choices, default=Privacy.FULL)
    # what follows when the input check is certain that a picture is not what its header says
    on_mismatch = models.CharField(max_length=8, choices=Mismatch.choices, default=Mismatch.HOLD)
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "kind", "name"], name="source_name_once"),
            models.UniqueConstraint(
                fields=["ae_title"], condition=~models.Q(ae_title=""), name="calling_ae_title_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Receipt(StateModel):
    """One received file. Holds no identity: digests, sizes and states only."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        DEIDENTIFIED = "deidentified", "De-identified"
        ARCHIVED = "archived", "Archived"
        DUPLICATE = "duplicate", "Duplicate"
        QUARANTINED = "quarantined", "Quarantined"
        DISCARDED = "discarded", "Discarded"

    TRANSITIONS: ClassVar[Table] = {
        "received": frozenset({"deidentified", "quarantined", "duplicate"}),
        "deidentified": frozenset({"archived", "quarantined", "duplicate"}),
        "quarantined": frozenset({"received", "discarded"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    # its index is the one below, with the time
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="receipts", db_index=False)
    batch = models.UUIDField(null=True, db_index=True)  # one upload, association or STOW request
    size = models.BigIntegerField()
    digest = models.CharField(max_length=64)  # SHA-256 of the bytes, keyed (core.digests)
    uid_digest = models.CharField(max_length=64, blank=True)  # keyed digest of the SOP Instance UID
    sop_class = models.CharField(max_length=64, blank=True)
    modality = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=32, blank=True)  # code of ingest.rules.REASONS
    detail = models.CharField(max_length=200, blank=True)  # plain words, never values of the header
    received_at = models.DateTimeField(default=timezone.now)
    study_uid = models.CharField(max_length=64, blank=True)  # pseudonymous, once archived
    sop_uid = models.CharField(max_length=64, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["organisation", "-received_at"], name="receipt_newest"),
            models.Index(fields=["organisation", "state", "-received_at"], name="receipt_by_state"),
            models.Index(fields=["organisation", "study_uid"], name="receipt_study"),
            models.Index(fields=["source", "-received_at"], name="receipt_of_source"),
        ]
        constraints = [
            # one living receipt for each SOP instance: the race between two senders ends here
            models.UniqueConstraint(
                fields=["organisation", "uid_digest"],
                condition=models.Q(state__in=["received", "deidentified", "archived"]) & ~models.Q(uid_digest=""),
                name="one_living_receipt_an_instance",
            ),
        ]

    def __str__(self) -> str:
        return f"receipt {self.id} ({self.state})"


class LandingFile(models.Model):
    """Where the received bytes lie; the app role may add a row and never read one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    receipt_id = models.UUIDField(unique=True)
    name = models.CharField(max_length=200)
    stored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."landing_file"'

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class HeaderRule(models.Model):
    """Header standardisation: when patterns match, attributes are set from templates.

    match  {"PatientID": "regex with (?P<groups>)", "SOPClassUID": "…"}: all must match
    assign {"PatientID": "{case}", "ImageLaterality": "{side|map:LEFT=L,RIGHT=R}", …}
    The study key, when given, joins images of several studies into one.
    """

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="header_rules")
    name = models.CharField(max_length=80)
    priority = models.PositiveIntegerField(default=100)
    match = models.JSONField(default=dict)
    assign = models.JSONField(default=dict)
    study_key = models.CharField(max_length=200, blank=True)  # template; same text → same study
    series_key = models.CharField(max_length=200, blank=True)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["priority", "pk"]
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="header_rule_name_once")]

    def __str__(self) -> str:
        return self.name

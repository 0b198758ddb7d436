"""The identity vault (schema `identities`, one role may read it) and the report of what was removed."""

from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.ingest.models import Receipt


class VaultPatient(models.Model):
    """A pseudonym and, encrypted, the identity behind it."""

    organisation_id = models.BigIntegerField()
    pseudonym = models.CharField(max_length=64)
    identity = models.BinaryField()  # Fernet over JSON: PatientID, PatientName, PatientBirthDate, issuer
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."vault_patient"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "pseudonym"], name="vault_pseudonym_once")]

    def __str__(self) -> str:
        return self.pseudonym


class VaultUid(models.Model):
    """A pseudonymous UID and, encrypted, the original (so that results find their way back)."""

    organisation_id = models.BigIntegerField()
    pseudonym = models.CharField(max_length=64)
    original = models.BinaryField()
    kind = models.CharField(max_length=10)  # study, series, instance, accession

    class Meta:
        db_table = '"identities"."vault_uid"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "kind", "pseudonym"], name="vault_uid_once")]

    def __str__(self) -> str:
        return self.pseudonym


class DeidentificationReport(models.Model):
    """What was done to one instance: tags and rules, never values."""

    receipt = models.OneToOneField(Receipt, on_delete=models.CASCADE, related_name="deidentification")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    profile = models.CharField(max_length=40)
    version = models.CharField(max_length=20)
    header_rule = models.CharField(max_length=80, blank=True)
    standardised = models.JSONField(default=list)  # keywords that a header rule set
    actions = models.JSONField(default=list)  # [path of tags, action code, PS3.15 row]
    counts = models.JSONField(default=dict)  # action code → number of elements
    pixels = models.JSONField(default=dict)  # what was read and covered in the image; see pixels.clean.Looked.report
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"de-identification of {self.receipt_id}"

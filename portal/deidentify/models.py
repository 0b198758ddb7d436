"""The identity vault (schema `identities`, one role may read it) and the report of what was removed."""

import pghistory
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


class PatientTerms(models.Model):
    """Encrypted, the terms that a patient's scans and reports gave away: the next of them is searched for all."""

    organisation_id = models.BigIntegerField()
    pseudonym = models.CharField(max_length=64)
    sealed = models.BinaryField()  # Fernet over JSON: {"black": [[text, kind]], "grey": [text]}
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = '"identities"."patient_terms"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "pseudonym"], name="patient_terms_once")]

    def __str__(self) -> str:
        return f"terms of {self.pseudonym}"


@pghistory.track(exclude=["digest", "sealed", "patients"])
class ListedTerm(models.Model):
    """A term of an organisation's black, white or grey list: taught by a person, or met with several patients."""

    class Which(models.TextChoices):
        BLACK = "black", "Goes"
        WHITE = "white", "Stays"
        GREY = "grey", "Context decides"

    organisation_id = models.BigIntegerField()
    which = models.CharField(max_length=5, choices=Which.choices)
    kind = models.CharField(max_length=10, blank=True)  # of text.KINDS, for black terms
    digest = models.CharField(max_length=64)  # keyed, so that a term is found without being readable
    sealed = models.BinaryField()  # Fernet over the term
    patients = models.PositiveIntegerField(default=0)  # with how many patients it was met
    taught_by_id = models.BigIntegerField(null=True)  # None: learnt
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."listed_term"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "digest"], name="listed_term_once")]

    def __str__(self) -> str:
        return f"{self.which} term {self.pk}"


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
    found = models.JSONField(default=dict)  # "kind: rule" of the text finder → how often
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"de-identification of {self.receipt_id}"

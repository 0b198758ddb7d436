"""The identity vault (schema `identities`, one role may read it) and the report of what was removed."""

import uuid
from typing import ClassVar

import pghistory
import pgtrigger
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.core.states import StateModel, Table
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
    kind = models.CharField(max_length=10)  # study, series, instance, accession; filed: see filing.py

    class Meta:
        db_table = '"identities"."vault_uid"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "kind", "pseudonym"], name="vault_uid_once")]

    def __str__(self) -> str:
        return self.pseudonym


class WaitingReport(models.Model):
    """A report that came before its scan."""

    organisation_id = models.BigIntegerField()
    receipt_id = models.UUIDField(unique=True)
    place = models.CharField(max_length=64)  # patient and accession number, both pseudonymous
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."waiting_report"'
        indexes = [models.Index(fields=["organisation_id", "place"], name="waiting_report_place")]

    def __str__(self) -> str:
        return f"report {self.receipt_id} waits"


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


@pghistory.track(pghistory.InsertEvent(), pghistory.UpdateEvent(), exclude=["letter"], model_name="TermChangeEvent")
class TermChange(StateModel):
    """A person's change of the lists: who, which list, when; the term itself is sealed for the identity zone."""

    class State(models.TextChoices):
        ASKED = "asked", "On its way"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    class Does(models.TextChoices):
        TEACH = "teach", "Taught"
        TAKE_BACK = "take_back", "Taken back"

    TRANSITIONS: ClassVar[Table] = {"asked": frozenset({"done", "failed"})}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="term_changes")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    does = models.CharField(max_length=9, choices=Does.choices)
    which = models.CharField(max_length=5, choices=ListedTerm.Which.choices)
    kind = models.CharField(max_length=10, blank=True)  # of text.KINDS, for black terms that are taught
    letter = models.BinaryField(default=b"")  # {"texts": [...], "terms": [keys]}; empty once it was read
    number = models.PositiveIntegerField(default=0)  # terms that were changed
    error = models.CharField(max_length=80, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["organisation", "-at"], name="term_change_newest")]

    def __str__(self) -> str:
        return f"{self.does} of {self.user_id} on {self.which}"


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
    found = models.JSONField(default=dict)  # "kind: rule" of the text finder → how often
    kept = models.JSONField(default=list)  # keywords of top-level attributes that were left as they came
    site_rules = models.PositiveIntegerField(null=True)  # number of the site's own rules that were in force
    face = models.JSONField(default=dict)  # head CT and MR: what became of the face; see faces.door.Decided.report
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"de-identification of {self.receipt_id}"


class FaceSeries(StateModel):
    """A series of CT or MR at the door: whether its slices wait, and what was found when they were looked at together.

    reason, open, plan  of the last look; they hold while a new one is waited for
    asked_at            when the last look was asked for; without a newer slice no other one is, until the latest time
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for its last slices"
        PLANNING = "planning", "Is looked at"
        PLANNED = "planned", "Has a face"
        NONE = "none", "Has no face"
        OPEN = "open", "May have a face"

    TRANSITIONS: ClassVar[Table] = {
        "waiting": frozenset({"planning"}),
        "planning": frozenset({"planned", "none", "open", "waiting"}),
        "planned": frozenset({"waiting"}),
        "none": frozenset({"waiting"}),
        "open": frozenset({"waiting"}),
    }

    organisation_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)  # of the original SeriesInstanceUID, keyed
    reason = models.CharField(max_length=40, blank=True)  # why there is no plan; a code
    open = models.BooleanField(default=False)
    plan = models.BinaryField(default=b"")  # Fernet over faces.whole.packed
    number = models.PositiveIntegerField(default=0)  # grows when instances come out otherwise than before
    tries = models.PositiveIntegerField(default=0)  # looks that were begun since the last one that ended
    first_at = models.DateTimeField(default=timezone.now)  # when the first slice came that waits
    last_at = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = '"identities"."face_series"'
        constraints = [models.UniqueConstraint(fields=["organisation_id", "digest"], name="face_series_once")]

    def __str__(self) -> str:
        return f"series {self.pk} ({self.state})"


class FaceSlice(models.Model):
    """An instance of such a series: where it lies, and whether a look at the series had it in view.

    plane  of geometry.Plane; of an instance with several frames a list of the outermost ones (frames.hull)
    frame  a keyed digest of study and frame of reference; empty where the header names none
    """

    receipt_id = models.UUIDField(unique=True)
    series = models.ForeignKey(FaceSeries, on_delete=models.CASCADE, related_name="slices")
    modality = models.CharField(max_length=2)
    plane = models.JSONField()
    frame = models.CharField(max_length=64, blank=True, default="", db_index=True)
    projection = models.BooleanField(default=False)  # no slice: see faces.header.projection
    says_head = models.BooleanField(null=True)  # see faces.header.says_head
    looked = models.BooleanField(default=False)
    done = models.PositiveIntegerField(null=True)  # FaceSeries.number that its clean copy was made by
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."face_slice"'

    def __str__(self) -> str:
        return f"slice of {self.series_id}"


class PixelCrop(models.Model):
    """What a question about pixels is about: encrypted, the picture of a line of text and how it was read."""

    question_id = models.BigIntegerField(unique=True)
    content = models.BinaryField()  # Fernet over JSON: {"text", "png" (base64)}

    class Meta:
        db_table = '"identities"."pixel_crop"'

    def __str__(self) -> str:
        return f"crop of question {self.question_id}"


@pghistory.track()
class PixelQuestion(StateModel):
    """A covered line of text that a person should decide about: where it is and what was guessed, not what it says."""

    class State(models.TextChoices):
        OPEN = "open", "Waits for a decision"
        COVERED = "covered", "Stays covered"
        KEPT = "kept", "Comes back"
        RESTORED = "restored", "Shown again"
        FAILED = "failed", "Could not be brought back"

    TRANSITIONS: ClassVar[Table] = {
        "open": frozenset({"covered", "kept"}),
        "covered": frozenset({"kept"}),
        "kept": frozenset({"restored", "failed"}),
        "failed": frozenset({"kept", "covered"}),
    }

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    receipt = models.ForeignKey(Receipt, on_delete=models.CASCADE, related_name="pixel_questions")
    box = models.JSONField()  # x0, y0, x1, y1 of the fiducial
    frame = models.PositiveIntegerField(default=0)  # on which it was read; it is covered on all
    kind = models.CharField(max_length=12)  # the guess
    certainty = models.FloatField()
    rule = models.CharField(max_length=40)
    learn = models.BooleanField(default=False)  # the decision holds for this text in later scans too
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["receipt", "box"], name="one_question_a_box")]
        indexes = [models.Index(fields=["organisation", "state", "-created_at"], name="pixel_question_newest")]

    def __str__(self) -> str:
        return f"question {self.pk} ({self.state})"


class SealedLook(models.Model):
    """Who asked to see something of the identity zone, and, sealed for the browser that asked, its answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.PROTECT)
    reply_key = models.BinaryField()
    letter = models.BinaryField(default=b"")  # empty: not answered yet, or forgotten
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    @property
    def over(self) -> bool:
        """Whether it was opened, and cannot be opened again."""
        return False


@pghistory.track(
    pghistory.InsertEvent(), fields=["id", "organisation", "user", "questions", "at"], model_name="PixelLookEvent"
)
class PixelLook(SealedLook):
    """Who asked to see which lines of text."""

    questions = models.JSONField()  # keys

    def __str__(self) -> str:
        return f"look of {self.user_id} at {len(self.questions)}"


@pghistory.track(
    pghistory.InsertEvent(), pghistory.UpdateEvent(), exclude=["reply_key", "letter"], model_name="ZoneLookEvent"
)
class ZoneLook(SealedLook):
    """Who asked who a patient is, or what stands on the lists, and why; it is opened once."""

    class About(models.TextChoices):
        IDENTITY = "identity", "Who a patient is"
        LISTS = "lists", "Terms of the lists"

    about = models.CharField(max_length=8, choices=About.choices)
    pseudonym = models.CharField(max_length=64, blank=True)
    study_uid = models.CharField(max_length=64, blank=True)
    accessions = models.JSONField(default=list)  # pseudonymous
    reason = models.CharField(max_length=300)
    opened_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["organisation", "-at"], name="zone_look_newest")]

    def __str__(self) -> str:
        return f"look of {self.user_id} at {self.about}"

    @property
    def over(self) -> bool:
        return self.opened_at is not None


@pghistory.track(pghistory.InsertEvent())
class SiteRules(models.Model):
    """A version of an organisation's own rules beside the profile; the newest active one counts."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="site_rules")
    number = models.PositiveIntegerField()
    text = models.TextField(blank=True)  # see site_rules.parse
    weaker = models.JSONField(default=list)  # keywords whose rules leave more than the profile does, as `by` said
    note = models.CharField(max_length=200, blank=True)
    active = models.BooleanField(default=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["organisation", "number"], name="site_rules_number_once")]
        triggers = [pgtrigger.Protect(name="written_once", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"version {self.number}"

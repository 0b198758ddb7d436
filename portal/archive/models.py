"""The archive: pseudonymous patients, studies, series and instances (seed 001, medical scan entry)."""

from typing import ClassVar

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.core.states import StateModel, Table
from portal.ingest.models import Source


def _answer(*columns: str, level: str) -> models.GeneratedField:
    """What a search answers for a row: DICOM JSON as text, made by the database when the row is written."""
    made = models.Func(*columns, function=f"concord_{level}_answer", output_field=models.TextField())
    return models.GeneratedField(expression=made, output_field=models.TextField(), db_persist=True)


class Patient(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="patients")
    pseudonym = models.CharField(max_length=64)
    name = models.CharField(max_length=200, blank=True)  # as de-identified; empty from most sources
    phonetic = ArrayField(models.CharField(max_length=4), default=list)  # of the name (archive/names.py)
    sex = models.CharField(max_length=1, blank=True)
    risk_factors = models.JSONField(default=dict, blank=True)
    longitudinal_quality = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "pseudonym"], name="pseudonym_once")]
        indexes = [
            # for `=` and for a beginning before a wildcard
            models.Index(
                fields=["organisation", "pseudonym"],
                name="patient_pseudonym",
                opclasses=["int8_ops", "text_pattern_ops"],
            ),
            GinIndex(fields=["phonetic"], name="patient_phonetic"),
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="patient_name"),
        ]

    def __str__(self) -> str:
        return self.pseudonym


# the counters grow with every instance and say nothing that the instances do not
@pghistory.track(
    exclude=["headers", "answer", "series_count", "instance_count", "opinions", "revision", "last_instance_at",
             "quality_parts"]
)  # fmt: skip
class Study(StateModel):
    """One examination. `arriving` until no instance came for a while, then `settled`."""

    class State(models.TextChoices):
        ARRIVING = "arriving", "Arriving"
        SETTLED = "settled", "Complete"

    TRANSITIONS: ClassVar[Table] = {
        "arriving": frozenset({"settled"}),
        "settled": frozenset({"arriving"}),  # late instances reopen it
    }

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="studies")
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="studies")
    source = models.ForeignKey(Source, on_delete=models.SET_NULL, null=True)
    study_uid = models.CharField(max_length=64)
    study_date = models.DateField(null=True)
    study_time = models.CharField(max_length=16, blank=True)
    accession = models.CharField(max_length=32, blank=True)  # hashed
    description = models.CharField(max_length=200, blank=True)
    modalities = ArrayField(models.CharField(max_length=16), default=list)
    body_part = models.CharField(max_length=32, blank=True)
    patient_age = models.PositiveSmallIntegerField(null=True)  # years at the study, capped at 89
    priority = models.SmallIntegerField(default=0)  # higher is sooner
    image_quality = models.FloatField(null=True)
    quality_parts = models.JSONField(default=list)  # of the images that were looked at: quality.Quality as JSON
    headers = models.JSONField(default=dict)  # study-level DICOM JSON
    series_count = models.PositiveIntegerField(default=0)
    instance_count = models.PositiveIntegerField(default=0)
    revision = models.PositiveIntegerField(default=0)  # grows with each instance
    opinions = models.BooleanField(default=False)  # an instance is one
    arrived_at = models.DateTimeField(default=timezone.now)
    last_instance_at = models.DateTimeField(default=timezone.now)
    answer = _answer("headers", "study_uid", "modalities", "series_count", "instance_count", level="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "study_uid"], name="study_uid_once")]
        indexes = [
            models.Index(fields=["organisation", "-id"], name="study_newest"),
            models.Index(fields=["organisation", "study_date", "id"], name="study_date"),
            models.Index(
                models.F("organisation"),
                models.F("study_date").desc(nulls_last=True),
                models.F("id").desc(),
                name="study_latest",
            ),
            models.Index(
                fields=["organisation", "accession"], name="study_accession", opclasses=["int8_ops", "text_pattern_ops"]
            ),
            models.Index(fields=["last_instance_at"], condition=models.Q(state="arriving"), name="study_arriving"),
            GinIndex(fields=["headers"], name="study_headers", opclasses=["jsonb_path_ops"]),
            GinIndex(fields=["modalities"], name="study_modalities"),
        ]

    def __str__(self) -> str:
        return self.study_uid


# what is filed under another category than its header's is a decision, and stays on record
@pghistory.track(
    pghistory.UpdateEvent(condition=pghistory.AnyChange("given_modality", "given_body_part", "set_aside")),
    fields=["modality", "body_part", "given_modality", "given_body_part", "set_aside"],
    model_name="SeriesCategoryEvent",
    obj_field=pghistory.ObjForeignKey(related_name="category_events"),
)
class Series(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="series")
    series_uid = models.CharField(max_length=64)
    modality = models.CharField(max_length=16, blank=True)
    number = models.IntegerField(null=True)
    description = models.CharField(max_length=200, blank=True)
    body_part = models.CharField(max_length=32, blank=True)
    headers = models.JSONField(default=dict)
    # the category that functions and programmes are chosen by, where it is not the header's (rules.category)
    given_modality = models.CharField(max_length=16, blank=True)
    given_body_part = models.CharField(max_length=32, blank=True)
    set_aside = models.BooleanField(default=False)  # no function sees it; a study of nothing else is nobody's case
    instance_count = models.PositiveIntegerField(default=0)
    opinion = models.BooleanField(default=False)  # all its instances are
    # gzip of the series' WADO metadata (DICOM JSON), made once when the study settles
    metadata = models.BinaryField(null=True)
    metadata_revision = models.PositiveIntegerField(default=0)
    answer = _answer("headers", "series_uid", "modality", "instance_count", level="series")

    class Meta:
        verbose_name_plural = "series"
        constraints = [models.UniqueConstraint(fields=["organisation", "series_uid"], name="series_uid_once")]
        indexes = [models.Index(fields=["organisation", "-id"], name="series_newest")]

    def __str__(self) -> str:
        return self.series_uid


class Instance(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="instances")
    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="instances")
    sop_uid = models.CharField(max_length=64)
    sop_class = models.CharField(max_length=64)
    transfer_syntax = models.CharField(max_length=64)
    number = models.IntegerField(null=True)
    rows = models.PositiveIntegerField(default=0)
    columns = models.PositiveIntegerField(default=0)
    frames = models.PositiveIntegerField(default=1)
    laterality = models.CharField(max_length=2, blank=True)
    view = models.CharField(max_length=16, blank=True)
    # says what images show, and is no image to be read (rules.opinion): not for who reads without being told
    opinion = models.BooleanField(default=False)
    headers = models.JSONField(default=dict)  # DICOM JSON without bulk data
    name = models.CharField(max_length=300)  # in the archive storage
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    # [[offset, length, …], …]: the pieces of each frame in the file; empty: no pixels, or the frames
    # have to be decoded to be served (archive/frames.py)
    frame_table = models.JSONField(default=list)
    stored_at = models.DateTimeField(default=timezone.now)
    answer = _answer("headers", "sop_uid", level="instance")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "sop_uid"], name="sop_uid_once")]
        indexes = [models.Index(fields=["organisation", "-id"], name="instance_newest")]

    def __str__(self) -> str:
        return self.sop_uid


# who is in a cohort, and who said so, stays on record
@pghistory.track()
class Cohort(models.Model):
    """A search of the archive under a name: asked anew each time, or frozen to the studies it found."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="cohorts")
    owner = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="cohorts")
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    query = models.CharField(max_length=1000, blank=True)  # filters of the table of scans, as in its address
    shared = models.BooleanField(default=False)  # with all who may see the organisation's scans
    frozen_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "owner", "name"], name="cohort_name_once")]
        indexes = [models.Index(fields=["organisation", "-created_at"], name="cohort_newest")]

    def __str__(self) -> str:
        return self.name

    @property
    def frozen(self) -> bool:
        """Whether its studies are a fixed list."""
        return self.frozen_at is not None


class CohortMember(models.Model):
    """A study of a frozen cohort."""

    cohort = models.ForeignKey(Cohort, on_delete=models.CASCADE, related_name="members")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="cohort_memberships")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cohort", "study"], name="cohort_member_once")]

    def __str__(self) -> str:
        return f"{self.study_id} in {self.cohort_id}"

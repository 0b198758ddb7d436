"""Who works here: organisations, sites, users, their roles and qualifications, and API tokens."""

import uuid

import pghistory
import pgtrigger
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.core.changes import TELL


class Role(models.TextChoices):
    READER = "reader", "Reader"
    COORDINATOR = "coordinator", "Coordinator"
    ENGINEER = "engineer", "Model engineer"
    PACS_ADMIN = "pacs_admin", "PACS administrator"
    ACCOUNT_ADMIN = "account_admin", "Account administrator"
    AUDITOR = "auditor", "Auditor"


def _tells(name: str, *columns: str) -> pgtrigger.Trigger:
    """A trigger that tells the processes when a right may have ended: a column is written, or the row goes."""
    operation = pgtrigger.UpdateOf(*columns) | pgtrigger.Delete
    return pgtrigger.Trigger(name=name, when=pgtrigger.After, operation=operation, func=TELL)


class User(AbstractUser):
    """A person, or a service account that may use tokens but never signs in."""

    is_service = models.BooleanField(default=False)
    display_name = models.CharField(max_length=120, blank=True)
    preferences = models.JSONField(default=dict, blank=True)
    token: "ApiToken | None" = None  # the one that this request came with; no field

    class Meta(AbstractUser.Meta):
        triggers = [_tells("user_access", "password", "is_active", "is_service")]

    def __str__(self) -> str:
        return self.display_name or self.username


@pghistory.track(exclude=["created_at"])
class Organisation(models.Model):
    """The tenant: nothing of one organisation is visible to another."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Site(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="sites")
    name = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="site_name_once")]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class Membership(models.Model):
    """A user's roles in one organisation."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, on_delete=models.SET_NULL, null=True, blank=True)
    roles = ArrayField(models.CharField(max_length=24, choices=Role.choices), default=list)
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organisation"], name="one_membership")]
        triggers = [_tells("membership_access", "user_id", "organisation_id", "roles", "active")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organisation}"


@pghistory.track()
class Qualification(models.Model):
    """What a reader may read: a scan category, and whether as an expert."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="qualifications")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    category = models.CharField(max_length=64)  # e.g. "MG", "DX/CHEST"
    expert = models.BooleanField(default=False)
    valid_until = models.DateField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organisation", "category"], name="one_qualification")]

    def __str__(self) -> str:
        return f"{self.user}: {self.category}"


class ApiToken(models.Model):
    """A bearer token; only its SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=12)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        triggers = [_tells("token_access", "user_id", "organisation_id", "digest", "expires_at", "revoked_at")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


@pghistory.track()
class SavedView(models.Model):
    """A table as its owner likes it: filters, order and columns under a name, in one organisation."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    table = models.CharField(max_length=40)  # name of a `core.tables.Table`
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000, blank=True)  # the address's part after the question mark
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organisation", "table", "name"], name="view_name_once")]

    def __str__(self) -> str:
        return self.name

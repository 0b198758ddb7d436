"""DICOM peers: who may call, what they may do, what was asked of them and fetched from them."""

import uuid
from typing import ClassVar

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.archive.models import Study
from portal.core.states import StateModel, Table
from portal.functions.models import InferenceFunction
from portal.ingest.models import Source
from portal.peers.messages.models import MessageSender, TakenMessage
from portal.peers.outgoing import Outgoing
from portal.peers.rules import PAUSES

__all__ = ["Commitment", "CommitmentItem", "Delivery", "Fetch", "FetchedStudy", "MessageSender", "Peer", "PeerQuery",
           "PeerStudy", "QueryLook", "RoutingRule", "StandingQuery", "TakenMessage"]  # fmt: skip


@pghistory.track(exclude=["echo_at", "echo_ms", "echo_error"])
class Peer(models.Model):
    """An application entity that an administrator has entered: its address, its rights and its limits.

    Its title is its name on the wire, and one listener serves all organisations, so a title is entered once.
    """

    class Fetch(models.TextChoices):
        NONE = "", "Not from this peer"
        GET = "get", "C-GET (over our own association)"
        MOVE = "move", "C-MOVE (it calls us back)"

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="peers")
    name = models.CharField(max_length=80)
    ae_title = models.CharField(max_length=16, unique=True)
    host = models.CharField(max_length=120, blank=True)  # empty: it calls, it is never called
    port = models.PositiveIntegerField(default=104)
    called_title = models.CharField(max_length=16, blank=True)  # what it must call us by; empty: anything
    addresses = ArrayField(models.CharField(max_length=43), default=list, blank=True)  # networks; empty: anywhere
    tls = models.BooleanField(default=False)  # it calls and is called over TLS only
    certificate = models.CharField(max_length=64, blank=True)  # SHA-256 of its certificate; empty: any the CA signed
    most_associations = models.PositiveSmallIntegerField(default=8)
    idle_seconds = models.PositiveSmallIntegerField(default=60)
    # scans that it sends, or that are fetched from it, come in by this way and under its privacy profile
    source = models.OneToOneField(Source, on_delete=models.PROTECT, related_name="peer")
    may_store = models.BooleanField(default=True)
    may_query = models.BooleanField(default=False)
    may_retrieve = models.BooleanField(default=False)  # by C-GET, and as the destination of a C-MOVE
    may_commit = models.BooleanField(default=False)  # asks for storage commitment
    fetch = models.CharField(max_length=4, choices=Fetch.choices, blank=True)
    priors = models.PositiveSmallIntegerField(default=0)  # earlier studies fetched for each new one
    active = models.BooleanField(default=True)
    echo_at = models.DateTimeField(null=True)
    echo_ms = models.PositiveIntegerField(null=True)
    echo_error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="peer_name_once")]

    def __str__(self) -> str:
        return self.name


@pghistory.track(exclude=["last_at", "next_at", "last_found", "last_new", "error"])
class StandingQuery(models.Model):
    """A search that is repeated, so that new scans of a wanted category flow in by themselves."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="standing_queries")
    name = models.CharField(max_length=80)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="standing_queries")
    # its modalities and regions are what is asked for; without one, those below
    function = models.ForeignKey(InferenceFunction, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    modalities = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    body_parts = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    description = models.CharField(max_length=64, blank=True)  # pattern of the study description, * and ?
    days_back = models.PositiveSmallIntegerField(default=7)
    every_minutes = models.PositiveIntegerField(default=60)
    most = models.PositiveSmallIntegerField(default=20)  # studies fetched at one time
    active = models.BooleanField(default=True)
    last_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(default=timezone.now)
    last_found = models.PositiveIntegerField(default=0)
    last_new = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "standing queries"
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="standing_query_name_once")]

    def __str__(self) -> str:
        return self.name


class PeerQuery(StateModel):
    """One search at a peer. Holds no identity: what was asked and answered is sealed.

    question  for the identity zone alone (core/letters.py)
    answer    for the browser that asked: it alone holds the key
    """

    class State(models.TextChoices):
        ASKED = "asked", "Waiting"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Failed"

    class Kind(models.TextChoices):
        PERSON = "person", "Asked by a person"
        STANDING = "standing", "Standing query"
        PRIORS = "priors", "Earlier studies"

    TRANSITIONS: ClassVar[Table] = {"asked": frozenset({"answered", "failed"})}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="queries")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    asked_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    standing = models.ForeignKey(StandingQuery, on_delete=models.SET_NULL, null=True)
    question = models.BinaryField(default=bytes)
    reply_key = models.BinaryField(default=bytes)
    answer = models.BinaryField(default=bytes)
    found = models.PositiveIntegerField(default=0)
    more = models.BooleanField(default=False)  # the peer knows more than was taken
    error = models.CharField(max_length=200, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["organisation", "-asked_at"], name="peer_query_newest")]

    def __str__(self) -> str:
        return f"query {self.id} ({self.state})"


class PeerStudy(models.Model):
    """A study that a peer answered with: encrypted, in the identity zone, for as long as it may be fetched."""

    query_id = models.UUIDField()
    number = models.PositiveIntegerField()
    content = models.BinaryField()  # Fernet over JSON: the attributes of the answer
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = '"identities"."peer_study"'
        constraints = [models.UniqueConstraint(fields=["query_id", "number"], name="peer_study_once")]

    def __str__(self) -> str:
        return f"study {self.number} of {self.query_id}"


@pghistory.track(pghistory.InsertEvent())
class QueryLook(models.Model):
    """Who saw identities that a peer answered with, and when: written before they are shown, never changed."""

    query = models.ForeignKey(PeerQuery, on_delete=models.CASCADE, related_name="looks")
    user = models.ForeignKey(User, on_delete=models.PROTECT)
    rows = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.user} at {self.at:%Y-%m-%d %H:%M}"


class FetchedStudy(models.Model):
    """A study that was asked for before, known again by a keyed digest of its UID, with the size it then had."""

    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="fetched")
    digest = models.CharField(max_length=64)
    instances = models.PositiveIntegerField(default=0)  # as the peer counted; 0: it did not say
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["peer", "digest"], name="fetched_study_once")]

    def __str__(self) -> str:
        return self.digest[:12]


class Fetch(StateModel):
    """One study on its way from a peer; which one stands in the identity zone (PeerStudy)."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Coming in"
        DONE = "done", "Fetched"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    TRANSITIONS: ClassVar[Table] = {
        "queued": frozenset({"running", "cancelled"}),
        "running": frozenset({"done", "failed", "cancelled", "queued"}),
        "failed": frozenset({"queued"}),
        "cancelled": frozenset({"queued"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="fetches")
    query = models.ForeignKey(PeerQuery, on_delete=models.CASCADE, related_name="fetches")
    number = models.PositiveIntegerField()  # of the query's answers
    batch = models.UUIDField(default=uuid.uuid4)  # of the receipts, when it comes by C-GET
    cancel = models.BooleanField(default=False)
    remaining = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)
    next_at = models.DateTimeField(null=True)  # when a failed one is tried again by itself
    asked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "fetches"
        constraints = [models.UniqueConstraint(fields=["query", "number"], name="one_fetch_an_answer")]
        indexes = [
            models.Index(fields=["organisation", "-asked_at"], name="fetch_newest"),
            models.Index(fields=["next_at"], condition=models.Q(state="failed"), name="fetch_due"),
        ]

    def __str__(self) -> str:
        return f"fetch {self.id} ({self.state})"


class Commitment(StateModel):
    """A promise to keep instances (PS3.4 Annex J): asked of a peer, or by one."""

    class State(models.TextChoices):
        ASKED = "asked", "Waiting"
        CONFIRMED = "confirmed", "Confirmed"
        PARTIAL = "partial", "Confirmed in part"
        REFUSED = "refused", "Refused"
        FAILED = "failed", "Not delivered"

    class Side(models.TextChoices):
        OURS = "ours", "We asked"
        THEIRS = "theirs", "The peer asked"

    TRANSITIONS: ClassVar[Table] = {
        "asked": frozenset({"confirmed", "partial", "refused", "failed"}),
        "failed": frozenset({"asked"}),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="commitments")
    side = models.CharField(max_length=6, choices=Side.choices)
    transaction_uid = models.CharField(max_length=64)
    asked_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(null=True)  # when the report is sent (again)
    attempts = models.PositiveIntegerField(default=0)
    confirmed = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["peer", "side", "transaction_uid"], name="commitment_transaction_once")
        ]

    def __str__(self) -> str:
        return f"commitment {self.transaction_uid} ({self.state})"


class CommitmentItem(models.Model):
    """The instances that a commitment names: in the identity zone, for they are the sender's own UIDs."""

    commitment_id = models.UUIDField(db_index=True)
    sop_class = models.CharField(max_length=64)
    sop_uid = models.CharField(max_length=64)
    failure = models.PositiveIntegerField(null=True)  # reason of PS3.3 C.14.1.1; empty: not refused

    class Meta:
        db_table = '"identities"."commitment_item"'

    def __str__(self) -> str:
        return self.sop_uid


@pghistory.track()
class RoutingRule(models.Model):
    """Which complete studies go on to a peer by themselves, under their pseudonyms."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="routing_rules")
    name = models.CharField(max_length=80)
    source = models.ForeignKey(Source, on_delete=models.CASCADE, null=True, blank=True, related_name="+")  # none: any
    modalities = ArrayField(models.CharField(max_length=16), default=list, blank=True)  # empty: any
    body_parts = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    description = models.CharField(max_length=64, blank=True)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="routing_rules")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="routing_rule_name_once")]

    def __str__(self) -> str:
        return self.name


class Delivery(Outgoing):
    """One study on its way to a peer by a routing rule."""

    TOPIC = "peers.delivery_queued"
    PAUSES = PAUSES

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        SENT = "sent", "Acknowledged"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[Table] = {
        "queued": frozenset({"sent", "failed"}),
        "failed": frozenset({"queued"}),
        "sent": frozenset({"queued"}),  # the study has grown
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    rule = models.ForeignKey(RoutingRule, on_delete=models.CASCADE, related_name="deliveries")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="deliveries")
    sent = models.PositiveIntegerField(default=0)  # instances that the peer has acknowledged

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["rule", "study"], name="one_delivery_a_rule")]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(state="failed"), name="delivery_due")]

    def __str__(self) -> str:
        return f"delivery {self.id} ({self.state})"

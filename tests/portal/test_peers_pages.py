"""The PACS administrator's pages of peers, through the forms."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.ingest.models import Receipt, Source
from portal.peers.models import Peer, RoutingRule, StandingQuery
from tests.factories import archive
from tests.factories.archive import plain_static
from tests.factories.peers import peer

__all__ = ["plain_static"]
ENTERED = {
    "name": "City PACS", "ae_title": "CITY", "host": "10.0.0.7", "port": "104", "addresses": "10.0.0.7, 10.1.2.3/16",
    "may_store": "on", "may_query": "on", "privacy": "keep_uids", "fetch": "get", "priors": "2",
    "most_associations": "4", "idle_seconds": "30", "active": "on",
}  # fmt: skip


@pytest.fixture
def dave(db: Any) -> User:
    return archive.user("dave", archive.organisation("lakeside"), "pacs_admin")


@pytest.fixture
def client(dave: User) -> Client:
    found = Client()
    found.force_login(dave)
    return found


def test_a_peer_is_entered_and_changed(client: Client, dave: User) -> None:
    assert client.post("/peers/new/", ENTERED).status_code == 302
    row = Peer.objects.get()
    assert (row.ae_title, row.fetch, row.priors, row.may_retrieve) == ("CITY", "get", 2, False)
    assert row.addresses == ["10.0.0.7/32", "10.1.0.0/16"]
    assert (row.source.kind, row.source.ae_title, row.source.privacy) == ("dimse", "CITY", "keep_uids")
    page = client.get("/peers/").content.decode()
    assert "City PACS" in page and "10.0.0.7" in page and "not asked yet" in page
    assert client.post(f"/peers/{row.pk}/", {**ENTERED, "privacy": "full", "active": ""}).status_code == 302
    row.refresh_from_db()
    assert not row.active and (row.source.privacy, row.source.active) == ("full", False)
    assert row.events.count() == 2 and Source.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"addresses": "10.0.0.300"}, "neither an address nor a network"),
        ({"ae_title": "TWO WORDS"}, "without spaces"),
        ({"host": ""}, "needs a host"),
        ({"fetch": "move", "may_store": ""}, "has to be allowed to"),
        ({"certificate": "abc"}, "64 hexadecimal digits"),
        ({"port": "70000"}, "65535"),
        ({"ae_title": "TAKEN"}, "already in use"),
    ],
)
def test_what_cannot_be_right_is_said(client: Client, dave: User, changes: dict[str, str], words: str) -> None:
    peer(archive.organisation("harbour"), "TAKEN")
    answer = client.post("/peers/new/", {**ENTERED, **changes})
    assert answer.status_code == 200 and words in answer.content.decode()
    assert not Peer.objects.filter(organisation=dave.memberships.get().organisation).exists()


def test_a_source_that_was_entered_before_becomes_the_peers(client: Client, dave: User) -> None:
    organisation = dave.memberships.get().organisation
    old = Source.objects.create(organisation=organisation, kind="dimse", name="CT 1", ae_title="CITY")
    client.post("/peers/new/", ENTERED)
    assert Peer.objects.get().source == old and Source.objects.count() == 1


def test_standing_queries_and_routing_rules_are_entered(client: Client, dave: User) -> None:
    organisation = dave.memberships.get().organisation
    here, away = peer(organisation, "HERE", fetch="get"), peer(archive.organisation("harbour"), "AWAY", fetch="get")
    body = {"name": "Breasts", "peer": here.pk, "modalities": "mg, dx", "days_back": "3", "every_minutes": "15",
            "most": "5", "active": "on"}  # fmt: skip
    assert client.post("/peers/standing/new/", body).status_code == 302
    row = StandingQuery.objects.get()
    assert row.modalities == ["MG", "DX"] and row.next_at <= timezone.now()
    assert client.post("/peers/standing/new/", {**body, "peer": away.pk, "name": "x"}).status_code == 200
    assert "at least one modality" in client.post(
        "/peers/standing/new/", {**body, "name": "y", "modalities": ""}
    ).content.decode()  # fmt: skip
    rule = {"name": "To the archive", "peer": here.pk, "modalities": "mg", "active": "on"}
    assert client.post("/peers/routing/new/", rule).status_code == 302
    assert client.post("/peers/routing/new/", {**rule, "name": "x", "peer": away.pk}).status_code == 200
    assert RoutingRule.objects.get().modalities == ["MG"] and StandingQuery.objects.count() == 1


def test_throughput_counts_what_came_in_by_door(client: Client, dave: User) -> None:
    organisation = dave.memberships.get().organisation
    assert "Nothing came in" in client.get("/peers/throughput/").content.decode()
    for kind, many in (("dimse", 3), ("upload", 1)):
        source = Source.objects.create(organisation=organisation, kind=kind, name=kind)
        for n in range(many):
            Receipt.objects.create(
                organisation=organisation, source=source, state="received", size=500_000, digest=str(n)
            )
    other = archive.organisation("harbour")
    elsewhere = Source.objects.create(organisation=other, kind="dimse", name="x")
    Receipt.objects.create(organisation=other, source=elsewhere, state="received", size=1, digest="z")
    for hours in ("1", "6", "24", "168", "nonsense"):
        page = client.get(f"/peers/throughput/?hours={hours}").content.decode()
        assert "4 instances came in" in page and "2.0 MB came in" in page
        assert "DICOM (C-STORE)" in page and "Browser upload" in page and "STOW-RS" not in page

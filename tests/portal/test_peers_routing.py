"""Routing rules: complete studies reach the peers that they name, and Orthanc is one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pydicom.uid import generate_uid

from deploy.embedded.config import free_port
from portal.accounts.models import User
from portal.archive.models import Study
from portal.peers import routing
from portal.peers.models import Delivery, RoutingRule
from tests.factories import archive
from tests.factories.archive import plain_static
from tests.factories.peers import orthanc, peer
from tests.factories.returns import pacs

__all__ = ["plain_static"]


@pytest.fixture
def dave(db: Any) -> Iterator[User]:
    yield archive.user("dave", archive.organisation("lakeside"), "pacs_admin")


def ct(slices: int = 3, **values: Any) -> Study:
    study, series = generate_uid(), generate_uid()
    images = [
        archive.image("CT", study=study, series=series, seed=n, InstanceNumber=n + 1, **values) for n in range(slices)
    ]
    return archive.settled(images, archive.organisation("lakeside"))


def rule(dave: User, **values: Any) -> RoutingRule:
    organisation = dave.memberships.get().organisation
    fixed = {"organisation": organisation, "name": "CTs", "modalities": ["CT"]}
    return routing.save_rule(dave, RoutingRule(**{**fixed, **values}))


def test_a_study_goes_where_its_rule_says(dave: User, tmp_path: Path) -> None:
    with pacs(tmp_path / "pacs") as there:
        to = peer(dave.memberships.get().organisation, "PACS", port=there.port)
        rule(dave, peer=to)
        rule(dave, peer=to, name="Heads", body_parts=["HEAD"])
        rule(dave, peer=to, name="Others", modalities=["MG"])
        rule(dave, peer=to, name="Described", description="scre*")
        rule(dave, peer=to, name="From elsewhere", source=to.source)
        study = ct()
        made = routing.route_study(study.pk)
        assert {row.rule.name for row in made} == {"CTs", "Described"}
        assert routing.route_study(study.pk) == []
        sent = routing.send_delivery(made[0].pk)
        assert (sent.state, sent.sent, sent.attempts, sent.error) == ("sent", 3, 1, "")
        uids = set(study.instances.values_list("sop_uid", flat=True))
        assert {o.SOPInstanceUID for o in there.objects()} == uids
        assert routing.send_delivery(made[0].pk).attempts == 1
    client = Client()
    client.force_login(dave)
    page = client.get("/peers/routing/").content.decode()
    assert "Acknowledged" in page and "From elsewhere" in page


def test_a_peer_that_is_away_gets_it_later(dave: User, tmp_path: Path) -> None:
    port = free_port()
    rule(dave, peer=peer(dave.memberships.get().organisation, "ORTHANC", port=port))
    study = ct(2)
    (row,) = routing.route_study(study.pk)
    failed = routing.send_delivery(row.pk)
    assert failed.state == "failed" and "does not answer" in failed.error and failed.next_at
    Delivery.objects.update(next_at="2020-01-01T00:00Z")
    assert routing.queue_due() == 1 and routing.queue_due() == 0
    with orthanc(tmp_path, free_port(), port=port) as there:
        assert routing.send_delivery(row.pk).sent == 2
        kept = {there.get(f"/instances/{key}/simplified-tags")["SOPInstanceUID"] for key in there.get("/instances")}
    assert kept == set(study.instances.values_list("sop_uid", flat=True))
    study.instance_count += 1
    study.save()
    assert [d.pk for d in routing.route_study(study.pk)] == [row.pk]


def test_nothing_goes_back_to_where_it_came_from(dave: User) -> None:
    to = peer(dave.memberships.get().organisation, "PACS")
    study = ct(1)
    Study.objects.filter(pk=study.pk).update(source=to.source)
    rule(dave, peer=to)
    assert routing.route_study(study.pk) == []

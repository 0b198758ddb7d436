"""Rights end with the membership, a token acts in its own organisation, and actions ask for themselves."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from portal.accounts.actions import create_token, set_roles
from portal.accounts.models import Membership, Organisation, Role, User
from portal.accounts.queries import has_role, memberships, organisation_ids, roles
from portal.core.errors import Refused
from portal.programmes.actions import claim, claim_next, new_protocol, set_panel
from portal.programmes.models import Assignment, PanelMember, Programme
from portal.programmes.queries import panel_users
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case, submit

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)


def bearer(user: User, organisation: Organisation) -> Client:
    return Client(headers={"Authorization": f"Bearer {create_token(user, organisation, 'test')[1]}"})


def session(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def claimed(cast: Cast) -> Assignment:
    return claim(cast.alice, open_case(cast).assignments.select_related("case__programme", "case__protocol").get())


def ways_into(assignment: Assignment) -> list[tuple[str, str, Any]]:
    path = f"/api/v1/assignments/{assignment.pk}"
    return [
        ("GET", f"/read/{assignment.pk}/", None),
        ("GET", f"{path}/", None),
        ("PUT", f"{path}/draft/", {"revision": 0, "answers": {}, "marks": [], "client": "c"}),
        ("POST", f"{path}/submit/", {"answers": answers(True), "marks": [], "key": str(uuid.uuid4())}),
        ("POST", f"{path}/reveal/", {}),
        ("POST", f"{path}/release/", {}),
    ]


@pytest.mark.parametrize(("left", "active"), [([Role.READER], False), ([Role.AUDITOR], True)])
def test_a_claimed_case_is_lost_with_the_membership_or_the_role(cast: Cast, left: list[str], active: bool) -> None:
    assignment = claimed(cast)
    client = session(cast.alice)
    assert client.get(f"/read/{assignment.pk}/").status_code == 200
    # she stays a reader elsewhere, so her sign-in and her tokens there go on
    harbour = Organisation.objects.get(slug="harbour")
    Membership.objects.create(user=cast.alice, organisation=harbour, roles=[Role.READER])
    set_roles(cast.grace, cast.alice.memberships.get(organisation=cast.lakeside), left, active)
    for who in (client, bearer(cast.alice, harbour)):
        for method, path, body in ways_into(assignment):
            answer = who.generic(method, path, json.dumps(body), "application/json")
            page = "/read/" in path and who is not client  # pages know no tokens: they ask to sign in
            assert answer.status_code == (302 if page else 404), (method, path, answer.status_code)
    assignment.refresh_from_db()
    assert assignment.state == Assignment.State.CLAIMED


def test_who_lost_the_role_is_offered_nothing(cast: Cast) -> None:
    case = open_case(cast)
    offer = case.assignments.select_related("case__programme", "case__protocol").get()
    set_roles(cast.grace, cast.alice.memberships.get(), [Role.AUDITOR], True)
    assert claim_next(cast.alice) is None
    with pytest.raises(Refused):
        claim(cast.alice, offer)
    assert session(cast.alice).get(f"/read/{offer.pk}/").status_code == 404
    assert claim_next(cast.bob) == offer


def test_an_arbiter_who_left_no_longer_sees_the_case(cast: Cast) -> None:
    case = open_case(cast)
    first = case.assignments.get()
    submit(cast.alice, first, answers(True))
    Assignment.objects.filter(pk=first.pk).update(kind=Assignment.Kind.ARBITRATION, slot=1)
    path = f"/api/v1/assignments/{first.pk}/case/"
    assert session(cast.alice).get(path).status_code == 200
    set_roles(cast.grace, cast.alice.memberships.get(), [], False)
    assert session(cast.alice).get(path).status_code == 404


def test_a_token_carries_no_role_of_another_organisation(cast: Cast) -> None:
    """Mallory rules in harbour; her token of lakeside, where she audits, must not."""
    mallory, harbour = cast.mallory, Organisation.objects.get(slug="harbour")
    Membership.objects.create(user=mallory, organisation=cast.lakeside, roles=[Role.AUDITOR])
    limited, own = bearer(mallory, cast.lakeside), bearer(mallory, harbour)
    for path in ("/api/v1/receipts/", "/api/v1/quarantine/"):
        assert own.get(path).status_code == limited.get(path).status_code == 200
    made = own.post("/ingest/upload/")
    assert made.status_code != 404
    assert limited.post("/ingest/upload/").status_code == 404
    # what every door asks
    token = create_token(mallory, cast.lakeside, "by hand")[0]
    limited_user = User.objects.get(pk=mallory.pk)
    limited_user.token = token
    assert organisation_ids(limited_user) == [cast.lakeside.pk]
    assert [m.organisation_id for m in memberships(limited_user)] == [cast.lakeside.pk]
    assert roles(limited_user, harbour) == set() and roles(limited_user, cast.lakeside) == {Role.AUDITOR}
    assert has_role(User.objects.get(pk=mallory.pk), harbour, Role.PACS_ADMIN)
    assert not has_role(limited_user, harbour, Role.PACS_ADMIN)


@pytest.mark.parametrize("who", ["alice", "erin", "grace", "mallory"])
def test_only_coordinators_of_the_organisation_set_rules_and_panels(cast: Cast, who: str) -> None:
    programme, by = Programme.objects.get(slug="screening-mammography"), getattr(cast, who)
    for refused in (
        lambda: new_protocol(programme, by=by, similarity_threshold=0.1),
        lambda: set_panel(programme, cast.alice, "arbiter", by=by),
    ):
        with pytest.raises(Refused) as error:
            refused()
        assert error.value.status == 404
    assert programme.protocols.count() == 1 and not programme.panel.filter(user=cast.alice, part="arbiter").exists()
    assert new_protocol(programme, by=cast.carol, similarity_threshold=0.1).number == 2
    assert set_panel(programme, cast.alice, "arbiter", by=cast.carol).part == "arbiter"


def test_a_panel_takes_members_with_the_role_of_the_part(cast: Cast) -> None:
    programme = Programme.objects.get(slug="screening-mammography")
    for user, part in (
        (cast.mallory, "reader"),  # reads elsewhere
        (cast.erin, "reader"),  # here, but reads nothing
        (cast.erin, "arbiter"),
        (cast.alice, "coordinator"),
        (cast.bench, "reader"),  # a program
        (cast.alice, "owner"),  # no such part
    ):
        with pytest.raises(Refused):
            set_panel(programme, user, part, by=cast.carol)
        assert not PanelMember.objects.filter(programme=programme, user=user, part=part).exists()
    assert session(cast.carol).post("/programmes/screening-mammography/panel/", {
        "user": cast.erin.pk, "part": "reader", "available": "on"
    }).status_code == 302  # fmt: skip
    assert not PanelMember.objects.filter(programme=programme, user=cast.erin).exists()


def test_who_left_hears_nothing_of_the_panel_and_can_be_taken_off(cast: Cast) -> None:
    programme = Programme.objects.get(slug="screening-mammography")
    assert set(panel_users(programme, "reader")) == {cast.alice, cast.bob}
    set_roles(cast.grace, cast.alice.memberships.get(), [Role.AUDITOR], True)
    assert set(panel_users(programme, "reader")) == {cast.bob}
    assert not set_panel(programme, cast.alice, "reader", available=False, by=cast.carol).available
    with pytest.raises(Refused):
        set_panel(programme, cast.alice, "reader", by=cast.carol)

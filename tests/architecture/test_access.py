"""Every address × everyone, with an object of Lakeside's behind each.

ROUTES says which object an address is asked about, what is sent, and who may; the first test finds an address without a
row. Per person a test walks the table: who may gets an answer, everyone else is refused. Each request is rolled back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.architecture.access_bodies import OUT, PEER, WIRE
from tests.architecture.access_deidentify import DEIDENTIFY
from tests.architecture.access_doors import DOORS, UPLOADS
from tests.architecture.access_routes import (
    ALICE,
    ALL,
    BOTH,
    CAROL,
    CASE,
    COHORT,
    DAVE,
    DECIDES,
    ERIN,
    FRAMES,
    FUNCTION,
    GET,
    GRACE,
    HELD,
    INSTANCE,
    PANEL,
    POST,
    PROGRAMME,
    READS,
    REGISTRY,
    RUNS,
    SENDS,
    SERIES,
    STUDY,
    WADO_URI,
    WORKITEMS,
    Route,
)
from tests.architecture.access_world import LAKESIDE, OUTSIDERS, World
from tests.factories.archive import plain_static

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db

ROUTES: dict[str, Route] = {
    "": Route(get=ALL, own=GET),
    "palette/": Route(get=ALL, own=GET, shows="study_uid", seen_by=READS),
    "programmes/": Route(get=ALL, own=GET, shows="programme", seen_by=PANEL),
    "programmes/<slug>/": Route(get=PANEL, ids=PROGRAMME),
    "programmes/<slug>/settings/": Route(get=CAROL, post=CAROL, ids=PROGRAMME),
    "programmes/<slug>/panel/": Route(
        post=CAROL, ids=PROGRAMME, body={"user": "alice_pk", "part": "arbiter", "available": "on"}
    ),
    "programmes/<slug>/cases/priority/": Route(post=CAROL, ids=PROGRAMME, body={"row": "case", "do": "5"}),
    "programmes/<slug>/cases/<number>/": Route(get=CAROL, ids=CASE),
    "programmes/<slug>/data-sets/": Route(post=CAROL, ids=PROGRAMME),
    "programmes/<slug>/data-sets/<data_set>/": Route(get=CAROL, ids={**PROGRAMME, "data_set": "data_set"}),
    "programmes/<slug>/cases/<number>/report/": Route(get=CAROL, ids=CASE),
    "data-sets/": Route(get=CAROL, own=GET, shows="data_set", seen_by=CAROL),
    "api/v1/programmes/<slug>/data-sets/": Route(
        get=CAROL, post=CAROL, ids=PROGRAMME, body={"format": "csv"}, shows="data_set", seen_by=CAROL
    ),
    "api/v1/programmes/<slug>/data-sets/<data_set>/file/": Route(get=CAROL, ids={**PROGRAMME, "data_set": "data_set"}),
    "fhir/metadata": Route(get=ALL, own=GET),
    "fhir/DiagnosticReport": Route(get=ALL, own=GET),
    "fhir/DiagnosticReport/<report_id>": Route(get=CAROL, ids={"report_id": "report"}),
    "returns/": Route(get=DAVE, own=GET, shows="peer_name", seen_by=DAVE),
    "returns/retry/": Route(post=DAVE, body={"row": "return", "do": "retry"}),
    "returns/<return_id>/retry/": Route(post=DAVE, ids={"return_id": "return"}),
    "destinations/": Route(get=DAVE, own=GET, shows="peer_name", seen_by=DAVE),
    "destinations/new/": Route(get=DAVE, post=DAVE, own=BOTH, body=PEER),
    "destinations/<destination_id>/": Route(get=DAVE, post=DAVE, ids={"destination_id": "peer"}, body=PEER),
    "destinations/<destination_id>/test/": Route(post=DAVE, ids={"destination_id": "peer"}),
    "account/organisation/": Route(post=ALL, own=POST, body={"organisation": "lakeside"}),
    "account/members/": Route(get=GRACE, post=GRACE, own=BOTH, shows="alice_name", seen_by=GRACE),
    "account/members/<pk>/": Route(post=GRACE, ids={"pk": "membership"}, body={"roles": ["auditor"], "active": "on"}),
    "account/tokens/": Route(get=ALL, post=ALL, own=BOTH, body={"name": "new"}, shows="token_name", seen_by=ALICE),
    "account/tokens/<pk>/revoke/": Route(post=ALICE, ids={"pk": "token"}),
    # one's own, whoever one is; the home page it leads to shows nothing of it
    "account/views/": Route(post=ALL, own=POST, body={"table": "scans", "name": "mine", "query": "state=settled"}),
    "account/views/<pk>/remove/": Route(post=ALICE, ids={"pk": "view"}),
    "account/usage/": Route(get=GRACE, own=GET),
    "account/usage/ledger.csv": Route(get=GRACE, own=GET, shows="ledger", seen_by=GRACE),
    **DOORS,
    "input-alerts/": Route(get=RUNS, own=GET, shows="study_uid", seen_by=RUNS),
    "input-alerts/decide/": Route(post=DECIDES, body={"row": "alert", "do": "keep"}),
    "input-alerts/<pk>/": Route(get=RUNS, post=DECIDES, ids={"pk": "alert"}, body={"decision": "keep"}),
    **DEIDENTIFY,
    "input-check/": Route(get=RUNS, own=GET),
    "dicomweb": Route(get=ALL, own=GET),  # what the service can do; nothing of anybody's
    "dicomweb/studies": Route(get=ALL, post=SENDS, own=BOTH, shows="study_uid", seen_by=READS),
    "dicomweb/series": Route(get=ALL, own=GET, shows="series_uid", seen_by=READS),
    "dicomweb/instances": Route(get=ALL, own=GET, shows="sop_uid", seen_by=READS),
    STUDY: Route(get=READS, post=SENDS, own=POST),  # stored into one's own organisation
    f"{STUDY}/series": Route(get=READS),
    f"{STUDY}/instances": Route(get=READS),
    f"{STUDY}/metadata": Route(get=READS),
    f"{STUDY}/thumbnail": Route(get=READS),
    f"{STUDY}/rendered": Route(get=READS),
    SERIES: Route(get=READS),
    f"{SERIES}/instances": Route(get=READS),
    f"{SERIES}/metadata": Route(get=READS),
    f"{SERIES}/thumbnail": Route(get=READS),
    f"{SERIES}/rendered": Route(get=READS),
    INSTANCE: Route(get=READS),
    f"{INSTANCE}/metadata": Route(get=READS),
    f"{INSTANCE}/rendered": Route(get=READS),
    f"{INSTANCE}/thumbnail": Route(get=READS),
    f"{INSTANCE}/bulkdata/<place>": Route(get=READS),
    FRAMES: Route(get=READS),
    f"{FRAMES}/rendered": Route(get=READS),
    f"{FRAMES}/thumbnail": Route(get=READS),
    "api/v1/studies/<study_uid>/layers/": Route(get=READS),
    "api/v1/studies/<study_uid>/layers/<sop_uid>/": Route(get=RUNS, ids={"sop_uid": "layer"}),
    "scans/<study_uid>/layers/": Route(get=READS),
    "scans/<study_uid>/layers/<sop_uid>/": Route(get=RUNS, ids={"sop_uid": "layer"}),
    "api/v1/standardised/": Route(get=ALL, own=GET),
    "scans/standardised/": Route(get=DAVE, own=GET),
    **WORKITEMS,
    "dicomweb/wado": Route(get=READS, query=WADO_URI),
    "cohorts/": Route(get=READS, own=GET, shows="cohort_name", seen_by=READS),
    "cohorts/new/": Route(get=READS, post=READS, own=BOTH, body={"name": "Mine"}),
    "cohorts/<pk>/": Route(get=READS, ids=COHORT),
    "cohorts/<pk>/edit/": Route(get=CAROL, post=CAROL, ids=COHORT, body={"name": "Renamed"}),
    "cohorts/<pk>/freeze/": Route(post=CAROL, ids=COHORT),
    "cohorts/<pk>/remove/": Route(post=CAROL, ids=COHORT),
    "cohorts/<pk>/cases/": Route(post=CAROL, ids=COHORT, body={"programme": "programme"}),
    "cohorts/<pk>/runs/": Route(post=RUNS, ids=COHORT, body={"version": "version"}),
    "cohorts/<pk>/data-sets/": Route(post=CAROL, ids=COHORT, body={"what": "screening-mammography/csv"}),
    "api/v1/cohorts/": Route(get=ALL, post=READS, own=BOTH, body={"name": "Mine"}, shows="cohort_name", seen_by=READS),
    "api/v1/cohorts/<pk>/": Route(get=READS, patch=CAROL, delete=CAROL, ids=COHORT, body={"name": "Renamed"}),
    "api/v1/cohorts/<pk>/freeze/": Route(post=CAROL, ids=COHORT),
    "api/v1/cohorts/<pk>/members/": Route(get=READS, ids=COHORT, shows="study_uid", seen_by=READS),
    "api/v1/cohorts/<pk>/cases/": Route(post=CAROL, ids=COHORT, body={"programme": "programme"}),
    "api/v1/cohorts/<pk>/runs/": Route(post=RUNS, ids=COHORT, body={"version": "version"}),
    "scans/": Route(get=READS, own=GET, shows="study_uid", seen_by=READS),
    "scans/<study_uid>/": Route(get=READS),
    "scans/<study_uid>/output/": Route(get=READS, post=RUNS),
    "scans/<study_uid>/input-check/": Route(get=READS),
    "view/<study_uid>/": Route(get=READS),
    "api/v1/studies/": Route(get=ALL, own=GET, shows="study_uid", seen_by=READS),
    "api/v1/studies/<study_uid>/": Route(get=READS),
    "api/v1/studies/<study_uid>/input-check/": Route(get=READS, shows="series_uid", seen_by=READS),
    "api/v1/input-alerts/": Route(get=ALL, own=GET, shows="series_uid", seen_by=RUNS),
    "api/v1/input-alerts/<pk>/": Route(get=RUNS, ids={"pk": "alert"}),
    "api/v1/input-alerts/<pk>/decide/": Route(post=DECIDES, ids={"pk": "alert"}, body={"decision": "keep"}),
    "api/v1/studies/<study_uid>/bundle/": Route(get=READS),
    # readers of the panel are blinded: they see no run
    "api/v1/studies/<study_uid>/runs/": Route(get=READS, post=RUNS, shows="run", seen_by=RUNS),
    "api/v1/runs/<run_id>/": Route(get=RUNS, ids={"run_id": "run"}),
    "api/v1/runs/<run_id>/retry/": Route(post=RUNS, ids={"run_id": "failed_run"}),
    "api/v1/runs/<run_id>/cancel/": Route(post=RUNS, ids={"run_id": "failed_run"}),  # 409: it has ended
    "api/v1/runs/<run_id>/matrix/<sop_uid>/": Route(get=RUNS, ids={"run_id": "run"}),
    "api/v1/runs/<run_id>/maps/": Route(post=RUNS, ids={"run_id": "run"}, body={"kind": "pm"}),
    "functions/": Route(get=REGISTRY, own=GET, shows="function", seen_by=REGISTRY),
    "functions/<slug>/": Route(get=REGISTRY, ids=FUNCTION),
    "runs/<run_id>/maps/": Route(post=RUNS, ids={"run_id": "run"}, body={"kind": "pm"}),
    "functions/<slug>/runs/": Route(get=REGISTRY, ids=FUNCTION),
    "functions/<slug>/runs/retry/": Route(post=RUNS, ids=FUNCTION, body={"row": "failed_run", "do": "retry"}),
    "functions/<slug>/versions/<pk>/": Route(post=ERIN, ids={"slug": "function", "pk": "version"}, body=OUT),
    "worklist/": Route(get=ALL, own=GET, shows="assignment", seen_by=ALICE),
    "worklist/next/": Route(post=ALL, own=POST),
    "read/<assignment>/": Route(get=ALICE, ids={"assignment": "assignment"}),
    "api/v1/worklist/": Route(get=ALL, own=GET, shows="assignment", seen_by=ALICE),
    "api/v1/worklist/claim/": Route(post=ALL, own=POST, shows="assignment", seen_by=ALICE),
    "api/v1/assignments/<assignment_id>/": Route(get=ALICE, ids=HELD),
    "api/v1/assignments/<assignment_id>/draft/": Route(put=ALICE, ids=HELD, body=WIRE),
    "api/v1/assignments/<assignment_id>/submit/": Route(post=ALICE, ids=HELD, body=WIRE),
    "api/v1/assignments/<assignment_id>/reveal/": Route(post=ALICE, ids=HELD),
    "api/v1/assignments/<assignment_id>/release/": Route(post=ALICE, ids=HELD),
    "api/v1/assignments/<assignment_id>/case/": Route(get=CAROL, ids=HELD),
    "api/v1/programmes/<slug>/cases/<number>/": Route(get=CAROL, ids=CASE),
    "scores/": Route(get={"alice", "bob", "carol"}, own=GET),
}
# nothing of anybody's stands there
PUBLIC = {"healthz", "readyz", "metrics", "api/schema/", "api/docs/"}
PACKAGES = ("accounts/", "admin/")  # allauth's pages are one's own; the admin has its own test below


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        part = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, part)
        elif isinstance(entry, URLPattern):
            yield plain(part)


def plain(pattern: str) -> str:
    """An address's pattern as the table writes it: `<name>` for a parameter, whatever may stand there."""
    text = re.sub(r"<\w+:(\w+)>", r"<\1>", pattern)
    text = re.sub(r"\(\?P(<\w+>)(?:[^()]|\((?:[^()])*\))*\)", r"\1", text)
    return text.replace("^", "").replace("/?$", "").replace("$", "")


def test_every_address_is_in_the_table() -> None:
    known = [p for p in patterns(get_resolver()) if not p.startswith(PACKAGES)]
    assert len(known) == len(set(known))
    assert set(known) - PUBLIC == set(ROUTES)


@pytest.fixture
def world(db: None, settings: Any) -> World:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return World()


METHODS = ("get", "post", "put", "patch", "delete")


@dataclass
class Answer:
    status: int
    body: str
    location: str


def ask(world: World, client: Client, pattern: str, route: Route, method: str) -> Answer:
    """One request, undone afterwards."""
    address = "/" + re.sub(r"<(\w+)>", lambda m: str(world[route.ids.get(m[1], m[1])]), pattern)
    body = {key: world.get(value, value) for key, value in route.body.items()}
    as_json = address.startswith("/api/") or method not in {"get", "post"}
    with transaction.atomic():
        if as_json and method != "get":
            answer = client.generic(method.upper(), address, json.dumps(body, default=str), "application/json")
        else:
            query = {key: str(world.get(value, value)) for key, value in route.query.items()}
            answer = getattr(client, method)(address, body if method == "post" else query or None)
        text = b"".join(answer.streaming_content) if answer.streaming else answer.content
        transaction.set_rollback(True)
    return Answer(answer.status_code, text.decode("latin-1"), answer.headers.get("Location", ""))


def walk(world: World, client: Client) -> Iterator[tuple[str, Route, str, Answer]]:
    for pattern, route in ROUTES.items():
        for method in METHODS:
            yield pattern, route, method, ask(world, client, pattern, route, method)


def answered(answer: Answer, method: str) -> bool:
    """Whether someone was let in: a page or data; a write may still be refused for what was sent."""
    if answer.status == 302 and "/accounts/login/" in answer.location:
        return False
    return answer.status < 400 or (method != "get" and answer.status in {400, 409, 410, 415, 422})


def is_api(pattern: str) -> bool:
    return pattern.startswith(("api/", "dicomweb", "fhir/"))


@pytest.mark.parametrize("name", LAKESIDE)
def test_in_lakeside(world: World, name: str) -> None:
    faults = []
    for pattern, route, method, answer in walk(world, world.client(name)):
        may = route.may(method)
        if may is None:  # no such method: refused, or a page that looks at its address only
            fine = not answered(answer, method) or (not is_api(pattern) and name in (route.get or set()))
        elif name in may:
            fine = answered(answer, method) and (method != "get" or answer.status < 400)
        else:
            fine = answer.status == 404
        if route.shows and answer.status < 400 and method == route.shown_by:
            fine = fine and (str(world[route.shows]) in answer.body) == (name in route.seen_by)
        if not fine or answer.status >= 500:
            faults.append((method, pattern, answer.status))
    assert faults == []


@pytest.mark.parametrize("name", OUTSIDERS)
def test_outside_lakeside(world: World, name: str) -> None:
    """People of another organisation with every role, one who left, one with a token of the other, one of nowhere."""
    faults = []
    client = world.client(name)
    token = name in world.bearers
    for pattern, route, method, answer in walk(world, client):
        if token and not is_api(pattern) and pattern not in UPLOADS:
            fine = answer.status == 302 and "/accounts/login/" in answer.location  # pages know no tokens
        elif method in route.own:
            # who belongs nowhere may be told that there is nowhere to send to
            fine = answer.status < 500 and answer.status not in ({401} if name == "nomad" else {401, 403})
        elif route.may(method) is None:
            fine = not answered(answer, method) or bool(route.own and not is_api(pattern))
        else:
            fine = answer.status == 404
        leaks = [word for word in world.secrets if word in answer.body]
        if not fine or leaks or answer.status >= 500:
            faults.append((method, pattern, answer.status, leaks))
    assert faults == []


def test_strangers(world: World) -> None:
    faults = []
    for pattern, _, method, answer in walk(world, Client(raise_request_exception=False)):
        login = answer.status == 302 and answer.location.startswith("/accounts/login/")
        unknown = is_api(pattern) or (pattern in UPLOADS and method == "post")
        leaks = [word for word in world.secrets if word in answer.body]
        if (answer.status != 401 if unknown else not login) or leaks:
            faults.append((method, pattern, answer.status, leaks))
    assert faults == []


def test_a_token_opens_its_own_organisation(world: World) -> None:
    """The control for the limited token: the same person's token of Lakeside opens what each of the roles opens."""
    faults = []
    client = world.bearer("twin", world.lakeside)
    for pattern, route, method, answer in walk(world, client):
        may = route.may(method)
        if may is None or not is_api(pattern) or may == ALICE:
            continue
        if not answered(answer, method):
            faults.append((method, pattern, answer.status))
    assert faults == []


def test_another_organisation_cannot_be_chosen(world: World) -> None:
    client = world.client("mallory")
    client.post("/account/organisation/", {"organisation": world["lakeside"]})
    assert client.session.get("organisation") is None
    assert str(world["programme"]) not in client.get("/").content.decode()
    twin = world.client("twin")
    twin.post("/account/organisation/", {"organisation": world["lakeside"]})
    assert twin.session["organisation"] == world["lakeside"]


def test_the_admin_does_not_exist_for_people_who_are_no_staff(world: World) -> None:
    fixed = {p for p in patterns(get_resolver()) if p.startswith("admin/") and not re.search(r"[<(]", p)}
    assert {"admin/", "admin/login/", "admin/password_change/"} <= fixed
    for name in (*LAKESIDE, *(n for n in OUTSIDERS if n not in world.bearers)):
        client = world.client(name)
        for address in sorted(fixed - {"admin/logout/"}):
            assert client.get(f"/{address}", follow=True).status_code == 404, (name, address)
    stranger = Client()
    for address in sorted(fixed):
        assert stranger.get(f"/{address}", follow=True).redirect_chain[-1][0].startswith("/accounts/login/"), address


def test_rolled_back_requests_leave_the_world_as_it_was(world: World) -> None:
    """The control of the walk itself: what is written in one request is not there for the next."""
    before = _rows()
    list(walk(world, world.client("carol")))
    assert _rows() == before


def _rows() -> dict[str, int]:
    with connection.cursor() as cursor:
        tables = [t for t in connection.introspection.table_names(cursor) if not t.startswith(("pghistory", "django"))]
        counts = {}
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            counts[table] = cursor.fetchone()[0]
    return counts

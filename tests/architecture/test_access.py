"""Every address × everyone: strangers get nothing, another organisation's ids look missing, nobody gets a 5xx."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from portal.archive.models import Instance
from portal.export.models import DataSet, Destination, Return
from portal.functions.models import FunctionVersion
from portal.ingest.models import HeaderRule, Receipt, Source
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, cast, open_case

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
ROLES = ["alice", "carol", "erin", "dave", "grace"]
PUBLIC = re.compile(r"^/(healthz|readyz|metrics|accounts/(login|password/reset|signup|logout|reauth|confirm|inactive))")
# pages of other packages that look after themselves
OTHERS = ("/admin/", "/accounts/", "/api/schema/", "/api/docs/")


def patterns(resolver: URLResolver, prefix: str = "") -> list[str]:
    found: list[str] = []
    for entry in resolver.url_patterns:
        part = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            found += patterns(entry, part)
        elif isinstance(entry, URLPattern):
            found.append(part)
    return found


def filled(pattern: str, ids: dict[str, Any]) -> str:
    """An address of a pattern, with Lakeside's ids."""
    text = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: str(ids[m[1]]), pattern)
    text = re.sub(r"\(\?P<(\w+)>(?:[^()]|\((?:[^()])*\))*\)", lambda m: str(ids[m[1]]), text)
    text = re.sub(r"\(\?:([\w]+)(\|\w+)*\)", r"\1", text)
    return "/" + text.replace("^", "").replace("$", "").replace("/?", "/").replace("\\", "")


class Addresses(list[str]):
    """Every address; `with_ids` are those that name something of Lakeside's."""

    with_ids: set[str]


@pytest.fixture
def addresses(cast: Cast) -> Addresses:
    case = open_case(cast)
    instance = Instance.objects.filter(study=case.study).select_related("series").first()
    assert instance is not None
    receipt = Receipt.objects.filter(organisation=cast.lakeside).first()
    data_set = DataSet.objects.create(
        organisation=cast.lakeside, programme=case.programme, format="table", asked_by=cast.carol, state="queued"
    )
    peer = Destination.objects.create(organisation=cast.lakeside, name="PACS", ae_title="PACS", host="h", port=104)
    back = Return.objects.create(organisation=cast.lakeside, destination=peer, case=case, state="failed")
    ids: dict[str, Any] = {
        "study_uid": case.study.study_uid,
        "series_uid": instance.series.series_uid,
        "sop_uid": instance.sop_uid,
        "numbers": "1",
        "place": "7FE00010",
        "assignment": case.assignments.get().pk,
        "assignment_id": case.assignments.get().pk,
        "run_id": case.study.runs.get().pk,
        "slug": case.programme.slug,
        "number": case.number,
        "data_set": data_set.pk,
        "destination_id": peer.pk,
        "return_id": back.pk,
        "receipt_id": receipt.pk if receipt else uuid.uuid4(),
        "source_id": Source.objects.filter(organisation=cast.lakeside).first().pk,  # type: ignore[union-attr]
        "rule_id": HeaderRule.objects.filter(organisation=cast.lakeside).first().pk,  # type: ignore[union-attr]
        "membership": cast.alice.memberships.get().pk,
        "token": uuid.uuid4(),
        "version_pk": FunctionVersion.objects.first().pk,  # type: ignore[union-attr]
    }
    ids["pk"] = ids["version_pk"]
    known = [p for p in patterns(get_resolver()) if not ("/" + p).startswith(OTHERS)]
    missing = {m for p in known for m in re.findall(r"<(?:\w+:)?(\w+)>", p)} - set(ids)
    assert not missing, f"say which ids these take: {missing}"
    found = Addresses(filled(p, ids) for p in known)
    found.with_ids = {filled(p, ids) for p in known if re.search(r"<\w", p)}
    return found


def signed_in(cast: Cast, name: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(getattr(cast, name))
    return client


def test_strangers_get_nothing(addresses: list[str]) -> None:
    client = Client(raise_request_exception=False)
    for address in addresses:
        if PUBLIC.match(address):
            continue
        for method in ("get", "post"):
            answer = getattr(client, method)(address)
            login = answer.status_code == 302 and "/accounts/login/" in answer["Location"]
            assert login or answer.status_code in {401, 403, 404, 405}, (method, address, answer.status_code)


def test_another_organisation_finds_nothing_of_lakeside(addresses: Addresses, cast: Cast) -> None:
    client = signed_in(cast, "mallory")
    tried = [a for a in addresses if a in addresses.with_ids]
    assert len(tried) > 30
    for address in tried:
        for method in ("get", "post"):
            answer = getattr(client, method)(address)
            assert answer.status_code in {400, 403, 404, 405}, (method, address, answer.status_code)
        assert client.get(address).status_code in {404, 405}, address


@pytest.mark.parametrize("name", ROLES)
def test_nobody_gets_a_server_error(addresses: list[str], cast: Cast, name: str) -> None:
    client = signed_in(cast, name)
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code < 500 or address == "/readyz", (address, answer.status_code)

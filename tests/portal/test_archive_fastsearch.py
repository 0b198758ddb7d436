"""The short way for searches gives what Django gives, to the same people, and to nobody for longer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import zstandard
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.test import Client
from django.utils import timezone

from portal.accounts.models import ApiToken, Membership, Organisation, User
from portal.archive.fastsearch import FastSearch
from portal.archive.models import Series, Study
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.support import in_own_loop

pytestmark = pytest.mark.django_db(transaction=True)


class Ways:
    """Requests by the short way; `passed` counts what went on to Django."""

    def __init__(self) -> None:
        self.passed = 0
        django = ASGIHandler()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.passed += 1
            await django(scope, receive, send)

        self.door = FastSearch(app)

    async def __aenter__(self) -> Ways:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.door.close()

    async def get(self, address: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        path, _, query = address.partition("?")
        given = {"host": "localhost", **{k.replace("_", "-"): v for k, v in headers.items()}}
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()], "http_version": "1.1",
        }  # fmt: skip
        talk = ApplicationCommunicator(self.door, scope)
        await talk.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await talk.receive_output(60)
        body, more = b"", True
        while more:
            message = await talk.receive_output(60)
            body += bytes(message.get("body", b""))
            more = message.get("more_body", False)
        await talk.wait(60)
        return start["status"], {k.decode().lower(): v.decode() for k, v in start["headers"]}, body


@pytest.fixture
def lakeside() -> Organisation:
    return make.organisation()


@pytest.fixture
def shelf(lakeside: Organisation) -> Study:
    """One study of two series and three images among six of one image, and one of another organisation."""
    for n in range(6):
        make.stored(
            make.image("DX", PatientID=f"P-{n}", PatientName=f"Ann{n}^Éva", StudyDate=f"2024020{n + 1}"), lakeside
        )
    make.stored(make.image("CT", PatientID="P-1"), make.organisation("harbour"))
    images = [make.image("CT", study="1.2.3", series="1.2.3.4", InstanceNumber=n, seed=n) for n in (1, 2)]
    return make.settled([*images, make.image("MG", study="1.2.3", series="1.2.3.5", SeriesNumber=2)], lakeside)


def bearer(org: Organisation, name: str = "dave", role: str = "pacs_admin") -> str:
    """A token that was used just now: the first use in a minute is noted by Django."""
    token = make.token(make.user(name, org, role), org)
    ApiToken.objects.filter(prefix=token[:8]).update(last_used_at=timezone.now())
    return f"Bearer {token}"


def cookie(org: Organisation, name: str = "alice") -> str:
    client = Client()
    client.force_login(make.user(name, org, "reader"))
    return f"theme=dark; sessionid={client.cookies['sessionid'].value}"


ROOT = "/dicomweb"
ADDRESSES = [
    "/studies", "/studies?limit=2", "/studies?PatientID=P-1", "/studies?PatientName=ann*&fuzzymatching=true",
    "/studies?StudyDate=20240202-20240204&limit=2", "/studies?ModalitiesInStudy=MG", "/studies?includefield=all",
    "/studies?orderby=-StudyDate&limit=3", "/studies?PatientID=nobody", "/studies?BodyPartExamined=BREAST",
    "/series", "/series?Modality=CT&limit=1", "/series?includefield=PatientAge,Rows", "/instances?limit=3",
    "/instances?includefield=all", "/studies/1.2.3/series", "/studies/1.2.3/series?Modality=MG",
    "/studies/1.2.3/instances", "/studies/1.2.3/instances?includefield=BitsStored&limit=2",
    "/studies/1.2.3/series/1.2.3.4/instances", "/studies/1.2.3/metadata", "/studies/1.2.3/series/1.2.3.4/metadata",
    "/studies?accept=application/json", "/studies?Referring%C3%A9=x"[:8],
]  # fmt: skip
HEADERS = ("etag", "cache-control", "content-type", "content-encoding", "link", "warning")


@pytest.mark.parametrize("packing", ["identity", "gzip", "zstd, gzip;q=0.5"])
@pytest.mark.parametrize("who", ["token", "session"])
def test_both_ways_say_the_same(shelf: Study, lakeside: Organisation, packing: str, who: str) -> None:
    @in_own_loop
    async def body() -> None:
        credential = await sync_to_async(bearer if who == "token" else cookie)(lakeside)
        given = {"Authorization": credential} if who == "token" else {"Cookie": credential}
        given |= {"Accept-Encoding": packing, "Host": "localhost"}
        async with Ways() as ways:
            for address in ADDRESSES:
                status, headers, content = await ways.get(ROOT + address, **given)
                long = await sync_to_async(Client().get)(ROOT + address, headers=given)
                assert (status, content) == (long.status_code, long.content), address
                for name in HEADERS:
                    assert headers.get(name) == long.headers.get(name), (address, name)
                assert long.headers["Vary"].startswith(headers["vary"]), address
                if "etag" in headers:
                    again = await ways.get(ROOT + address, **given, If_None_Match=headers["etag"])
                    assert again[0] == 304 and not again[2], address
                if headers.get("content-encoding") == "gzip":
                    content = gzip.decompress(content)
                elif headers.get("content-encoding") == "zstd":
                    content = zstandard.ZstdDecompressor().decompress(content)
                assert status == 204 or json.loads(content)
            assert ways.passed == 0

    body()


@in_own_loop
async def test_what_is_djangos_to_tell(shelf: Study, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    grace = await sync_to_async(bearer)(lakeside, "grace", "account_admin")
    mallory = await sync_to_async(bearer)(await sync_to_async(make.organisation)("harbour"), "mallory")
    series = f"{ROOT}/studies/1.2.3/series"
    async with Ways() as ways:
        for status, address, headers in (
            (401, f"{ROOT}/studies", {}),
            (401, f"{ROOT}/studies", {"authorization": "Bearer wrong"}),
            (401, f"{ROOT}/studies", {"authorization": "Basic abc"}),
            (401, f"{ROOT}/studies", {"cookie": "sessionid=wrong"}),
            (404, series, {"authorization": mallory}),
            (404, series, {"authorization": grace}),
            (204, f"{ROOT}/studies", {"authorization": grace}),
            (404, f"{ROOT}/studies/9.9/series", {"authorization": token}),
            (400, f"{ROOT}/studies?limit=x", {"authorization": token}),
            (400, f"{ROOT}/studies?Nonsense=1", {"authorization": token}),
            (406, f"{ROOT}/studies", {"authorization": token, "accept": "image/png"}),
            (400, f"{ROOT}/studies", {"authorization": token, "host": "evil.example"}),
        ):
            before = ways.passed
            assert (await ways.get(address, **headers))[0] == status, (address, headers)
            assert ways.passed == before + 1
        found = json.loads((await ways.get(f"{ROOT}/studies", authorization=mallory))[2])
        assert [entry["00080061"]["Value"] for entry in found] == [["CT"]]  # harbour's own


@in_own_loop
async def test_a_token_is_noted_as_used(shelf: Study, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    await ApiToken.objects.aupdate(last_used_at=timezone.now() - timedelta(minutes=2))
    async with Ways() as ways:
        assert (await ways.get(f"{ROOT}/studies", authorization=token))[0] == 200 and ways.passed == 1
        assert (await ways.get(f"{ROOT}/studies", authorization=token))[0] == 200 and ways.passed == 1
    used = (await ApiToken.objects.aget()).last_used_at
    assert used and used > timezone.now() - timedelta(minutes=1)


def revoke(user: User) -> None:
    ApiToken.objects.filter(user=user).update(revoked_at=timezone.now())


def run_out(user: User) -> None:
    ApiToken.objects.filter(user=user).update(expires_at=timezone.now())


def leave(user: User) -> None:
    Membership.objects.filter(user=user).update(active=False)


def lose_the_role(user: User) -> None:
    Membership.objects.filter(user=user).update(roles=["account_admin"])


def be_locked(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_the_password(user: User) -> None:
    user.set_password("another one")
    user.save()


@pytest.mark.parametrize("end", [revoke, run_out, leave, lose_the_role, be_locked], ids=lambda end: end.__name__)
def test_a_token_ends_with_the_next_request(shelf: Study, lakeside: Organisation, end: Callable[[User], None]) -> None:
    ends(lakeside, bearer, "authorization", end, 404 if end is lose_the_role else 401)


@pytest.mark.parametrize("end", [leave, lose_the_role, be_locked, change_the_password], ids=lambda end: end.__name__)
def test_a_session_ends_with_the_next_request(
    shelf: Study, lakeside: Organisation, end: Callable[[User], None]
) -> None:
    ends(lakeside, cookie, "cookie", end, 404 if end in (leave, lose_the_role) else 401)


def ends(
    org: Organisation, make_one: Callable[..., str], header: str, end: Callable[[User], None], status: int
) -> None:
    @in_own_loop
    async def body() -> None:
        credential = await sync_to_async(make_one)(org, "pat")
        async with Ways() as ways:
            for _ in range(3):  # known by heart, if anything is
                assert (await ways.get(f"{ROOT}/studies/1.2.3/series", **{header: credential}))[0] == 200
            assert ways.passed == 0
            await sync_to_async(end)(await User.objects.aget(username="pat"))
            assert (await ways.get(f"{ROOT}/studies/1.2.3/series", **{header: credential}))[0] == status

    body()


@in_own_loop
async def test_a_session_that_signed_out(shelf: Study, lakeside: Organisation) -> None:
    client = Client()
    await sync_to_async(client.force_login)(await sync_to_async(make.user)("alice", lakeside, "reader"))
    given = {"cookie": f"sessionid={client.cookies['sessionid'].value}"}
    async with Ways() as ways:
        assert (await ways.get(f"{ROOT}/studies", **given))[0] == 200 and ways.passed == 0
        await sync_to_async(client.logout)()
        assert (await ways.get(f"{ROOT}/studies", **given))[0] == 401


@in_own_loop
async def test_what_arrives_is_found_at_once(shelf: Study, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    series = f"{ROOT}/studies/1.2.3/series/1.2.3.4"
    async with Ways() as ways:
        first = await ways.get(f"{series}/metadata", authorization=token)
        late = make.image("CT", study="1.2.3", series="1.2.3.4", InstanceNumber=3)
        await sync_to_async(make.stored)(late, lakeside)
        _, _, body = await ways.get(f"{ROOT}/studies?StudyInstanceUID=1.2.3", authorization=token)
        assert json.loads(body)[0]["00201208"]["Value"] == [4]
        assert len(json.loads((await ways.get(f"{series}/instances", authorization=token))[2])) == 3
        passed = ways.passed
        late_one = await ways.get(f"{series}/metadata", authorization=token, If_None_Match=first[1]["etag"])
        assert late_one[0] == 200 and len(json.loads(late_one[2])) == 3
        assert ways.passed == passed + 1  # not made beforehand yet, so Django makes it
    assert await Series.objects.filter(study__study_uid="1.2.3").acount() == 2

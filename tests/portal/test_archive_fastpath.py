"""The short way for frames gives what the long way gives, to the same people."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.test import Client
from django.utils import timezone
from PIL import Image

from portal.accounts.models import ApiToken, Membership, Organisation, User
from portal.archive.fastpath import FastFrames
from portal.archive.models import Instance
from portal.core import storage
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.support import in_own_loop

pytestmark = pytest.mark.django_db(transaction=True)


class Ways:
    """The same request by the short way; `passed` counts what went on to Django."""

    def __init__(self) -> None:
        self.passed = 0
        django = ASGIHandler()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.passed += 1
            await django(scope, receive, send)

        self.door = FastFrames(app)

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        given = {"host": "localhost", **{k.replace("_", "-"): v for k, v in headers.items()}}
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()], "http_version": "1.1",
        }  # fmt: skip
        talk = ApplicationCommunicator(self.door, scope)
        await talk.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await talk.receive_output(20)
        body, more = b"", True
        while more:
            message = await talk.receive_output(20)
            body += bytes(message.get("body", b""))
            more = message.get("more_body", False)
        await talk.wait(20)  # Django gives its connection back after the last byte
        return start["status"], {k.decode().lower(): v.decode() for k, v in start["headers"]}, body


@pytest.fixture
def lakeside() -> Organisation:
    return make.organisation()


@pytest.fixture
def scan(lakeside: Organisation) -> str:
    ds = make.image("CT", NumberOfFrames=3)
    make.stored(ds, lakeside)
    return f"/dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}/frames"


def bearer(org: Organisation, name: str = "dave", role: str = "pacs_admin") -> str:
    return f"Bearer {make.token(make.user(name, org, role), org)}"


def unframed(headers: dict[str, str], body: bytes) -> bytes:
    boundary = headers["content-type"].partition("boundary=")[2].split(";")[0]
    return body.replace(boundary.encode(), b"X")


@pytest.mark.parametrize("numbers", ["1", "3", "2,1,3"])
@pytest.mark.parametrize("accept", ["multipart/related; type=application/octet-stream; transfer-syntax=*", "*/*"])
@in_own_loop
async def test_both_ways_say_the_same(scan: str, lakeside: Organisation, numbers: str, accept: str) -> None:
    token = await sync_to_async(bearer)(lakeside)
    ways = Ways()
    status, headers, body = await ways.get(f"{scan}/{numbers}", accept=accept, authorization=token)
    assert (status, ways.passed) == (200, 0) and int(headers["content-length"]) == len(body)
    long = await sync_to_async(Client().get)(f"{scan}/{numbers}", headers={"Accept": accept, "Authorization": token})
    old = {k.lower(): v for k, v in long.headers.items()}
    assert unframed(headers, body) == unframed(old, long.content)
    for name in ("etag", "cache-control", "vary"):
        assert old[name].startswith(headers[name])  # the locale adds its own Vary
    again = await ways.get(f"{scan}/{numbers}", accept=accept, authorization=token, If_None_Match=headers["etag"])
    assert (again[0], again[2], ways.passed) == (304, b"", 0)


@in_own_loop
async def test_a_session_works_and_strangers_get_401_from_django(scan: str, lakeside: Organisation) -> None:
    def cookie() -> str:
        client = Client()
        client.force_login(make.user("alice", lakeside, "reader"))
        return f"theme=dark; sessionid={client.cookies['sessionid'].value}; csrftoken=x"

    ways = Ways()
    status, _, _ = await ways.get(f"{scan}/1", cookie=await sync_to_async(cookie)())
    assert (status, ways.passed) == (200, 0)
    for headers in ({}, {"cookie": "sessionid=wrong"}, {"authorization": "Bearer wrong"}, {"cookie": "a=\x01;;=="}):
        assert (await ways.get(f"{scan}/1", **headers))[0] == 401
    assert ways.passed == 4


@in_own_loop
async def test_other_organisations_and_roles_find_nothing(scan: str, lakeside: Organisation) -> None:
    harbour = await sync_to_async(make.organisation)("harbour")
    good = await sync_to_async(bearer)(lakeside)
    ways = Ways()
    assert (await ways.get(f"{scan}/1", authorization=good))[0] == 200  # remembered now, for this user alone
    for org, name, role in ((harbour, "mallory", "pacs_admin"), (lakeside, "grace", "account_admin")):
        token = await sync_to_async(bearer)(org, name, role)
        assert (await ways.get(f"{scan}/1", authorization=token))[0] == 404
    assert (await ways.get(f"{scan}/9", authorization=good))[0] == 404
    assert (await ways.get(f"{scan}/1", authorization=good, accept="image/gif"))[0] == 406
    assert (await ways.get(f"{scan}/1", authorization=good, host="evil.example"))[0] == 400


async def remembered(ways: Ways, path: str, **headers: str) -> None:
    """Ask until the door knows the credential by heart, which it may once it listens."""
    ways.door.users.seconds = 3600  # only a word from the database ends it
    for _ in range(200):
        assert (await ways.get(path, **headers))[0] == 200
        if ways.door.users.entries:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nobody was ever remembered")


async def soon(ways: Ways, path: str, status: int, **headers: str) -> None:
    for _ in range(200):
        if (await ways.get(path, **headers))[0] == status:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{status} never came")


def revoke(user: User) -> None:
    ApiToken.objects.filter(user=user).update(revoked_at=timezone.now())


def leave(user: User) -> None:
    Membership.objects.filter(user=user).update(active=False)


def lose_the_role(user: User) -> None:
    membership = user.memberships.get()
    membership.roles = ["account_admin"]
    membership.save()


def be_locked(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize(
    ("end", "status"),
    [(revoke, 401), (leave, 401), (be_locked, 401), (lose_the_role, 404)],
    ids=["revoked", "left", "locked", "other role"],
)
def test_a_token_ends_at_once(scan: str, lakeside: Organisation, end: Callable[[User], None], status: int) -> None:
    @in_own_loop
    async def body() -> None:
        token = await sync_to_async(bearer)(lakeside)
        ways = Ways()
        await remembered(ways, f"{scan}/1", authorization=token)
        await sync_to_async(end)(await User.objects.aget(username="dave"))
        await soon(ways, f"{scan}/1", status, authorization=token)

    body()


@pytest.mark.parametrize("how", ["signs out", "changes the password"])
def test_a_session_ends_at_once(scan: str, lakeside: Organisation, how: str) -> None:
    @in_own_loop
    async def body() -> None:
        alice, client = await sync_to_async(make.user)("alice", lakeside, "reader"), Client()
        await sync_to_async(client.force_login)(alice)
        cookie, ways = f"sessionid={client.cookies['sessionid'].value}", Ways()
        await remembered(ways, f"{scan}/1", cookie=cookie)
        if how == "signs out":
            await sync_to_async(client.logout)()
        else:
            alice.set_password("another")
            await alice.asave()
        await soon(ways, f"{scan}/1", 401, cookie=cookie)

    body()


@in_own_loop
async def test_a_token_that_runs_out_is_not_remembered_longer(scan: str, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    await ApiToken.objects.aupdate(expires_at=timezone.now() + timedelta(seconds=4))
    ways = Ways()
    await remembered(ways, f"{scan}/1", authorization=token)
    await soon(ways, f"{scan}/1", 401, authorization=token)


@in_own_loop
async def test_without_word_from_the_database_nobody_is_remembered(scan: str, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    ways = Ways()
    await remembered(ways, f"{scan}/1", authorization=token)
    changes = ways.door.watch.changes
    await sync_to_async(cut_the_links)()
    for _ in range(200):
        if ways.door.watch.changes > changes:
            break
        await asyncio.sleep(0.01)
    assert not ways.door.users.entries and not ways.door.watch.listening
    assert (await ways.get(f"{scan}/1", authorization=token))[0] == 200
    assert not ways.door.users.entries
    await remembered(ways, f"{scan}/1", authorization=token)  # it listens again by itself


def cut_the_links() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
        )
        assert cursor.fetchall() == [(True,)]


@in_own_loop
async def test_what_changes_during_a_look_up_is_not_remembered(scan: str, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    ways = Ways()
    await remembered(ways, f"{scan}/1", authorization=token)
    mark = ways.door.watch.mark()
    assert ways.door.watch.holds(mark)
    await sync_to_async(revoke)(await User.objects.aget(username="dave"))
    for _ in range(200):
        if not ways.door.watch.holds(mark):
            break
        await asyncio.sleep(0.05)
    assert ways.door.watch.listening and not ways.door.watch.holds(mark)


@in_own_loop
async def test_using_a_token_tells_nobody_anything(scan: str, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    ways = Ways()
    await remembered(ways, f"{scan}/1", authorization=token)
    changes = ways.door.watch.changes
    await ApiToken.objects.aupdate(last_used_at=timezone.now())
    await User.objects.aupdate(last_login=timezone.now())
    await asyncio.sleep(0.5)
    assert ways.door.watch.changes == changes


@in_own_loop
async def test_a_lost_or_short_file_is_djangos_to_tell(scan: str, lakeside: Organisation) -> None:
    token = await sync_to_async(bearer)(lakeside)
    row = await Instance.objects.aget()
    path, ways = Path(storage.archive().path(row.name)), Ways()
    await remembered(ways, f"{scan}/3", authorization=token)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert (await ways.get(f"{scan}/1", authorization=token))[0] == 200 and ways.passed == 0
    assert (await ways.get(f"{scan}/3", authorization=token))[0] == 404 and ways.passed == 1
    path.unlink()
    for what in (f"{scan}/1", scan.removesuffix("/frames"), scan.partition("/series")[0]):
        assert (await ways.get(what, authorization=token, accept="*/*"))[0] == 404
    assert ways.passed == 4


@in_own_loop
async def test_a_first_picture_is_the_one_that_django_makes(lakeside: Organisation) -> None:
    ds = make.image("CT", Rows=300, Columns=280, WindowCenter=2000, WindowWidth=3000)
    await sync_to_async(make.stored)(ds, lakeside)
    place = f"/dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    token, ways = await sync_to_async(bearer)(lakeside), Ways()
    for rest, kind in (("rendered", "image/jpeg"), ("frames/1/rendered", "image/png"), ("thumbnail", "image/png")):
        first = await ways.get(f"{place}/{rest}", authorization=token, accept=kind)
        assert first[0] == 200 and first[1]["content-type"] == kind and ways.passed == 0
        shown = np.asarray(Image.open(io.BytesIO(first[2])))
        if rest == "frames/1/rendered":  # PS3.3 C.11.2.1.2.1, by hand
            wanted = np.clip(((ds.pixel_array - 1999.5) / 2999 + 0.5) * 255, 0, 255)
            assert np.abs(shown - wanted).max() <= 0.51
        django = await sync_to_async(through_django)(f"{place}/{rest}", token, kind)
        assert (django.content, django["ETag"]) == (first[2], first[1]["etag"])
        again = await ways.get(
            f"{place}/{rest}", authorization=token, accept=kind, **{"if-none-match": first[1]["etag"]}
        )
        assert (again[0], again[2]) == (304, b"")
    # what cannot be made is Django's to tell
    assert (await ways.get(f"{place}/frames/2/rendered", authorization=token, accept="image/png"))[0] == 404
    assert (await ways.get(f"{place}/rendered", authorization="Bearer nothing", accept="image/png"))[0] == 401
    other = await sync_to_async(lambda: bearer(make.organisation("harbour"), "otto"))()
    assert (await ways.get(f"{place}/rendered", authorization=other, accept="image/png"))[0] == 404
    assert ways.passed == 3


def through_django(path: str, token: str, kind: str) -> Any:
    """The same without what was kept."""
    shutil.rmtree(Path(settings.HOME) / "cache" / "pictures", ignore_errors=True)
    return Client().get(path, headers={"Authorization": token, "Accept": kind})

"""An open connection hears what its user may hear now, not what they might when it was opened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from portal.accounts import consumers
from portal.accounts.actions import set_roles
from portal.accounts.models import Membership, Organisation, Role, User
from portal.asgi import application
from portal.core.live import announce, audience_group
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.support import in_own_loop

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
EVENT: dict[str, Any] = {"case": 1, "programme": "p", "state": "open"}


class Connection(ApplicationCommunicator):
    """The browser's end of a web socket."""

    def __init__(self, cookie: str) -> None:
        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie.encode())]
        scope = {"type": "websocket", "path": "/ws/live/", "headers": headers, "query_string": b"", "subprotocols": []}
        super().__init__(application, scope)

    async def connect(self) -> tuple[bool, int]:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(10)
        return answer["type"] == "websocket.accept", int(answer.get("code", 0))

    async def message(self) -> Any:
        answer = await self.receive_output(10)
        assert answer["type"] == "websocket.send", answer
        return json.loads(answer["text"])

    async def end(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(10)


class People:
    def __init__(self) -> None:
        self.lakeside, self.harbour = make.organisation(), make.organisation("harbour")
        self.grace = make.user("grace", self.lakeside, Role.ACCOUNT_ADMIN)
        self.alice = make.user("alice", self.lakeside, Role.READER)
        self.browser = Client()
        self.browser.force_login(self.alice)

    def connection(self) -> Connection:
        return Connection(f"sessionid={self.browser.cookies['sessionid'].value}")

    def membership(self) -> Membership:
        return self.alice.memberships.get(organisation=self.lakeside)


async def said(organisation: Organisation) -> None:
    await sync_to_async(announce)([audience_group(organisation.pk, "scans")], "case.changed", EVENT)


async def hears(connection: Connection, organisation: Organisation) -> bool:
    await said(organisation)
    return not await connection.receive_nothing(1.5)


async def closed(connection: Connection) -> int:
    message = await connection.receive_output(10)
    assert message["type"] == "websocket.close", message
    return int(message["code"])


@in_own_loop
async def test_the_last_membership_ends_and_the_connection_with_it() -> None:
    people = await sync_to_async(People)()
    connection = people.connection()
    assert (await connection.connect())[0] and await hears(connection, people.lakeside)
    assert (await connection.message())["data"] == EVENT
    membership = await sync_to_async(people.membership)()
    await sync_to_async(set_roles)(people.grace, membership, [Role.READER], False)
    assert await closed(connection) == 4401
    assert (await people.connection().connect()) == (False, 4401)


@in_own_loop
async def test_one_of_two_memberships_ends_and_its_events_with_it() -> None:
    people = await sync_to_async(People)()
    await Membership.objects.acreate(user=people.alice, organisation=people.harbour, roles=[Role.READER])
    connection = people.connection()
    assert (await connection.connect())[0]
    for organisation in (people.lakeside, people.harbour):
        assert await hears(connection, organisation)
        await connection.message()
    membership = await sync_to_async(people.membership)()
    await sync_to_async(set_roles)(people.grace, membership, [Role.READER], False)
    await asyncio.sleep(1)
    assert await connection.receive_nothing(0.5)  # browsers are not told of the change itself
    assert not await hears(connection, people.lakeside)
    assert await hears(connection, people.harbour)
    await connection.end()


def signed_out(people: People) -> None:
    people.browser.logout()


def new_password(people: People) -> None:
    people.alice.set_password("another")
    people.alice.save()


def taken_out_by_hand(people: People) -> None:
    User.objects.filter(pk=people.alice.pk).update(is_active=False)


@pytest.mark.parametrize("end", [signed_out, new_password, taken_out_by_hand])
def test_what_no_message_tells_ends_it_soon(end: Callable[[People], None], monkeypatch: Any) -> None:
    monkeypatch.setattr(consumers, "LOOK_AGAIN_SECONDS", 0.3)

    @in_own_loop
    async def body() -> None:
        people = await sync_to_async(People)()
        connection = people.connection()
        assert (await connection.connect())[0]
        await asyncio.sleep(1)  # several looks change nothing
        assert await hears(connection, people.lakeside)
        await connection.message()
        await sync_to_async(end)(people)
        assert await closed(connection) == 4401

    body()


@in_own_loop
async def test_strangers_are_not_let_in() -> None:
    people = await sync_to_async(People)()
    await sync_to_async(people.browser.logout)()
    people.browser.cookies["sessionid"] = "nothing"
    assert await people.connection().connect() == (False, 4401)

"""Who hears which live event, over a web socket: by role, and the one reader who is to look again."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from portal.accounts.models import Membership, Organisation, Role
from portal.archive import actions as archive
from portal.archive.models import Patient, Study
from portal.billing import actions as billing
from portal.infer import execute as infer
from portal.infer.models import Run
from portal.ingest import actions as ingest
from portal.ingest.models import Receipt, Source
from portal.programmes.actions import advance_case, claim
from portal.programmes.models import Case, Programme, Protocol
from portal.second_read.actions import compare_reading
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, function_in_service, open_case, submit
from tests.portal.test_accounts_live import Connection, People
from tests.support import in_own_loop

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("role", "heard"),
    [
        (Role.READER, {"study.arrived", "run.progress", "run.finished", "case.changed"}),
        (Role.COORDINATOR, {"study.arrived", "run.progress", "run.finished", "case.changed", "receipt.changed"}),
        (Role.PACS_ADMIN, {"study.arrived", "run.progress", "run.finished", "case.changed", "receipt.changed"}),
        (Role.AUDITOR, {"study.arrived", "case.changed"}),  # sees scans, not what the model says of them
        (Role.ACCOUNT_ADMIN, {"usage.changed"}),  # sees bills, not scans
    ],
)
def test_what_is_said_of_scans_is_heard_by_those_who_may_see_them(role: Role, heard: set[str]) -> None:
    def happens(organisation: Organisation) -> None:
        patient = Patient.objects.create(organisation=organisation, pseudonym="P")
        study = Study.objects.create(organisation=organisation, patient=patient, study_uid="2.25.7", state="arriving")
        version = function_in_service()
        run = Run.objects.create(
            organisation=organisation, study=study, version=version, study_revision=0, state="running"
        )
        archive._announce(study)
        infer.report([run], 0.5)
        infer._fail(run, "unexpected", "odd")
        billing._add("k", organisation_id=organisation.pk, kind="run", quantity=1)
        programme = Programme.objects.create(organisation=organisation, slug="p", name="P", modalities=["MG"])
        protocol = Protocol.objects.create(programme=programme, number=1)
        case = Case.objects.create(
            organisation=organisation, programme=programme, protocol=protocol, study=study, number=1, state="waiting"
        )
        advance_case(case, "open")
        source = Source.objects.create(organisation=organisation, name="door")
        ingest.announce(Receipt.objects.create(organisation=organisation, source=source, size=1, state="received"))

    @in_own_loop
    async def body() -> None:
        people = await sync_to_async(People)()
        await Membership.objects.filter(user=people.alice).aupdate(roles=[role])
        connection = people.connection()
        assert (await connection.connect())[0]
        await sync_to_async(happens)(people.lakeside)
        got = [(await connection.message())["type"] for _ in heard]
        assert set(got) == heard and len(got) == len(heard)
        assert await connection.receive_nothing(1.0)  # no more than that, and nothing twice
        await connection.end()

    body()


@pytest.mark.parametrize("trigger", ["alert", "second_reading"])
def test_the_reader_who_differs_hears_it_at_once_where_the_protocol_shows_it(cast: Cast, trigger: str) -> None:
    Protocol.objects.update(trigger=trigger, mode="second_reader")
    case = open_case(cast, score=0.9)
    claim(cast.alice, case.assignments.get())

    def connection(name: str) -> Connection:
        browser = Client()
        browser.force_login(getattr(cast, name))
        return Connection(f"sessionid={browser.cookies['sessionid'].value}")

    def read() -> str:
        reading = submit(cast.alice, case.assignments.get(), answers(False))
        compare_reading(reading.pk)
        compare_reading(reading.pk)
        return str(reading.assignment_id)

    async def until_quiet(heard: Connection) -> list[Any]:
        got = []
        while not await heard.receive_nothing(1.5):
            got.append(await heard.message())
        return [event["data"] for event in got if event["type"] == "reading.alerted"]

    @in_own_loop
    async def body() -> None:
        alice, bob = await sync_to_async(connection)("alice"), await sync_to_async(connection)("bob")
        assert (await alice.connect())[0] and (await bob.connect())[0]
        key = await sync_to_async(read)()
        told = [{"assignment": key, "case": case.pk, "number": case.number}] if trigger == "alert" else []
        assert await until_quiet(alice) == told
        assert await until_quiet(bob) == []
        await alice.end()
        await bob.end()

    body()

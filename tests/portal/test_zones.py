"""The zones: what the app role is refused by the database, and what its processes are not given."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from deploy.embedded.config import Home
from portal.core.grants import apply_grants, audit_tables

pytestmark = pytest.mark.django_db(transaction=True)
IDENTITIES = ("vault_patient", "vault_uid", "landing_file", "pixel_crop", "face_series", "face_slice")


def connect(variable: str) -> psycopg.Connection:
    url = os.environ[variable].rsplit("/", 1)[0]
    return psycopg.connect(f"{url}/{connection.settings_dict['NAME']}", autocommit=True)


@pytest.fixture
def app() -> Iterator[psycopg.Connection]:
    apply_grants(connection)
    with connect("CONCORD_TEST_APP_URL") as db:
        yield db


@pytest.fixture
def identities() -> Iterator[psycopg.Connection]:
    apply_grants(connection)
    with connect("CONCORD_TEST_IDENTITIES_URL") as db:
        yield db


@pytest.mark.parametrize("table", IDENTITIES)
@pytest.mark.parametrize("statement", ["SELECT * FROM {}", "DELETE FROM {}", "UPDATE {} SET id = id", "TRUNCATE {}"])
def test_the_app_role_is_refused_on_identities(app: psycopg.Connection, table: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement.format(f"identities.{table}"))


def test_the_app_role_may_drop_a_file_and_not_see_it(app: psycopg.Connection, identities: psycopg.Connection) -> None:
    row = (uuid.uuid4(), uuid.uuid4(), "aa/x.dcm")
    insert = "INSERT INTO identities.landing_file (id, receipt_id, name, stored_at) VALUES (%s, %s, %s, now())"
    app.execute(insert, row)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(insert + " RETURNING name", (uuid.uuid4(), uuid.uuid4(), "aa/y.dcm"))
    names = identities.execute("SELECT name FROM identities.landing_file WHERE id = %s", row[:1]).fetchall()
    assert names == [("aa/x.dcm",)]


@pytest.mark.parametrize("statement", ["CREATE TABLE identities.mine (x int)", "CREATE TABLE public.mine (x int)"])
def test_the_app_role_makes_no_tables(app: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)


def test_the_audit_cannot_be_edited(app: psycopg.Connection, identities: psycopg.Connection) -> None:
    tables = audit_tables()
    assert {"accounts_membershipevent", "functions_functionversionevent"} <= set(tables)
    for db in (app, identities):
        for table in tables:
            for statement in (f"UPDATE {table} SET pgh_label = 'x'", f"DELETE FROM {table}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(statement)


def test_each_zone_gets_only_its_own_secrets(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "BROKER_URL", "CONCORD_VAULT_KEY"):
        monkeypatch.delenv(variable, raising=False)
    home = Home.open(tmp_path)  # type: ignore[arg-type]
    app, identities = home.env("app"), home.env("identities")
    assert "CONCORD_VAULT_KEY" not in app
    assert identities["CONCORD_VAULT_KEY"] == home.secrets["vault_key"]
    assert "concord_app:" in app["DATABASE_URL"] and "concord_identities:" in identities["DATABASE_URL"]
    given = str([value for key, value in app.items() if not key.startswith("CONCORD_TEST_")])
    for secret in ("vault_key", "identities", "owner", "superuser"):
        assert home.secrets[secret] not in given

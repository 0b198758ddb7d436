"""Changing the vault's column keys: everything stays readable, pseudonyms stay, the older key is needed no more."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from deploy.embedded.config import Home
from portal.deidentify import rotation, rules, vault
from portal.deidentify.models import VaultPatient, VaultUid

pytestmark = pytest.mark.django_db
OLD, NEW = "o" * 40, "n" * 40
IDENTITY = {"PatientID": "4711", "PatientName": "Doe^Jane"}


def kept(count: int = 3) -> None:
    for number in range(count):
        keys = vault.keys_for(1, f"id\n\n{number}")
        vault.remember(keys, IDENTITY | {"PatientID": str(number)}, {f"2.25.{number}": ("study", f"1.2.{number}")})


def command(*options: str) -> str:
    out = io.StringIO()
    call_command("concord_rotate_vault", *options, stdout=out)
    return out.getvalue()


def test_all_columns_of_the_schema_are_known() -> None:
    found = {(model._meta.db_table, name) for model, name in rotation.columns()}
    assert {
        ('"identities"."vault_patient"', "identity"),
        ('"identities"."vault_uid"', "original"),
        ('"identities"."peer_study"', "content"),
        ('"identities"."patient_terms"', "sealed"),
        ('"identities"."listed_term"', "sealed"),
        ('"identities"."face_series"', "plan"),
    } <= found


def test_a_new_key_takes_over_and_pseudonyms_stay(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    settings.VAULT_COLUMN_KEYS = (OLD,)
    kept()
    before = vault.keys_for(1, "id\n\n0")
    settings.VAULT_COLUMN_KEYS = (NEW, OLD)
    assert vault.original_uid(1, "study", "2.25.1") == "1.2.1"
    with pytest.raises(CommandError, match="6 values lie under older keys"):
        command("--check")
    assert "6 values were encrypted anew" in command()
    assert "everything lies under the newest key" in command("--check")
    assert "0 values" in command()

    settings.VAULT_COLUMN_KEYS = (NEW,)  # the older one is gone
    assert vault.original_uid(1, "study", "2.25.2") == "1.2.2"
    patient = VaultPatient.objects.get(pseudonym=before.patient)
    assert json.loads(vault.cipher().decrypt(bytes(patient.identity))) == IDENTITY | {"PatientID": "0"}
    assert vault.keys_for(1, "id\n\n0") == before
    old = Fernet(base64.urlsafe_b64encode(rules.derive(OLD.encode(), "vault columns")))
    for row in VaultUid.objects.all():
        with pytest.raises(InvalidToken):
            old.decrypt(bytes(row.original))


def test_a_vault_without_column_keys_can_begin_to_have_them(settings: LazySettings) -> None:
    settings.VAULT_COLUMN_KEYS = ()
    kept(1)
    settings.VAULT_COLUMN_KEYS = (NEW,)
    assert vault.original_uid(1, "study", "2.25.0") == "1.2.0"
    assert "2 values" in command()


def test_what_no_key_opens_is_named_without_its_value(settings: LazySettings) -> None:
    settings.VAULT_COLUMN_KEYS = (OLD,)
    kept(1)
    settings.VAULT_COLUMN_KEYS = (NEW,)
    with pytest.raises(CommandError, match=r"VaultPatient \d+: no key opens identity"):
        command()


def test_the_embedded_portal_adds_keys_for_its_identity_zone_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATABASE_URL", "BROKER_URL", "CONCORD_VAULT_KEY", "CONCORD_VAULT_COLUMN_KEYS"):
        monkeypatch.delenv(variable, raising=False)
    home = Home.open(tmp_path)
    root = home.env("identities")["CONCORD_VAULT_KEY"]
    home.new_column_key()
    [first] = home.env("identities")["CONCORD_VAULT_COLUMN_KEYS"].split(",")
    home.new_column_key()
    again = Home.open(tmp_path).env("identities")
    newest, older = again["CONCORD_VAULT_COLUMN_KEYS"].split(",")
    assert older == first and newest != first and again["CONCORD_VAULT_KEY"] == root
    assert "CONCORD_VAULT_COLUMN_KEYS" not in home.env("app")

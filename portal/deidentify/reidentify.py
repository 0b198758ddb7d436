"""Who is this, and what stands on the lists? For a person with a reason, on record, seen once (decision 0008)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pghistory
from django.db import transaction
from django.utils import timezone

from portal.core.errors import Refused
from portal.deidentify import looks, restore, terms, vault
from portal.deidentify.models import ZoneLook

LEAST, MOST = 10, 300  # characters of a reason
SHOWN = {"PatientID": "Patient ID", "IssuerOfPatientID": "Issued by", "PatientName": "Name",
         "PatientBirthDate": "Birth date", "PatientSex": "Sex"}  # fmt: skip

TOPIC = "deidentify.zone_look_asked"


def reason(text: str) -> str:
    """The words of a reason. Raises Refused when they are too few to be one, or too many."""
    words = " ".join(text.split())
    if not LEAST <= len(words) <= MOST:
        raise Refused("no_reason", f"Give a reason of {LEAST} to {MOST} characters; it stays on record.", status=422)
    return words


def ask(
    user: Any, organisation_id: int, pseudonym: str, study_uid: str, accessions: Sequence[str], why: str
) -> tuple[ZoneLook, bytes]:
    """Ask the identity zone who a patient is; returns (the look, the key that opens its answer).

    pseudonym, study_uid, accessions  of one scan of the organisation, as the archive has them
    Raises Http404 for anyone but a PACS administrator in person, Refused without a reason.
    """
    made = ZoneLook(
        organisation_id=organisation_id,
        user=user,
        about=ZoneLook.About.IDENTITY,
        pseudonym=pseudonym,
        study_uid=study_uid,
        accessions=list(accessions),
        reason=reason(why),
    )
    return made, looks.ask(made, TOPIC)


def ask_lists(user: Any, organisation_id: int, why: str) -> tuple[ZoneLook, bytes]:
    """Ask for the terms of the organisation's lists; returns (the look, the key that opens its answer).

    Raises Http404 for anyone but a PACS administrator in person, Refused without a reason.
    """
    made = ZoneLook(organisation_id=organisation_id, user=user, about=ZoneLook.About.LISTS, reason=reason(why))
    return made, looks.ask(made, TOPIC)


def answer(look_id: uuid.UUID | str) -> bool:
    """Seal what was asked for; False when it was done before. Identity zone only."""
    return looks.answer(ZoneLook, look_id, _content)


def _content(made: ZoneLook) -> dict[str, Any]:
    if made.about == ZoneLook.About.LISTS:
        return {"lists": terms.listing(made.organisation_id)}
    return _who(made)


def _who(made: ZoneLook) -> dict[str, Any]:
    """Rows of (word, value) about the patient and the scan; "known" is false where the vault has no such patient."""
    organisation = made.organisation_id
    try:
        identity = restore.identity_of(organisation, made.pseudonym)
    except restore.Unknown:
        return {"known": False, "rows": []}
    rows = [[word, identity[keyword]] for keyword, word in SHOWN.items() if identity.get(keyword)]
    for accession in made.accessions:
        rows.append(["Accession number", vault.original_uid(organisation, "accession", accession) or accession])
    study = vault.original_uid(organisation, "study", made.study_uid) or made.study_uid
    return {"known": True, "rows": [*rows, ["Study UID", study]]}


def show(user: Any, made: ZoneLook, private: bytes) -> Any:
    """Open an answered look, once: the letter goes, and that it was opened is recorded with it.

    Raises Http404 without the role, Refused for anyone else's, for another browser, a second time or too late.
    """
    with transaction.atomic(), pghistory.context(by=str(user)):
        made = ZoneLook.objects.select_for_update().get(pk=made.pk)
        content = looks.opened(user, made, private)
        made.letter, made.opened_at = b"", timezone.now()
        made.save(update_fields=["letter", "opened_at"])
    return content

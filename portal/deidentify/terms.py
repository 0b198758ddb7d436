"""Lists that outlive one scan: a patient's terms, and an organisation's. Works in the identity zone only.

Seed 001, FIG. 10A: what one scan or report of a patient gives away is searched for in the next; staff and places
that are met with several patients join the organisation's black list; a person may teach or take back any term.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.deidentify import vault
from portal.deidentify.models import ListedTerm, PatientTerms
from portal.deidentify.text import KINDS, Lists
from portal.deidentify.text.lists import normal
from portal.deidentify.text.words import known_words, words_of

SHARED = frozenset({"doctor", "hospital"})  # kinds that are met with more than one patient
LEAST_PATIENTS = 3  # before a term of one scan counts for all
REMEMBERED_S = 30.0  # how long a worker keeps an organisation's lists
_kept: dict[int, tuple[float, Lists]] = {}


def known(organisation_id: int, pseudonym: str) -> Lists:
    """The lists of the organisation and of the patient's earlier scans and reports."""
    row = PatientTerms.objects.filter(organisation_id=organisation_id, pseudonym=pseudonym).first()
    return shared(organisation_id) | (_opened(row) if row else Lists())


def shared(organisation_id: int) -> Lists:
    """The organisation's lists: terms that were taught, or met with LEAST_PATIENTS patients."""
    at, lists = _kept.get(organisation_id, (0.0, Lists()))
    if at and time.monotonic() - at < REMEMBERED_S:
        return lists
    lock = vault.cipher()
    of: dict[str, list[tuple[str, str]]] = {"black": [], "white": [], "grey": []}
    for row in ListedTerm.objects.filter(organisation_id=organisation_id):
        if row.taught_by_id is not None or row.patients >= LEAST_PATIENTS:
            of[row.which].append((lock.decrypt(bytes(row.sealed)).decode(), row.kind))
    lists = Lists.of(of["black"], [t for t, _ in of["white"]], [t for t, _ in of["grey"]])
    _kept[organisation_id] = (time.monotonic(), lists)
    return lists


@transaction.atomic
def remember(organisation_id: int, pseudonym: str, lists: Lists) -> None:
    """Keep what a scan gave away for the patient's next; twice has the effect of once."""
    where: dict[str, Any] = {"organisation_id": organisation_id, "pseudonym": pseudonym}
    row = PatientTerms.objects.select_for_update().filter(**where).first()
    before = _opened(row) if row else Lists()
    common = shared(organisation_id)
    after = before | Lists(lists.black - common.black, frozenset(), lists.grey - common.grey)
    if not after.black or (after.black <= before.black and after.grey <= before.grey):
        return
    PatientTerms.objects.update_or_create(**where, defaults={"sealed": _sealed(after)})
    _meet(organisation_id, [(t.text, t.kind) for t in after.black - before.black if t.kind in SHARED])


def _meet(organisation_id: int, met: Iterable[tuple[str, str]]) -> None:
    """Count one more patient for each term that can name staff or a place; everyday words are not counted."""
    lock, words = vault.cipher(), known_words()
    rows = [
        ListedTerm(
            organisation_id=organisation_id,
            which=ListedTerm.Which.BLACK,
            kind=kind,
            digest=_digest(organisation_id, text),
            sealed=lock.encrypt(text.encode()),
        )
        for text, kind in sorted(met)
        if not all(words.word(w.lower()) for w in words_of(text))
    ]
    ListedTerm.objects.bulk_create(rows, ignore_conflicts=True)
    digests = [row.digest for row in rows]
    ListedTerm.objects.filter(organisation_id=organisation_id, digest__in=digests).update(patients=F("patients") + 1)


@transaction.atomic
def teach(user: Any, organisation_id: int, text: str, which: str, kind: str = "") -> ListedTerm:
    """Put a term on the organisation's black, white or grey list, or move it there.

    Raises Http404 without the role, ValueError for an empty term, a list or a kind that there is not.
    """
    require_role(user, organisation_id, Role.PACS_ADMIN)
    text = normal(text)
    if not text or which not in ListedTerm.Which.values:
        raise ValueError("a term and one of the lists black, white, grey are needed")
    if which == ListedTerm.Which.BLACK and kind not in KINDS:
        raise ValueError(f"a black term has one of the kinds {', '.join(sorted(KINDS))}")
    row, _ = ListedTerm.objects.update_or_create(
        organisation_id=organisation_id,
        digest=_digest(organisation_id, text),
        defaults={
            "which": which,
            "kind": kind if which == ListedTerm.Which.BLACK else "",
            "sealed": vault.cipher().encrypt(text.encode()),
            "taught_by_id": user.pk,
        },
    )
    transaction.on_commit(lambda: _kept.pop(organisation_id, None) and None)
    return row


@transaction.atomic
def take_back(user: Any, organisation_id: int, which: str, texts: Iterable[str], keys: Iterable[int] = ()) -> int:
    """Take terms off one of the organisation's lists; returns how many stood on it. Raises Http404 without the role.

    keys  of terms as `listing` gives them
    """
    require_role(user, organisation_id, Role.PACS_ADMIN)
    meant = Q(digest__in=[_digest(organisation_id, normal(text)) for text in texts]) | Q(pk__in=list(keys))
    gone, _ = ListedTerm.objects.filter(meant, organisation_id=organisation_id, which=which).delete()
    transaction.on_commit(lambda: _kept.pop(organisation_id, None) and None)
    return gone


def listing(organisation_id: int, most: int = 500) -> list[dict[str, Any]]:
    """The organisation's lists for a person to look at, taught terms first, then those met most often.

    One dict a list: {"which", "word", "number", "taught", "terms": [{"key", "text", "kind", "patients", "taught",
    "counts"}]} with at most `most` terms.
    """
    lock, out = vault.cipher(), []
    for which, word in ListedTerm.Which.choices:
        rows = ListedTerm.objects.filter(organisation_id=organisation_id, which=which)
        first = rows.order_by(F("taught_by_id").desc(nulls_last=True), "-patients", "pk")[:most]
        terms = [
            {
                "key": row.pk,
                "text": lock.decrypt(bytes(row.sealed)).decode(),
                "kind": row.kind,
                "patients": row.patients,
                "taught": row.taught_by_id is not None,
                "counts": row.taught_by_id is not None or row.patients >= LEAST_PATIENTS,
            }
            for row in first
        ]
        taught = rows.filter(taught_by_id__isnull=False).count()
        out.append({"which": which, "word": word, "number": rows.count(), "taught": taught, "terms": terms})
    return out


def _digest(organisation_id: int, text: str) -> str:
    return hmac.digest(vault.key("terms"), f"{organisation_id}\n{text}".encode(), "sha256").hex()


def _sealed(lists: Lists) -> bytes:
    content = {"black": sorted([t.text, t.kind] for t in lists.black), "grey": sorted(lists.grey)}
    return vault.cipher().encrypt(json.dumps(content).encode())


def _opened(row: PatientTerms) -> Lists:
    found = json.loads(vault.cipher().decrypt(bytes(row.sealed)))
    return Lists.of([(text, kind) for text, kind in found["black"]], grey=found["grey"])

"""Every change of the lists that a person asks for: sealed for the identity zone, made there, on record here.

The term may be a name. The app zone seals it at once and keeps nothing else of it; on record are who, which list, when.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pghistory
from django.db import transaction
from django.http import Http404
from django.views.decorators.debug import sensitive_variables

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letters, live, outbox, zone
from portal.core.errors import Refused
from portal.deidentify import terms
from portal.deidentify.models import ListedTerm, TermChange
from portal.deidentify.text import KINDS
from portal.deidentify.text.lists import normal

TOPIC = "deidentify.term_sent"
LONGEST = 100  # characters of a term
MOST = 500  # terms of one change
State = TermChange.State


@sensitive_variables()
def teach(user: Any, organisation_id: int, which: str, texts: Sequence[str], kind: str = "") -> TermChange:
    """Have the identity zone put terms on a list, or move them there.

    which  black, white or grey; kind: of text.KINDS, for the black list
    Raises Http404 without the role, Refused for what is no term, list or kind.
    """
    black = which == ListedTerm.Which.BLACK
    if black and kind not in KINDS:
        raise Refused("bad_kind", f"A term that goes has one of the kinds {', '.join(sorted(KINDS))}.", status=422)
    made = TermChange(state=State.ASKED, does=TermChange.Does.TEACH, which=which, kind=kind if black else "")
    return _send(user, organisation_id, made, texts, [])


@sensitive_variables()
def take_back(
    user: Any, organisation_id: int, which: str, texts: Sequence[str] = (), keys: Sequence[int] = ()
) -> TermChange:
    """Have the identity zone take terms off a list.

    texts, keys  the terms as they are written, or by the keys that a look at the lists shows
    Raises Http404 without the role, Refused for none or too many.
    """
    return _send(
        user, organisation_id, TermChange(state=State.ASKED, does=TermChange.Does.TAKE_BACK, which=which), texts, keys
    )


@sensitive_variables()
def _send(user: Any, organisation_id: int, made: TermChange, texts: Sequence[str], keys: Sequence[int]) -> TermChange:
    require_role(user, organisation_id, Role.PACS_ADMIN)
    if made.which not in ListedTerm.Which.values:
        raise Refused("bad_list", "The lists are black, white and grey.", status=422)
    if not texts and not keys:
        raise Refused("no_term", "Say which term.", status=422)
    if len(texts) + len(keys) > MOST:
        raise Refused("too_many", f"At most {MOST} terms at a time.", status=422)
    if any(not normal(text) or len(text) > LONGEST for text in texts):
        raise Refused("bad_term", f"A term has letters or digits, and at most {LONGEST} characters.", status=422)
    made.organisation_id, made.user = organisation_id, user
    made.letter = zone.seal({"texts": list(texts), "terms": list(keys)}, str(made.pk))
    with transaction.atomic(), pghistory.context(by=str(user)):
        made.save(force_insert=True)
        outbox.emit(TOPIC, made.pk)
        _announce(made)
    return made


def change(pk: uuid.UUID | str) -> bool:
    """Do what was asked; False when it was done before. Identity zone only."""
    with transaction.atomic():
        made = TermChange.objects.select_for_update(of=("self",)).select_related("user").get(pk=pk)
        if made.state != State.ASKED:
            return False
        after, fields = State.DONE, {"letter": b"", "number": 0, "error": ""}
        try:
            with transaction.atomic():
                fields["number"] = _do(made, zone.unseal(bytes(made.letter), str(made.pk)))
        except letters.Unreadable:
            after, fields["error"] = State.FAILED, "Sealed for another key of the identity zone; enter it again."
        except Http404:
            after, fields["error"] = State.FAILED, "Whoever asked is no PACS administrator any more."
        with pghistory.context(by=str(made.user)):
            made.advance(after, **fields)
        _announce(made)
    return True


@sensitive_variables()
def _do(made: TermChange, said: dict[str, Any]) -> int:
    if made.does == TermChange.Does.TAKE_BACK:
        return terms.take_back(made.user, made.organisation_id, made.which, said["texts"], said["terms"])
    for text in said["texts"]:
        terms.teach(made.user, made.organisation_id, text, made.which, made.kind)
    return len(said["texts"])


def _announce(made: TermChange) -> None:
    group = live.audience_group(made.organisation_id, "doors")
    live.announce([group], "terms.changed", {"id": str(made.pk), "state": made.state})

"""What may be done with a work item: claim it, finish it, give it back, say how far it is, ask its holder to stop.

A work item has no life of its own: each of these is the portal's action on the assignment behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import Refused
from portal.core.live import announce, user_group
from portal.programmes.actions import claim, hold, release, set_priorities
from portal.programmes.queries import is_coordinator
from portal.read.models import WorkitemClaim, WorkitemReport
from portal.read.workitems import rules
from portal.read.workitems.dataset import Json, Workitem, first
from portal.read.workitems.subscribing import report

PROGRESS = "00741002"  # Procedure Step Progress Information Sequence
UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")


def refused(code: str, status: int = 409) -> Refused:
    """A refusal in the standard's words."""
    return Refused(code, WORDS[code], status=status)


# what the Warning header of a refusal says (PS3.18 11.6.3.2, 11.7.3.2)
WORDS = {
    "transaction_missing": "The Transaction UID is missing.",
    "transaction_wrong": "The Transaction UID is incorrect.",
    "wrong_state": "The submitted request is inconsistent with the state of the UPS Instance.",
    "not_claimed": "The target URI did not reference a claimed Workitem.",
    "not_read": "The reading is not submitted; a work item is completed by submitting it in the portal.",
}


def change_state(user: User, item: Workitem, state: str, transaction_uid: str, why: Mapping[str, Any]) -> str:
    """Change Workitem State (PS3.18 11.7). Returns the warning of a request that changes nothing, else "".

    why  reason of a cancellation: {"words", "code"}
    Raises Refused: 400 for a missing or wrong Transaction UID, 409 for what the state does not allow.
    """
    if state not in {rules.IN_PROGRESS, rules.COMPLETED, rules.CANCELED}:
        raise Refused("invalid", "Procedure Step State is IN PROGRESS, COMPLETED or CANCELED.", status=400)
    if not transaction_uid:
        raise refused("transaction_missing", 400)
    if len(transaction_uid) > 64 or not UID.fullmatch(transaction_uid):
        raise refused("transaction_wrong", 400)
    if state == rules.IN_PROGRESS:
        _claim(user, item, transaction_uid)
        return ""
    if item.state == rules.SCHEDULED:
        raise refused("wrong_state")
    if not item.mine:
        raise refused("transaction_wrong" if item.state == rules.IN_PROGRESS else "wrong_state",
                      400 if item.state == rules.IN_PROGRESS else 409)  # fmt: skip
    if item.claim is None or item.claim.transaction_uid != transaction_uid:
        raise refused("transaction_wrong", 400)
    if item.state == state:
        return f"The UPS is already in the requested state of {state}."
    if item.state != rules.IN_PROGRESS:
        raise refused("wrong_state")
    if state == rules.COMPLETED:
        raise refused("not_read")
    _give_back(user, item, why)
    return ""


@transaction.atomic
def _claim(user: User, item: Workitem, transaction_uid: str) -> None:
    """Take it, as opening it in the portal does, and keep the Transaction UID that its holder will name."""
    now = hold(item.row)
    if item.over or now.given_back != item.number or rules.STATES[now.state] != rules.SCHEDULED:
        raise refused("wrong_state")
    claim(user, now)
    WorkitemClaim.objects.create(assignment=now, round=item.number, reader=user, transaction_uid=transaction_uid)


@transaction.atomic
def _give_back(user: User, item: Workitem, why: Mapping[str, Any]) -> None:
    now = hold(item.row)
    if now.given_back != item.number:
        raise refused("wrong_state")
    release(user, now)
    said = {"reason": dict(why)} if why else {}  # else what was said before, by an update
    WorkitemClaim.objects.filter(assignment=now, round=item.number).update(ended_at=timezone.now(), **said)


def update(user: User, item: Workitem, transaction_uid: str, changes: Mapping[str, Any]) -> None:
    """Update Workitem (PS3.18 11.6): its holder says how far it is, a coordinator says how urgent it is.

    changes  {"progress": {"percent", "words"}, "reason": as of `reason_of`} or {"priority": "HIGH"}
    Raises Refused: 400 when it is over, for a missing or wrong Transaction UID and for nothing that can be changed;
    409 when the state does not allow it.
    """
    if item.state in {rules.COMPLETED, rules.CANCELED}:
        raise refused("wrong_state", 400)
    if "progress" in changes:
        _may_write(item, transaction_uid)
        known = {name: dict(changes[name]) for name in ("progress", "reason") if changes.get(name)}
        with transaction.atomic():
            WorkitemClaim.objects.filter(pk=item.claim.pk).update(**known)  # type: ignore[union-attr]
            report(item, WorkitemReport.Event.PROGRESS, changes["progress"])
    elif "priority" in changes:
        if item.state != rules.SCHEDULED:
            raise refused("wrong_state")
        row = item.row
        if not is_coordinator(user, row.organisation_id):
            raise Refused("not_a_coordinator", "Only a coordinator says how urgent a case is.", status=403)
        set_priorities(row.case.programme, {row.case.number: rules.PRIORITIES[changes["priority"]]}, by=user)
    else:
        raise Refused("invalid", "Nothing in this request can be changed.", status=400)


def _may_write(item: Workitem, transaction_uid: str) -> None:
    if item.state != rules.IN_PROGRESS:
        raise refused("not_claimed")
    if not transaction_uid:
        raise refused("transaction_missing", 400)
    if not item.mine or item.claim is None or item.claim.transaction_uid != transaction_uid:
        raise refused("transaction_wrong", 400)


def ask_to_cancel(user: User, item: Workitem, said: Mapping[str, Any]) -> str:
    """Request Cancellation (PS3.18 11.8): the holder is told, and decides. Returns a warning, or "".

    said  {"words", "code", "uri", "contact"}, as far as given
    Raises Refused (409) when nobody holds it, it is finished, or it is the asker's own.
    """
    if item.state == rules.CANCELED:
        return f"The UPS is already in the requested state of {rules.CANCELED}."
    if item.state != rules.IN_PROGRESS or item.mine or item.row.reader_id is None:
        raise refused("wrong_state")
    case = item.row.case
    data = {
        "assignment": str(item.row.pk),
        "case": case.pk,
        "number": case.number,
        "why": str(said.get("words", ""))[:200],
    }
    with transaction.atomic():
        report(item, WorkitemReport.Event.CANCEL_REQUESTED, said)
        announce([user_group(item.row.reader_id)], "reading.cancel_asked", data)
    return ""


def contact_of(given: Json) -> dict[str, str]:
    """Whom to ask about a request: {"uri", "contact"}, as far as given."""
    found = {"uri": first(given, "0074100A"), "contact": first(given, "0074100C")}
    return {name: value[:64] for name, value in found.items() if isinstance(value, str) and value}


def reason_of(given: Json) -> dict[str, Any]:
    """Why a work item is given back, in words and by a code, from a data set or its Progress Information."""
    found: dict[str, Any] = {}
    for level in (first(given, PROGRESS), given):
        words, code = first(level, "00741238"), first(level, "0074100E")
        if isinstance(words, str) and words:
            found.setdefault("words", words[:200])
        values = [first(code, tag) for tag in ("00080100", "00080102", "00080104")]
        if all(isinstance(value, str) and 0 < len(value) <= 64 for value in values):
            found.setdefault("code", values)
    return found

"""What a subscriber is told (PS3.18 11.13; PS3.4 CC.2.4): event reports as DICOM JSON, of what they may see."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from portal.accounts.models import User
from portal.archive.matching import parts
from portal.read.models import WorkitemReport, WorkitemSubscription
from portal.read.workitems import matching, queries, rules
from portal.read.workitems.dataset import Json, Workitem, code, element, merged, workitem

Event = WorkitemReport.Event
Round = tuple[uuid.UUID, int]  # assignment, number of the round
# attributes of a work item that each event tells, as far as the person may see them (PS3.4 table CC.2.4-1)
PROGRESS, PERFORMERS = "00741002", "00404034"
REASONS = ("00741238", "0074100E")


def text(report: WorkitemReport, item: Workitem, requester: str) -> str:
    """The event report as DICOM JSON; "" for what is the holder's and the coordinators' alone.

    requester  AE title in whose name a cancellation is asked for
    """
    told = _content(report, item, requester)
    if not told:
        return ""
    number = report.pk % 0xFFFF + 1  # never 0; the same when it is sent again
    head = merged(
        element("AffectedSOPClassUID", rules.SOP_CLASS),
        element("MessageID", number),
        element("AffectedSOPInstanceUID", item.uid),
        element("EventTypeID", report.event),
    )
    return json.dumps(merged(head, told), ensure_ascii=False)


def _content(report: WorkitemReport, item: Workitem, requester: str) -> Json:
    if report.event == Event.STATE:
        state = report.step_state or item.state
        reasons = _reasons(item) if state == rules.CANCELED else {}
        return merged(element("ProcedureStepState", state), element("InputReadinessState", rules.READY), reasons)
    if not (item.mine or item.named):
        return {}
    if report.event == Event.CANCEL_REQUESTED:
        return merged(element("RequestingAE", requester), _asked(report.data))
    if report.event == Event.PROGRESS:
        step = merged(
            element("ProcedureStepProgress", report.data.get("percent")),
            element("ProcedureStepProgressDescription", report.data.get("words")),
        )
        return element("ProcedureStepProgressInformationSequence", {tag: v for tag, v in step.items() if "Value" in v})
    whole = workitem(item, {})
    return {PERFORMERS: whole[PERFORMERS]} if "Value" in whole[PERFORMERS] else {}


def _reasons(item: Workitem) -> Json:
    """Why it was canceled, as its Progress Information says it."""
    for step in workitem(item, {})[PROGRESS].get("Value", []):
        return {tag: step[tag] for tag in REASONS if tag in step}
    return {}


def _asked(said: Json) -> Json:
    """What was said with the request to cancel."""
    given = {
        **element("ReasonForCancellation", said.get("words")),
        **element("ContactURI", said.get("uri")),
        **element("ContactDisplayName", said.get("contact")),
    }
    if said.get("code"):
        given |= element("ProcedureStepDiscontinuationReasonCodeSequence", code(*said["code"]))
    return {tag: value for tag, value in given.items() if "Value" in value}


def covered(
    user: User, reports: Sequence[WorkitemReport], subscriptions: Iterable[WorkitemSubscription]
) -> tuple[set[int], set[Round]]:
    """(keys of the reports that the subscriptions ask for, rounds that a filtered one has just taken in)."""
    listed = list(subscriptions)
    single = {(one.assignment_id, one.round): one for one in listed if one.assignment_id is not None}
    wide = next((one for one in listed if one.assignment_id is None), None)
    found: set[int] = set()
    fresh: set[Round] = set()
    fits = _fits(user, wide, [r.assignment_id for r in reports]) if wide else set()
    states = parts(wide.filter.get("ProcedureStepState", "*")) if wide else []
    for report in reports:
        place = (report.assignment_id, report.round)
        own = single.get(place)
        if own is not None:
            wanted = not own.excluded
        elif wide is None or not wide.filter:
            wanted = wide is not None
        else:
            in_state = any(fnmatchcase(report.step_state, state) for state in states)
            wanted = place in fresh or (report.assignment_id in fits and in_state)
            if wanted:
                fresh.add(place)
        if wanted:
            found.add(report.pk)
    return found, fresh


def _fits(user: User, wide: WorkitemSubscription, keys: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Assignments among `keys` that a filtered subscription asks for, whatever their state."""
    if not wide.filter:
        return set()
    asked = matching.where({key: value for key, value in wide.filter.items() if key != "ProcedureStepState"})
    return set(queries.visible(user).filter(asked, pk__in=keys).values_list("pk", flat=True))

"""How each state looks: its tone, its icon and its word. Colour is never the only sign."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    tone: str  # agreed | differs | waiting | failed | neutral: a colour of tokens.css
    icon: str  # name in static/site/icons.svg
    word: str
    working: bool = False


LOOKS: dict[str, Look] = {
    # cases
    "waiting": Look("waiting", "hourglass", "Waiting for the model"),
    "open": Look("neutral", "circle-dot", "To be read"),
    "comparing": Look("waiting", "loader-circle", "Being compared", True),
    "second": Look("differs", "git-compare-arrows", "Second reading"),
    "merging": Look("waiting", "loader-circle", "Being merged", True),
    "arbitration": Look("differs", "gavel", "Arbitration"),
    # studies
    "arriving": Look("waiting", "loader-circle", "Arriving", True),
    "settled": Look("agreed", "circle-check", "Settled"),
    "complete": Look("agreed", "circle-check", "Complete"),
    # assignments and readings
    "offered": Look("neutral", "circle-dashed", "Offered"),
    "claimed": Look("waiting", "eye", "In reading"),
    "draft": Look("waiting", "pencil", "Draft"),
    "submitted": Look("agreed", "circle-check", "Submitted"),
    "cancelled": Look("neutral", "ban", "Cancelled"),
    "first": Look("neutral", "eye", "Reading"),
    # runs
    "held": Look("differs", "pause", "Held"),
    "queued": Look("waiting", "clock", "Waiting"),
    "running": Look("waiting", "loader-circle", "Running", True),
    "done": Look("agreed", "circle-check", "Done"),
    "failed": Look("failed", "circle-x", "Failed"),
    # ways out
    "sent": Look("agreed", "circle-check", "Acknowledged"),
    "building": Look("waiting", "loader-circle", "Being made", True),
    "ready": Look("agreed", "circle-check", "Ready"),
    # storage commitment and queries at peers
    "asked": Look("waiting", "clock", "Waiting"),
    "answered": Look("agreed", "circle-check", "Answered"),
    "confirmed": Look("agreed", "circle-check", "Confirmed"),
    "partial": Look("differs", "triangle-alert", "Confirmed in part"),
    "refused": Look("failed", "circle-x", "Refused"),
    # receipts
    "received": Look("waiting", "inbox", "Received"),
    "deidentified": Look("waiting", "shield-check", "De-identified"),
    "archived": Look("agreed", "circle-check", "Archived"),
    "duplicate": Look("neutral", "copy", "Duplicate"),
    "quarantined": Look("failed", "shield-alert", "Quarantined"),
    "discarded": Look("neutral", "trash-2", "Discarded"),
    # input check
    "noted": Look("waiting", "flag", "Noted"),
    "reassigned": Look("differs", "refresh-cw", "Corrected at once"),
    "kept": Look("agreed", "check", "Header kept"),
    "corrected": Look("agreed", "pencil", "Corrected"),
    "passed": Look("agreed", "circle-check", "As its header says"),
    # text in images
    "covered": Look("agreed", "shield-check", "Stays covered"),
    "restored": Look("agreed", "eye", "Shown again"),
    # function versions
    "registered": Look("neutral", "circle-dashed", "Registered"),
    "commissioning": Look("waiting", "loader-circle", "In its test", True),
    "in_service": Look("agreed", "circle-check", "In service"),
    "remediation": Look("differs", "wrench", "In remediation"),
    "out_of_service": Look("failed", "power", "Out of service"),
    "retired": Look("neutral", "ban", "Retired"),
    # consensus and comparison
    "agreed": Look("agreed", "circle-check", "Agreed"),
    "discrepant": Look("differs", "gavel", "Sent to arbitration"),
    "arbitrated": Look("agreed", "gavel", "Arbitrated"),
    "none": Look("agreed", "check", "No further action"),
    "second_reading": Look("differs", "git-compare-arrows", "Second reading"),
    "alert": Look("differs", "triangle-alert", "First reader alerted"),
    "no_model": Look("neutral", "circle-help", "No model output"),
    # people, tokens and the like
    "active": Look("agreed", "circle-check", "Active"),
    "inactive": Look("neutral", "ban", "Inactive"),
    "revoked": Look("neutral", "ban", "Revoked"),
    "expired": Look("differs", "clock", "Expired"),
}


def look(state: str) -> Look:
    """The look of a state; an unknown one is shown in plain grey by its own name, never hidden."""
    return LOOKS.get(state) or Look("neutral", "circle-help", state.replace("_", " ").capitalize())

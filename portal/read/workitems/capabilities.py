"""What the worklist service understands, for the capabilities document and the conformance statement."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from portal.archive import capabilities
from portal.archive.attributes import tag_of, vr_of
from portal.read.workitems import matching, views

DICOM_JSON, DICOM_XML = views.JSON, views.XML
ITEM = "workitems/{workitem}"
SUBSCRIBER = f"{ITEM}/subscribers/{{aetitle}}"
OPTIONS = {
    "limit": f"most answers, {views.DEFAULT_LIMIT} unless told, {views.MAX_LIMIT} at most",
    "offset": f"answers to pass over, {views.MAX_OFFSET} at most",
    "includefield": "attributes by keyword or tag, or all; every answer has all that is known",
    "accept": "media type, in place of the header",
}
# resource, method, transaction, statuses, what it does here
TRANSACTIONS = (
    ("workitems", "GET", "SearchForUPS", "200 204 206", "search, in the order in which to read"),
    (ITEM, "GET", "RetrieveUPS", "200 404 410", "the work item; never its Transaction UID"),
    (ITEM, "POST", "UpdateUPS", "200 400 404 409 410",
     "its holder: Procedure Step Progress Information; a coordinator: the priority while SCHEDULED"),
    (f"{ITEM}/state", "PUT", "ChangeUPSState", "200 400 404 409 410",
     "IN PROGRESS claims the reading; COMPLETED once it is submitted in the portal; CANCELED gives it back"),
    (f"{ITEM}/cancelrequest", "POST", "RequestUPSCancellation", "202 404 409 410", "the holder is told, and decides"),
    (SUBSCRIBER, "POST", "CreateSubscription", "201 400 404 409 410",
     "subscribe to a work item, to the worklist or, with matching keys, to some of it"),
    (SUBSCRIBER, "DELETE", "DeleteSubscription", "200 404 410", "unsubscribe"),
    (f"{SUBSCRIBER}/suspend", "POST", "SuspendGlobalSubscription", "200 404", "no new work items, those of now still"),
    ("subscribers/{aetitle}", "GET", "OpenNotificationConnection", "101 403 426", "web socket: event reports"),
)  # fmt: skip


def fill(resource: capabilities.Resource) -> None:
    """Add the worklist's resources to the capabilities document."""
    for path, name, what, statuses, words in TRANSACTIONS:
        kinds = [DICOM_JSON, capabilities.DICOM_XML] if name == "GET" else [DICOM_JSON]
        request = capabilities.method(resource(path), name, what, kinds, statuses)
        ET.SubElement(request, "doc").text = words
        if name != "GET":
            for kind in (DICOM_JSON, DICOM_XML):
                ET.SubElement(request, "representation", {"mediaType": kind})
        if path == "workitems":
            for option, meaning in OPTIONS.items():
                capabilities.query(request, option, meaning)
            for key, (_, kind) in matching.KEYS.items():
                capabilities.query(request, key, kind)


def tables() -> dict[str, str]:
    """The worklist's tables of the conformance statement."""
    transactions = [f"| `{name} /{path}` | {words} | {statuses} |" for path, name, _, statuses, words in TRANSACTIONS]
    keys = []
    for key, (_, kind) in matching.KEYS.items():
        tag = tag_of(key.rpartition(".")[2])
        path = ".".join(tag_of(part) for part in key.split("."))
        keys.append(f"| {key} | {path} | {vr_of(tag)} | {kind} |")
    return {
        "worklist transactions": "\n".join(["| request | here | statuses |", "|---|---|---|", *transactions]),
        "keys of workitem": "\n".join(["| attribute | tag | VR | matching |", "|---|---|---|---|", *keys]),
    }


def register() -> None:
    """Make both known to the archive, which is asked what the service can do."""
    capabilities.register(fill, tables)

"""UPS-RS subscriptions (PS3.18 11.10 to 11.12): who is told of what happens to work items."""

from __future__ import annotations

import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict

from portal.archive.matching import bad
from portal.core.errors import Refused
from portal.read.workitems import matching, queries, subscribing
from portal.read.workitems.views import address

OWN = {"deletionlock", "filter"}


@address("POST", "DELETE")
def subscriber(request: HttpRequest, uid: str, aet: str) -> HttpResponse:
    """POST: subscribe to a work item or to the worklist. DELETE: end it."""
    user: Any = request.user
    if request.method == "DELETE":
        if subscribing.is_well_known(uid):
            subscribing.unsubscribe_worklist(user, aet, uid)
        else:
            subscribing.unsubscribe(user, aet, uid)
        return HttpResponse()
    locked = _lock(request.GET)
    keys = _filter(request.GET)
    if bool(keys) != (uid == subscribing.FILTERED):
        raise bad(f"Matching keys belong to a subscription to {subscribing.FILTERED}, which needs one.")
    if subscribing.is_well_known(uid):
        subscribing.subscribe_worklist(user, aet, keys, locked)
    else:
        subscribing.subscribe(user, aet, queries.access_workitem(user, uid), locked)
    answer = HttpResponse(status=201)
    answer["Content-Location"] = subscribing.channel_url(aet)
    return answer


@address("POST")
def suspend(request: HttpRequest, uid: str, aet: str) -> HttpResponse:
    """Stop subscribing to new work items."""
    if not subscribing.is_well_known(uid):
        raise Http404
    user: Any = request.user
    subscribing.suspend(user, aet, uid)
    return HttpResponse()


@address("GET")
def channel(request: HttpRequest, aet: str) -> HttpResponse:
    """The event channel is a web socket (`channel.EventChannel`); a plain request is told so."""
    raise Refused("upgrade", "Open this address as a WebSocket.", status=426)


def _lock(query: QueryDict) -> bool:
    value = (query.get("deletionlock") or "false").lower()
    if value not in {"true", "false"}:
        raise bad("deletionlock is true or false.")
    return value == "true"


def _filter(query: QueryDict) -> dict[str, str]:
    """Matching keys: `filter=key=value,key=value` (PS3.18 11.10.1.2), or as parameters of their own. Raises Refused."""
    asked = QueryDict(mutable=True)
    for name, values in query.lists():
        if name.lower() not in OWN:
            asked.setlist(name, values)
    for given in query.getlist("filter"):
        for part in re.split(r",(?=[\w.]+=)", given):
            name, equals, value = part.partition("=")
            if not equals:
                raise bad("filter is attribute=value, several divided by commas.")
            asked.appendlist(name.strip(), value)
    return matching.wanted(asked)

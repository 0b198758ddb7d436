"""UPS-RS (PS3.18 chapter 11): the addresses under /dicomweb/workitems."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from portal.accounts.web import signed_in
from portal.archive import delivery, media
from portal.archive.dicom_xml import xml_parts
from portal.archive.matching import bad
from portal.archive.qido import whole
from portal.core import native_xml, parsers
from portal.core.errors import Refused, body
from portal.read.workitems import actions, matching, queries, rules
from portal.read.workitems.dataset import Json, first

JSON, XML = "application/dicom+json", "application/dicom+xml"
DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET = 100, 200, 10_000
MAX_BODY = 256 * 1024
TRANSACTION_UID, STATE, PRIORITY = "00081195", "00741000", "00741200"
View = Callable[..., HttpResponse]


def address(*methods: str) -> Callable[[View], Callable[..., HttpResponseBase]]:
    """A signed-in address that knows these methods; every refusal says why in a Warning header too."""

    def wrap(view: View) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise Refused("method", f"Only {' and '.join(methods)} here.", status=405)
                return view(request, *args, **kwargs)
            except Refused as error:
                answer = JsonResponse(
                    body(error.code, error.message, getattr(request, "id", ""), **error.extra), status=error.status
                )
                _warn(answer, actions.WORDS["wrong_state"] if error.code in LATE else error.message)
                if error.status == 405:
                    answer["Allow"] = ", ".join(methods)
                return answer

        return signed_in(inner)

    return wrap


LATE = {"not_available", "not_yours", "not_read"}  # the portal's own words are in the body


def _warn(answer: HttpResponse, words: str) -> HttpResponse:
    if words:
        text = re.sub(r"[^ !#-\[\]-~]", "", words)
        answer["Warning"] = f'299 {settings.PUBLIC_URL}/dicomweb "{text}"'
    return answer


@address("GET", "POST")
def worklist(request: HttpRequest) -> HttpResponse:
    """GET: search. POST (create) is refused: work items follow from scans and programmes."""
    if request.method == "POST":
        raise Refused("method", "Work items are made by the programmes of the portal, not by requests.", status=405)
    query = request.GET
    limit = min(whole(query, "limit", DEFAULT_LIMIT) or DEFAULT_LIMIT, MAX_LIMIT)
    offset = whole(query, "offset", 0)
    if offset > MAX_OFFSET:
        raise bad(f"offset goes to {MAX_OFFSET}; narrow the search.")
    for given in query.getlist("includefield"):  # every answer has all that is known
        for name in filter(None, given.split(",")):
            if name != "all":
                matching.named(name.strip())
    kind, together = _kind(request)
    items, more = queries.search(request.user, matching.wanted(query), offset, limit)  # type: ignore[arg-type]
    answer = _datasets(items, kind, together or kind == XML) if items else HttpResponse(status=204)
    if not items:
        del answer["Content-Type"]
    if more:
        answer.status_code = 206
        kept = [(name, value) for name, values in query.lists() for value in values if name not in {"offset", "limit"}]
        following = urlencode([*kept, ("limit", limit), ("offset", offset + limit)])
        answer["Link"] = f'<{request.build_absolute_uri(request.path)}?{following}>; rel="next"'
        _warn(answer, "There are additional results that can be requested.")
    elif (query.get("fuzzymatching") or "").lower() == "true":
        _warn(answer, "The fuzzymatching parameter is not supported. Only literal matching has been performed.")
    return answer


@address("GET", "POST")
def workitem(request: HttpRequest, uid: str) -> HttpResponse:
    """GET: retrieve. POST: update, with the Transaction UID in the address or in the data set."""
    item = queries.access_workitem(request.user, uid)
    if request.method == "GET":
        return _datasets(queries.datasets([item]), *_kind(request))
    given = _dataset(request)
    if STATE in given:
        raise Refused("invalid", "Procedure Step State is changed at the work item's state.", status=400)
    changes, others = _changes(given)
    actions.update(request.user, item, _transaction(request, given), changes)  # type: ignore[arg-type]
    return _warn(HttpResponse(), "Requested optional Attributes are not supported." if others else "")


@address("PUT")
def state(request: HttpRequest, uid: str) -> HttpResponse:
    """Change the state: claim, complete, give back."""
    item = queries.access_workitem(request.user, uid)
    given = _dataset(request)
    wanted, why = str(first(given, STATE) or ""), actions.reason_of(given)
    uid_given = _transaction(request, given)
    return _warn(HttpResponse(), actions.change_state(request.user, item, wanted, uid_given, why))  # type: ignore[arg-type]


@address("POST")
def cancel_request(request: HttpRequest, uid: str) -> HttpResponse:
    """Ask the holder to give it back; the reason is optional."""
    item = queries.access_workitem(request.user, uid)
    given = _dataset(request) if request.headers.get("Content-Length", "0") != "0" else {}
    said = actions.reason_of(given) | actions.contact_of(given)
    return _warn(HttpResponse(status=202), actions.ask_to_cancel(request.user, item, said))  # type: ignore[arg-type]


def _kind(request: HttpRequest) -> tuple[str, bool]:
    """(media type, as multipart) of the answer. Raises Refused (406)."""
    for one in media.accepted(request):
        if media.wants_json([one]) and not (one.multipart and one.media != "*/*"):
            return JSON, False
        if one.media == XML:
            return XML, one.multipart
    raise Refused("not_acceptable", f"Work items are answered as {JSON} or {XML}.", status=406)


def _datasets(items: list[Json], kind: str, together: bool) -> HttpResponse:
    data = json.dumps(items, ensure_ascii=False).encode()
    if kind == JSON:
        answer = HttpResponse(data, content_type=JSON)
    elif together:
        content_type, head, between, tail = delivery.framing(
            XML, XML, hashlib.blake2b(data, digest_size=12).hexdigest()
        )
        answer = HttpResponse(head + between.join(xml_parts(data)) + tail, content_type=content_type)
    else:
        answer = HttpResponse(b"".join(xml_parts(data)), content_type=XML)
    answer["Cache-Control"] = "private, no-cache"
    answer["Vary"] = delivery.VARY
    return answer


def _dataset(request: HttpRequest) -> Json:
    """The one data set of a request: DICOM JSON, as an array of one or bare, or Native DICOM Model XML.

    Raises Refused: 400, 413, 415.
    """
    kind = (request.content_type or "").lower()
    if kind not in {JSON, "application/json", XML}:
        raise Refused("media_type", f"Send {JSON} or {XML}.", status=415)
    data = request.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise Refused("too_large", f"A work item's data set has at most {MAX_BODY} bytes.", status=413)
    try:
        found = native_xml.decode(data) if kind == XML else json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("invalid", "The data set cannot be read.", status=400) from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
        raise Refused("invalid", "Send one data set.", status=400)
    if wrong := parsers.fault(found):
        raise Refused("invalid", wrong[1], status=400)
    return found


def _transaction(request: HttpRequest, given: Json) -> str:
    """The Transaction UID: `?transaction-uid=`, the bare query, or (0008,1195)."""
    bare = request.META.get("QUERY_STRING", "")
    in_address = request.GET.get("transaction-uid") or request.GET.get("transaction") or ""
    if not in_address and re.fullmatch(r"[0-9.]{1,64}", bare):
        in_address = bare
    return str(in_address or first(given, TRANSACTION_UID) or "").strip()


def _changes(given: Json) -> tuple[dict[str, Any], bool]:
    """What of a data set can be changed, and whether it holds more. Raises Refused (400)."""
    known: dict[str, Any] = {}
    if actions.PROGRESS in given:
        known["progress"], known["reason"] = _progress(first(given, actions.PROGRESS)), actions.reason_of(given)
    elif PRIORITY in given:
        word = first(given, PRIORITY)
        if not isinstance(word, str) or word not in rules.PRIORITIES:
            raise Refused("invalid", f"The priority is one of {', '.join(rules.PRIORITIES)}.", status=400)
        known["priority"] = word
    used = {TRANSACTION_UID, "00080005", "00080016", "00080018", actions.PROGRESS if "progress" in known else PRIORITY}
    return known, bool(set(given) - used)


def _progress(item: Any) -> dict[str, Any]:
    """Procedure Step Progress and its description (PS3.3 C.30.1). Raises Refused (400)."""
    out: dict[str, Any] = {}
    percent, words = first(item, "00741004"), first(item, "00741006")
    if percent is not None:
        try:
            out["percent"] = float("nan" if isinstance(percent, bool) else percent)
        except (TypeError, ValueError):
            out["percent"] = math.nan
        if not 0 <= out["percent"] <= 100:
            raise Refused("invalid", "Procedure Step Progress is a number from 0 to 100.", status=400)
    if words is not None:
        out["words"] = str(words)[:1024]
    return out

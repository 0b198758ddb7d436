"""Doing one thing to many chosen rows: each is tried on its own, what was refused is said once, and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from portal.core.errors import Refused
from portal.core.tables import PAGE

UNDO = "undo"
Row = TypeVar("Row")


def chosen(request: HttpRequest) -> list[str]:
    """Keys of the chosen rows, a page's worth at most, each once."""
    return list(dict.fromkeys(request.POST.getlist("row")))[:PAGE]


def each(request: HttpRequest, rows: Iterable[Row], do: Callable[[Row], Any], one: str, many: str, done: str) -> int:
    """Do it to every row; tell how many went well, and why the others did not. Returns how many.

    one, many, done  the words of the sentence: "file", "files", "discarded"
    """
    asked, went, refused = 0, 0, set()
    for row in rows:
        asked += 1
        try:
            do(row)
            went += 1
        except Refused as error:
            refused.add(error.message)
    if went:
        messages.success(request, f"{went} {one if went == 1 else many} {done}.")
    for sentence in sorted(refused):
        messages.error(request, sentence)
    if not asked:
        messages.info(request, f"Choose at least one {one} first.")
    return went


def confirm(request: HttpRequest, title: str, words: str, button: str, back: str) -> HttpResponse:
    """Ask before what cannot be undone, for those without the page's dialog: the same form, sent a second time."""
    fields = [(k, v) for k, values in request.POST.lists() if k != "csrfmiddlewaretoken" for v in values]
    context = {"title": title, "words": words, "button": button, "back": back, "fields": fields}
    return render(request, "components/confirm.html", context)


def confirmed(request: HttpRequest) -> bool:
    """Whether the person has been asked."""
    return request.POST.get("confirmed") == "1"


def offer_undo(request: HttpRequest, url: str, fields: Sequence[tuple[str, str]]) -> None:
    """Put a button beside the next page's messages that sends these fields."""
    request.session[UNDO] = {"url": url, "fields": [list(pair) for pair in fields]}


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """To the page that the form came from, with its filters; else to the named one."""
    page = request.POST.get("back", "")
    if page.startswith("/") and url_has_allowed_host_and_scheme(page, {request.get_host()}):
        return redirect(page)
    return redirect(otherwise)

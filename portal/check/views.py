"""Pages of the input check: alerts, one alert with its decision, the check's own score, parts of other pages."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from inference.check import CATEGORIES
from portal.archive.queries import access_study, organisations
from portal.check import actions, package, queries, tables
from portal.check.models import NAMES, SeriesCheck
from portal.core import bulk
from portal.core.errors import Refused
from portal.functions.cards import html

SHOWN_EVENTS = 12
DONE = {"keep": "kept as their headers say", "correct": "corrected", "discard": "discarded"}


@login_required
def input_alerts(request: HttpRequest) -> HttpResponse:
    """Scans whose pictures are not what their headers say, newest first; the chosen ones decided together."""
    if not organisations(request.user, "run"):
        raise Http404
    page = tables.alerts(request.user).page(request.GET, queries.alerts(request.user), tables.explain)
    if isinstance(page, HttpResponse):
        return page
    context = {"table": page, "off": package.why_off(), "may_decide": bool(organisations(request.user, "category"))}
    return render(request, "check/alerts.html", context)


@login_required
@require_POST
def input_alerts_decide(request: HttpRequest) -> HttpResponse:
    """Decide the chosen alerts together; each is tried on its own."""
    if not organisations(request.user, "category"):
        raise Http404
    rows = [queries.access_check(request.user, key, "category") for key in bulk.chosen(request) if key.isdecimal()]
    do, user = request.POST.get("do", ""), request.user
    if do not in DONE:
        raise Http404

    def decide(row: SeriesCheck) -> None:
        if do == "correct" and not row.found:
            raise Refused("bad_category", "A series that could not be looked at has no category to take over.")
        actions.decide(user, row, do, row.found if do == "correct" else "")  # type: ignore[arg-type]

    bulk.each(request, rows, decide, "scan", "scans", DONE[do])
    return bulk.back(request, reverse("input_alerts"))


@login_required
@require_http_methods(["GET", "POST"])
def input_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """One checked series: pictures, figures, history, and the decision; then on to the next that waits."""
    if request.method == "POST":
        row = queries.access_check(request.user, pk, "category")
        decision, _, category = request.POST.get("decision", "").partition(":")
        try:
            actions.decide(request.user, row, decision, category, request.POST.get("note", ""))  # type: ignore[arg-type]
        except Refused as error:
            messages.error(request, f"Nothing was changed: {error.message}")
            return redirect("input_alert", pk)
        messages.success(request, f"{row.study.description or 'The scan'} was decided.")
        after = queries.next_open(request.user, pk)
        return redirect("input_alert", after.pk) if after else redirect("input_alerts")
    row = queries.access_check(request.user, pk)
    tables.explain([row])
    known, names = package.package(), dict(NAMES)
    context = {
        "row": row,
        "images": [{**image, "word": names[image["category"]]} for image in row.images],
        "title": row.study.description or "Scan",
        "bars": bars(row, known.thresholds if known else {}),
        "choices": [(name, word, str(key)) for key, (name, word) in enumerate(NAMES, 1)],
        "may_decide": row.organisation_id in organisations(request.user, "category"),
        "history": history(row),
        "waiting": queries.alerts(request.user).filter(state=SeriesCheck.State.HELD).exclude(pk=pk).count(),
    }
    return render(request, "check/alert.html", context)


def bars(row: SeriesCheck, thresholds: dict[str, float]) -> list[dict[str, Any]]:
    """A series' probabilities in the order of the categories: name, value, width and threshold in percent."""
    names = dict(NAMES)
    return [
        {
            "name": names[name],
            "value": row.probabilities[name],
            "width": f"{100 * row.probabilities[name]:.1f}",
            "threshold": f"{100 * thresholds[name]:.1f}" if name in thresholds else None,
            "present": name == row.found,
        }
        for name in CATEGORIES
        if name in row.probabilities
    ]


def history(row: SeriesCheck) -> list[dict[str, Any]]:
    """The states a series went through, newest first: state, category, when, who, and the note."""
    events = row.events.select_related("pgh_context").order_by("-pgh_id")[: 4 * SHOWN_EVENTS]  # type: ignore[attr-defined]
    steps: list[dict[str, Any]] = []
    for event in events:
        by = (event.pgh_context.metadata if event.pgh_context else None) or {}
        step = {"state": event.state, "category": event.get_category_display(), "at": event.pgh_created_at}
        step |= {"who": by.get("by", ""), "note": by.get("note", "")}
        if steps and (steps[-1]["state"], steps[-1]["category"]) == (step["state"], step["category"]):
            steps[-1] = step  # a later event that changed neither is no step of its own
        else:
            steps.append(step)
    return steps[:SHOWN_EVENTS]


@login_required
def study_input_check(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Fragment: what the check says of a scan's series."""
    study = access_study(request.user, study_uid)
    rows = queries.of_study(study)
    tables.explain(rows)
    owed = study.input_checks.order_by("-study_revision").first()
    sees_alerts = study.organisation_id in organisations(request.user, "run")
    context = {"study": study, "rows": rows, "owed": owed, "sees_alerts": sees_alerts}
    return render(request, "check/study.html", context)


@login_required
def source_score(request: HttpRequest, pk: int) -> HttpResponse:
    """Fragment: how many of a source's headers are right."""
    source = queries.access_source(request.user, pk)
    score = queries.headers_of(queries.checks(request.user).filter(source=source))
    return render(request, "check/source_score.html", {"source": source, "score": score})


@login_required
def input_check(request: HttpRequest) -> HttpResponse:
    """The check itself: whether it is on, from where on it is certain, how its alerts were judged, and its card."""
    if not organisations(request.user, "run"):
        raise Http404
    known = package.package()
    words: dict[str, str] = {str(name): word for name, word in NAMES}
    context = {
        "off": package.why_off(),
        "package": known,
        "thresholds": [
            (words.get(name, name.capitalize()), t) for name, t in (known.thresholds if known else {}).items()
        ],
        "card": html(known.card) if known else "",
        "score": queries.own_score(queries.checks(request.user)),
        "headers": queries.headers_of(queries.checks(request.user)),
    }
    return render(request, "check/check.html", context)

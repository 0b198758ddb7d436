"""Who is this? A PACS administrator asks the identity zone about the patient of a scan, with a reason."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from portal.archive import queries
from portal.core import letter_cookies
from portal.core.errors import Refused
from portal.deidentify import looks, reidentify
from portal.deidentify.forms import ReasonForm


@login_required
def ask(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Give a reason; the answer has a page of its own, for the browser that asked alone."""
    user: Any = request.user
    study = queries.access_study(user, study_uid, "identity")
    looks.require_person(user, study.organisation_id)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        patient, numbers = study.patient.pseudonym, queries.accessions(study)
        try:
            made, key = reidentify.ask(
                user, study.organisation_id, patient, study.study_uid, numbers, form.cleaned_data["reason"]
            )
        except Refused as error:
            form.add_error("reason", error.message)
        else:
            answer = redirect("zone_look", made.pk)
            letter_cookies.hand_over(answer, made.pk, key, reverse("zone_look", args=[made.pk]))
            return answer
    return render(request, "deidentify/who.html", {"form": form, "study": study})

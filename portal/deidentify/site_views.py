"""Pages of a site's own rules: history, one version, a new one (written, imported, tried), the script."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from pydicom.datadict import keyword_for_tag

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core.errors import Refused
from portal.deidentify import ctp, queries, site_actions, site_rules
from portal.deidentify.table import Options, rows

SHOWN_RECEIPTS = 20
LARGEST = 1 << 20  # bytes of a script


class SiteRulesForm(forms.Form):
    """The next version: its text, or a script that it is made from, and a receipt to try it on."""

    text = forms.CharField(
        label="Rules",
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="One a line: Keyword action, such as StationName X. Actions: X removed, Z emptied, D dummy, "
        "H hashed, U UID hashed, T date moved, C cleaned, K kept, V and a value.",
    )
    note = forms.CharField(max_length=200, required=False, help_text="Why: for whoever reads the history.")
    active = forms.BooleanField(label="In force from now on", required=False, initial=True)
    loosen = forms.BooleanField(
        label="Leave more than the profile does",
        required=False,
        help_text="For rules that are weaker than the profile. It is your decision, and is recorded with your name.",
    )
    script = forms.FileField(
        label="CTP script", required=False, help_text="A script of CTP's DICOM Anonymizer to make the rules from."
    )
    receipt = forms.ChoiceField(label="Try on", required=False)

    def __init__(self, *args: Any, receipts: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["receipt"].choices = [("", "–"), *receipts]  # type: ignore[attr-defined]

    def clean_script(self) -> str:
        """The script's text, "" where none was given."""
        file = self.cleaned_data["script"]
        if file is None:
            return ""
        try:
            if file.size > LARGEST:
                raise forms.ValidationError("The script is larger than 1 MiB.")
            return str(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise forms.ValidationError("The script is no text in UTF-8.") from None


@login_required
def versions(request: HttpRequest) -> HttpResponse:
    """The versions, newest first."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    found = queries.site_rules(request.user, organisation.pk).select_related("by")
    number, _ = site_actions.in_force(organisation.pk)
    return render(request, "deidentify/site_rules.html", {"versions": found, "in_force": number})


@login_required
def version(request: HttpRequest, number: int) -> HttpResponse:
    """One version, and what it changed against the one before or another (`?with=`)."""
    organisation = request.organisation  # type: ignore[attr-defined]
    row = queries.access_site_rules(request.user, organisation, number)
    others = queries.site_rules(request.user, organisation.pk).exclude(pk=row.pk)
    asked = request.GET.get("with", "")
    other = others.filter(number=int(asked) if asked.isdecimal() and len(asked) < 9 else number - 1).first()
    before = site_actions.rows_of(other) if other else {}
    mine = site_actions.rows_of(row)
    shown = [(keyword, said) for keyword, _, said in site_rules.difference({}, mine)]
    context = {
        "version": row,
        "rules": shown,
        "other": other,
        "others": others,
        "changes": site_rules.difference(before, mine),
        "in_force": site_actions.in_force(organisation.pk)[0],
    }
    return render(request, "deidentify/site_rules_version.html", context)


@login_required
def script(request: HttpRequest, number: int) -> HttpResponse:
    """A version with the profile around it, as a script of CTP's anonymizer."""
    row = queries.access_site_rules(request.user, request.organisation, number)  # type: ignore[attr-defined]
    text = ctp.write({**rows(Options()), **site_actions.rows_of(row)})
    answer = HttpResponse(text, content_type="application/xml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="site-rules-{row.number}.xml"'
    return answer


@login_required
def new(request: HttpRequest) -> HttpResponse:
    """Write the next version; "import" reads a script into the form, "try" says what would change, neither saves."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    receipts = list(queries.reported(request.user, organisation.pk)[:SHOWN_RECEIPTS])
    choices = [(str(r.pk), f"{r.modality or 'file'} by {r.source} of {r.received_at:%Y-%m-%d %H:%M}") for r in receipts]
    first = {"text": _text_of(request, organisation), "active": True}
    form = SiteRulesForm(request.POST or None, request.FILES or None, receipts=choices, initial=first)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            if "import" in request.POST:
                context["notes"], text = _imported(data["script"])
                context["form"] = SiteRulesForm(receipts=choices, initial={**data, "text": text, "script": None})
            elif "try" in request.POST:
                context["tried"] = _tried(data, {str(r.pk): r for r in receipts})
            else:
                saved = site_actions.write(request.user, organisation.pk, data["text"], data["note"], data["active"],
                                           data["loosen"])  # fmt: skip
                messages.success(request, f"Version {saved.number} was written.")
                return redirect("site_rules_version", saved.number)
        except Refused as error:
            form.add_error("loosen" if error.code == "weaker" else "text", error.message)
        except ValueError as error:
            form.add_error("script", str(error))
    return render(request, "deidentify/site_rules_new.html", context)


def _text_of(request: HttpRequest, organisation: Any) -> str:
    """The rules that a new version begins with: those asked for, else those in force."""
    asked = request.GET.get("from", "")
    if asked.isdecimal() and len(asked) < 9:
        return queries.access_site_rules(request.user, organisation, int(asked)).text
    return site_rules.text_of(site_actions.in_force(organisation.pk)[1])


def _imported(text: str) -> tuple[list[str], str]:
    """(what was not taken, in words; the rules as text). Raises ValueError for no script."""
    if not text.strip():
        raise ValueError("Choose the file of a script first.")
    found = ctp.read(text, rows(Options()))
    taken, faults = site_rules.parse(site_rules.text_of(found.rows))
    weak = set(site_rules.weaker(taken))
    notes = [*found.notes, *faults, *(f"{keyword}: weaker than the profile and was not taken" for keyword in weak)]
    return notes, site_rules.text_of({t: r for t, r in taken.items() if keyword_for_tag(t) not in weak})


def _tried(data: dict[str, Any], receipts: dict[str, Any]) -> dict[str, Any]:
    found, faults = site_rules.parse(data["text"])
    if faults:
        raise Refused("bad_rules", "; ".join(faults[:10]), status=422)
    if data["receipt"] not in receipts:
        raise Refused("no_receipt", "Choose a received file to try the rules on.", status=422)
    report = receipts[data["receipt"]].deidentification
    return {"changes": site_rules.tried(report.actions, report.kept, found), "weaker": site_rules.weaker(found)}

"""Forms of the doors: sources, header rules, reports."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from portal.ingest.models import HeaderRule, Source
from portal.ingest.report_form import LONGEST, Told


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A way in and its privacy profile."""

    class Meta:
        model = Source
        fields = ["kind", "name", "ae_title", "site", "privacy", "on_mismatch", "active"]
        labels = {
            "ae_title": "Calling AE title",
            "privacy": "Privacy profile",
            "on_mismatch": "When picture and header disagree",
            "active": "Open",
        }
        help_texts = {
            "ae_title": "For C-STORE only. An asterisk accepts every caller that no other source names.",
            "on_mismatch": "Where the input check is certain. While it waits, no function runs on it by its header.",
            "privacy": "Anything but full de-identification is your decision, and is recorded with your name.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        # the action's sentence says what is taken; Django's would name a constraint
        self.instance.validate_constraints = lambda exclude=None: None
        self.fields["site"].queryset = organisation.sites.all()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("kind") == Source.Kind.DIMSE and not data.get("ae_title", "").strip():
            self.add_error("ae_title", "A C-STORE source needs the calling AE title.")
        if data.get("kind") != Source.Kind.DIMSE and data.get("ae_title"):
            self.add_error("ae_title", "Only C-STORE sources have an AE title.")
        return data


class PairsField(forms.CharField):
    """A mapping as text, one `Keyword = value` a line."""

    widget = forms.Textarea(attrs={"rows": 5, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{key} = {text}" for key, text in value.items())
        return value

    def to_python(self, value: Any) -> Any:
        pairs: dict[str, str] = {}
        for line in str(value or "").splitlines():
            key, sign, text = line.partition("=")
            if not line.strip():
                continue
            if not sign or not key.strip():
                raise forms.ValidationError(f"Write Keyword = value: {line[:60]}")
            pairs[key.strip()] = text.strip()
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        return json.dumps(initial, sort_keys=True) != json.dumps(self.to_python(data), sort_keys=True)


class HeaderRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A header rule, with an example to try it on."""

    match = PairsField(help_text="Patterns that whole values must fit, such as PatientID = (?P<case>P_\\d+)_.*")
    assign = PairsField(help_text="What to set, such as ViewPosition = {view} or ImageLaterality = {side|LEFT=L}")
    example = PairsField(required=False, help_text="Values to try the rule on; they are not kept.")

    class Meta:
        model = HeaderRule
        fields = ["name", "priority", "match", "assign", "study_key", "series_key", "active"]
        help_texts = {
            "priority": "The fitting rule with the lowest number is used, and no other.",
            "study_key": "Images whose keys are equal become one study, such as {case}.",
            "series_key": "The same for series.",
        }

    field_order = ["name", "priority", "match", "assign", "study_key", "series_key", "active", "example"]

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        # the action's sentence says what is taken; Django's would name a constraint
        self.instance.validate_constraints = lambda exclude=None: None


class ReportForm(forms.Form):
    """Whose report it is, for files that do not say so themselves, and a report as text. Nothing of it is kept."""

    patient_id = forms.CharField(label="Patient ID", required=False, max_length=64)
    accession = forms.CharField(label="Accession number", required=False, max_length=16)
    text = forms.CharField(
        label="Text of the report",
        required=False,
        max_length=LONGEST,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8}),
    )
    patient_name = forms.CharField(
        label="Patient's name", required=False, max_length=192, help_text="Family name first, such as Doe^Jane."
    )
    patient_birth = forms.DateField(label="Birth date", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    study_date = forms.DateField(label="Study date", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    study_uid = forms.CharField(
        label="Study UID",
        required=False,
        max_length=64,
        help_text="As it is in the images, in place of an accession number.",
    )

    def told(self) -> Told:
        """What the form says of patient and scan; without the text."""
        said = {name: str(value or "").strip() for name, value in self.cleaned_data.items()}
        return Told(
            "",
            patient_id=said["patient_id"],
            patient_name=said["patient_name"],
            patient_birth=said["patient_birth"].replace("-", ""),
            accession=said["accession"],
            study_uid=said["study_uid"],
            study_date=said["study_date"].replace("-", ""),
        )

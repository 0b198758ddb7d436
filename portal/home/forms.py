"""Forms of a programme's settings."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from portal.accounts.models import User
from portal.consensus.rules import CHOSEN, VERSIONS, WORDS
from portal.programmes.models import PanelMember, Protocol


class ProtocolForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a coordinator may change of a protocol; the rest of a new version stays as it was."""

    consensus = forms.ChoiceField(
        label="How readings become one",
        choices=[(rule, WORDS[rule]) for rule in CHOSEN],
        widget=forms.RadioSelect,
        help_text="An arbiter's word stands above either rule. Readings are never changed.",
    )

    class Meta:
        model = Protocol
        fields = [
            "mode",
            "trigger",
            "similarity_threshold",
            "discrepancy_threshold",
            "readers_per_case",
            "expected_seconds",
            "claim_minutes",
            "credits",
        ]
        labels = {
            "trigger": "When reading and model differ",
            "similarity_threshold": "Similarity threshold",
            "discrepancy_threshold": "Discrepancy that goes to arbitration",
            "readers_per_case": "Readers per case",
            "expected_seconds": "Expected reading time in seconds",
            "claim_minutes": "A claim without a draft expires after minutes",
            "credits": "Credits per reading",
        }
        help_texts = {
            "similarity_threshold": "Below this similarity to the model (0 to 1) the action above follows.",
            "discrepancy_threshold": "Readings that differ by more (0 to 1) go to an arbiter.",
            "readers_per_case": "How many read every case, whatever the model says.",
        }
        widgets = {
            "similarity_threshold": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.01}),
            "discrepancy_threshold": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.01}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = self.instance.consensus_rule.get("id")
        self.initial["consensus"] = now if now in CHOSEN else "majority"  # as `consensus.actions` merges by

    def changes(self) -> dict[str, Any]:
        """Fields of a protocol that differ from the version the form began with."""
        found = {name: self.cleaned_data[name] for name in self.changed_data}
        if rule := found.pop("consensus", ""):
            found["consensus_rule"] = {"id": rule, "version": VERSIONS[rule]}
        return found

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for name in ("similarity_threshold", "discrepancy_threshold"):
            value = data.get(name)
            if value is not None and not 0 <= value <= 1:
                self.add_error(name, "A value from 0 to 1.")
        for name, low, high in (
            ("readers_per_case", 1, 20),
            ("claim_minutes", 1, 10080),
            ("expected_seconds", 1, 7200),
        ):
            value = data.get(name)
            if value is not None and not low <= value <= high:
                self.add_error(name, f"A number from {low} to {high}.")
        return data


class PanelForm(forms.Form):
    user = forms.ModelChoiceField(queryset=User.objects.none(), label="Person")
    part = forms.ChoiceField(choices=PanelMember.Part.choices)
    available = forms.BooleanField(required=False, initial=True, label="Gets new cases")

    def __init__(self, *args: Any, users: QuerySet[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = users  # type: ignore[attr-defined]

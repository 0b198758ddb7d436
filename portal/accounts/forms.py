"""Forms of members and tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import RegexValidator

from portal.accounts.models import Role


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(choices=Role.choices, required=False, widget=forms.CheckboxSelectMultiple)
    active = forms.BooleanField(required=False, label="May work here")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("active") and not data.get("roles"):
            raise forms.ValidationError("Choose at least one role.")
        return data


class InviteForm(forms.Form):
    username = forms.CharField(
        max_length=60, validators=[RegexValidator(r"^[\w.@+-]+$", "Letters, digits and . @ + - _ only.")]
    )
    display_name = forms.CharField(max_length=120, required=False, label="Name")
    email = forms.EmailField(label="E-mail")
    roles = forms.MultipleChoiceField(choices=Role.choices, widget=forms.CheckboxSelectMultiple)


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What it is for, for example the name of the program.")
    days = forms.IntegerField(
        min_value=1, max_value=3650, required=False, label="Days until it ends", help_text="Empty: it has no end."
    )

"""Forms of looks into the identity zone."""

from __future__ import annotations

from django import forms

from portal.deidentify import reidentify


class ReasonForm(forms.Form):
    """Why someone has to know."""

    reason = forms.CharField(
        min_length=reidentify.LEAST,
        max_length=reidentify.MOST,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="It stays on record with your name and the time. Write no names into it.",
    )

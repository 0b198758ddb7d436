"""Forms of looks into the identity zone, and of the lists."""

from __future__ import annotations

from django import forms

from portal.deidentify import reidentify, term_actions
from portal.deidentify.models import ListedTerm

# of text.KINDS
KIND_WORDS = {
    "name": "Patient's name",
    "doctor": "Staff",
    "hospital": "Hospital or ward",
    "address": "Address",
    "phone": "Telephone number",
    "email": "E-mail address",
    "url": "Web address",
    "id": "Number of a patient",
    "accession": "Accession number",
    "date": "Date",
    "age": "Age",
}


class ReasonForm(forms.Form):
    """Why someone has to know."""

    reason = forms.CharField(
        min_length=reidentify.LEAST,
        max_length=reidentify.MOST,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="It stays on record with your name and the time. Write no names into it.",
    )


class TermForm(forms.Form):
    """A term for one of the lists."""

    text = forms.CharField(
        label="Term",
        max_length=term_actions.LONGEST,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="One name, place, number or word. It is sealed for the identity zone and shown nowhere else.",
    )
    which = forms.ChoiceField(label="In scans it", choices=ListedTerm.Which.choices)
    kind = forms.ChoiceField(
        label="Kind",
        choices=[*KIND_WORDS.items()],
        required=False,
        help_text="For a term that goes: what stands in its place.",
    )

"""Forms of the ways out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator

from portal.export.models import Destination


class DestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A PACS that takes results by C-STORE."""

    class Meta:
        model = Destination
        fields = ["name", "ae_title", "host", "port", "automatic", "restore_identity", "active"]
        labels = {
            "ae_title": "AE title",
            "host": "Host",
            "automatic": "Return every settled case at once",
            "restore_identity": "The owner's PACS: put the patient's identity back",
            "active": "Open",
        }
        help_texts = {
            "restore_identity": "Without it the pseudonym goes out. Who switches this is recorded with their name.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        # the action's sentence says what is taken; Django's would name a constraint
        self.instance.validate_constraints = lambda exclude=None: None
        # PS3.5 table 6.2-1, AE: 16 printable characters without backslash
        allowed = RegexValidator(r"^[\x21-\x5b\x5d-\x7e]{1,16}$", "Up to 16 characters without spaces or backslash.")
        self.fields["ae_title"].validators.append(allowed)
        self.fields["host"].validators.append(RegexValidator(r"^[A-Za-z0-9.:_-]+$", "A host name or an address."))
        self.fields["port"].validators += [MinValueValidator(1), MaxValueValidator(65535)]

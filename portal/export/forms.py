"""Forms of the ways out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator, URLValidator

from portal.export.kinds import KINDS
from portal.export.models import Destination

WEB = {Destination.Kind.DICOMWEB, Destination.Kind.FHIR}


class DestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """Where results go, and which."""

    wants = forms.MultipleChoiceField(
        choices=[(key, kind.words) for key, kind in KINDS.items()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Takes",
        help_text="A PACS takes objects, HL7 and FHIR take the report.",
    )
    url = forms.URLField(
        required=False,
        max_length=300,
        assume_scheme="https",
        validators=[URLValidator(schemes=["http", "https"])],
        label="Address of the service (STOW-RS, FHIR)",
        help_text="Up to /studies or /DiagnosticReport, which the portal adds.",
    )
    credentials = forms.CharField(
        required=False,
        max_length=2000,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        label="Token, or user:password (STOW-RS, FHIR)",
        help_text="Kept sealed and never shown. Empty leaves what is there; a single - takes it away.",
    )

    class Meta:
        model = Destination
        fields = ["name", "kind", "ae_title", "host", "port", "tls", "url", "wants", "automatic", "commit",
                  "restore_identity", "active"]  # fmt: skip
        labels = {
            "ae_title": "AE title (C-STORE)",
            "host": "Host (C-STORE, HL7)",
            "port": "Port (C-STORE, HL7)",
            "tls": "TLS (C-STORE, HL7)",
            "automatic": "Return every result at once",
            "commit": "Ask it to promise that it keeps what it took (C-STORE)",
            "restore_identity": "The owner's own: put the patient's identity back",
            "active": "Open",
        }
        help_texts = {
            "commit": "Storage commitment. It has to be a peer as well: its answer comes to the listener.",
            "restore_identity": "Without it the pseudonym goes out. Who switches this is recorded with their name.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        # the action's sentence says what is taken; Django's would name a constraint
        self.instance.validate_constraints = lambda exclude=None: None
        order = ["name", "kind", "ae_title", "host", "port", "tls", "url", "credentials"]
        self.order_fields(order)
        # PS3.5 table 6.2-1, AE: 16 printable characters without backslash
        allowed = RegexValidator(r"^[\x21-\x5b\x5d-\x7e]{1,16}$", "Up to 16 characters without spaces or backslash.")
        self.fields["ae_title"].validators.append(allowed)
        self.fields["host"].validators.append(RegexValidator(r"^[A-Za-z0-9.:_-]+$", "A host name or an address."))
        self.fields["port"].validators += [MinValueValidator(1), MaxValueValidator(65535)]

    @property
    def new_secret(self) -> str | None:
        """What `save_destination` takes: None leaves the secret as it is."""
        typed = self.cleaned_data["credentials"]
        return "" if typed == "-" else typed or None

    def clean(self) -> dict[str, Any]:
        """What the kind of destination needs."""
        values = super().clean() or {}
        kind = values.get("kind")
        needed = ["url"] if kind in WEB else ["host", "port"]
        if kind == Destination.Kind.DIMSE:
            needed.append("ae_title")
        for name in needed:
            if name not in self.errors and not values.get(name):
                self.add_error(name, "This kind of destination needs it.")
        if values.get("commit") and kind != Destination.Kind.DIMSE:
            self.add_error("commit", "Only a PACS by C-STORE can be asked.")
        wrong = [KINDS[key].words for key in values.get("wants", []) if kind and kind not in KINDS[key].takers]
        if wrong:
            self.add_error("wants", f"This kind of destination does not take: {'; '.join(wrong)}.")
        return values

    def clean_credentials(self) -> str:
        """HTTP headers hold no line breaks."""
        text = str(self.cleaned_data.get("credentials") or "")
        if any(not sign.isprintable() for sign in text):
            raise forms.ValidationError("Only printable characters.")
        return text

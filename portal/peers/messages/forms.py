"""The form of a sender of HL7 messages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import RegexValidator

from portal.ingest.models import Source
from portal.peers.forms import CallerForm, ListField
from portal.peers.models import MessageSender


class SenderForm(CallerForm):
    """A system that sends reports, how it is known, and its limits."""

    privacy = forms.ChoiceField(
        label="Privacy profile of its reports",
        choices=Source.Privacy.choices,
        initial=Source.Privacy.FULL,
        help_text="Scans that came already de-identified are found only under that profile, others never under it.",
    )
    addresses = ListField(
        label="Allowed addresses",
        required=False,
        help_text="Addresses or networks that it calls from, such as 10.1.2.3 or 10.1.0.0/16.",
    )

    class Meta:
        model = MessageSender
        fields = ["name", "application", "facility", "addresses", "tls", "certificate", "privacy",
                  "most_connections", "idle_seconds", "active"]  # fmt: skip
        labels = {
            "application": "Sending application (MSH-3)",
            "facility": "Sending facility (MSH-4)",
            "tls": "TLS only",
            "certificate": "Fingerprint of its certificate",
            "most_connections": "Connections at one time",
            "idle_seconds": "Silent connections end after (seconds)",
            "active": "Open",
        }
        help_texts = {
            "application": "As its messages name it, without regard to case; empty: any.",
            "facility": "The same for the facility.",
            "certificate": "SHA-256, 64 hexadecimal digits; in place of addresses, or beside them.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, organisation=organisation, **kwargs)
        self.fields["certificate"].validators.append(RegexValidator(r"^[0-9a-fA-F]{64}$", "64 hexadecimal digits."))
        self.within(("most_connections", 1, 1000), ("idle_seconds", 1, 86_400))

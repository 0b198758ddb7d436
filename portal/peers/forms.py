"""Forms of the peers' pages."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator

from portal.functions.models import InferenceFunction
from portal.ingest.models import Source
from portal.peers.models import Peer, RoutingRule, StandingQuery
from portal.peers.rules import networks

# PS3.5 table 6.2-1, AE: 16 printable characters without backslash; a space inside would only make trouble
TITLE = RegexValidator(r"^[\x21-\x5b\x5d-\x7e]{1,16}$", "Up to 16 characters without spaces or backslash.")
HOST = RegexValidator(r"^[A-Za-z0-9.:_-]+$", "A host name or an address.")


class ListField(forms.CharField):
    """Words parted by commas, spaces or lines."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [word for word in re.split(r"[\s,;]+", str(value or "")) if word]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.to_python(data)


class CallerForm(forms.ModelForm):  # type: ignore[type-arg]
    """What peers and senders of messages have in common: a source and its privacy profile, addresses, a certificate."""

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        # the action's sentences say what is taken or missing; Django's would name a constraint
        self.instance.validate_constraints = lambda exclude=None: None
        self.instance.validate_unique = lambda exclude=None: None
        if self.instance.source_id:
            self.fields["privacy"].initial = self.instance.source.privacy

    def within(self, *limits: tuple[str, int, int]) -> None:
        """Bound numbers: (field, least, most)."""
        for name, low, high in limits:
            self.fields[name].validators += [MinValueValidator(low), MaxValueValidator(high)]

    def clean_certificate(self) -> str:
        return str(self.cleaned_data["certificate"]).lower()

    def clean_addresses(self) -> list[str]:
        try:
            return [str(one) for one in networks(self.cleaned_data["addresses"])]
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class PeerForm(CallerForm):
    """An application entity, its rights and its limits."""

    privacy = forms.ChoiceField(
        label="Privacy profile of its scans",
        choices=Source.Privacy.choices,
        initial=Source.Privacy.FULL,
        help_text="Anything but full de-identification is your decision, and is recorded with your name.",
    )
    addresses = ListField(
        label="Allowed addresses",
        required=False,
        help_text="Addresses or networks that it may call from, such as 10.1.2.3 or 10.1.0.0/16; empty: any.",
    )

    class Meta:
        model = Peer
        fields = [
            "name", "ae_title", "host", "port", "called_title", "addresses", "tls", "certificate",
            "may_store", "privacy", "may_query", "may_retrieve", "may_commit", "fetch", "priors",
            "most_associations", "idle_seconds", "active",
        ]  # fmt: skip
        labels = {
            "ae_title": "AE title",
            "called_title": "It calls us",
            "tls": "TLS only",
            "certificate": "Fingerprint of its certificate",
            "may_store": "Sends us scans (C-STORE)",
            "may_query": "Searches our archive (C-FIND)",
            "may_retrieve": "Fetches from our archive, and may be the destination of a C-MOVE",
            "may_commit": "Asks for storage commitment",
            "fetch": "We fetch from it by",
            "priors": "Earlier studies fetched for each new one",
            "most_associations": "Associations at one time",
            "idle_seconds": "Silent associations end after (seconds)",
            "active": "Open",
        }
        help_texts = {
            "host": "Empty when it only calls and is never called.",
            "called_title": "The AE title that it has to use for us; empty: any. We call it under the same one.",
            "certificate": "SHA-256, 64 hexadecimal digits; empty: any certificate that the authority signed.",
            "may_query": "It sees the studies of this organisation, under pseudonyms.",
            "may_commit": "We promise to keep what we received; originals are deleted after the retention time.",
            "priors": "At most so many of the same patient, newest first, with a modality in common; 0: none.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, organisation=organisation, **kwargs)
        self.fields["ae_title"].validators.append(TITLE)
        self.fields["called_title"].validators.append(TITLE)
        self.fields["host"].validators.append(HOST)
        self.fields["certificate"].validators.append(RegexValidator(r"^[0-9a-f]{64}$", "64 hexadecimal digits."))
        self.within(("port", 1, 65535), ("most_associations", 1, 1000), ("idle_seconds", 1, 3600), ("priors", 0, 50))


class StandingForm(forms.ModelForm):  # type: ignore[type-arg]
    """A search that is repeated."""

    modalities = ListField(required=False, help_text="Such as MG, DX; used when no function is named.")
    body_parts = ListField(required=False, label="Body regions", help_text="Such as BREAST, CHEST; empty: any.")

    class Meta:
        model = StandingQuery
        fields = ["name", "peer", "function", "modalities", "body_parts", "description", "days_back",
                  "every_minutes", "most", "active"]  # fmt: skip
        labels = {
            "function": "For the function",
            "description": "Study description",
            "days_back": "Days back",
            "every_minutes": "Every (minutes)",
            "most": "Studies at one time",
            "active": "Runs",
        }
        help_texts = {
            "function": "Its modalities and body regions are what is looked for.",
            "description": "A pattern with * and ?; empty: any.",
            "most": "The newest are fetched first; the rest follow the next time.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        self.instance.validate_constraints = lambda exclude=None: None
        peers = Peer.objects.filter(organisation=organisation, active=True).exclude(fetch="")
        self.fields["peer"].queryset = peers  # type: ignore[attr-defined]
        mine = InferenceFunction.objects.filter(organisation=None) | InferenceFunction.objects.filter(
            organisation=organisation
        )
        self.fields["function"].queryset = mine.order_by("name")  # type: ignore[attr-defined]
        for name, low, high in (("days_back", 0, 3650), ("every_minutes", 1, 10_080), ("most", 1, 1000)):
            self.fields[name].validators += [MinValueValidator(low), MaxValueValidator(high)]

    def clean_modalities(self) -> list[str]:
        return [word.upper() for word in self.cleaned_data["modalities"]]

    def clean_body_parts(self) -> list[str]:
        return [word.upper() for word in self.cleaned_data["body_parts"]]


class RoutingForm(forms.ModelForm):  # type: ignore[type-arg]
    """Which studies go on to which peer."""

    modalities = ListField(required=False, help_text="Such as MG, DX; empty: any.")
    body_parts = ListField(required=False, label="Body regions", help_text="Such as BREAST, CHEST; empty: any.")

    class Meta:
        model = RoutingRule
        fields = ["name", "source", "modalities", "body_parts", "description", "peer", "active"]
        labels = {"source": "From", "description": "Study description", "peer": "Goes to", "active": "Runs"}
        help_texts = {
            "source": "Empty: from anywhere.",
            "description": "A pattern with * and ?; empty: any.",
            "peer": "It gets every complete study that fits, under the pseudonym.",
        }

    def __init__(self, *args: Any, organisation: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.organisation = organisation
        self.instance.validate_constraints = lambda exclude=None: None
        peers = Peer.objects.filter(organisation=organisation, active=True).exclude(host="")
        self.fields["peer"].queryset = peers  # type: ignore[attr-defined]
        self.fields["source"].queryset = organisation.sources.order_by("name")  # type: ignore[attr-defined]

    def clean_modalities(self) -> list[str]:
        return [word.upper() for word in self.cleaned_data["modalities"]]

    def clean_body_parts(self) -> list[str]:
        return [word.upper() for word in self.cleaned_data["body_parts"]]


class QueryForm(forms.Form):
    """What to look for at a peer; nothing of it is kept in the clear."""

    PatientID = forms.CharField(label="Patient ID", required=False, max_length=64)
    PatientName = forms.CharField(label="Patient's name", required=False, max_length=128, help_text="Such as Doe*")
    PatientBirthDate = forms.DateField(
        label="Birth date", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    StudyDateFrom = forms.DateField(label="Study from", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    StudyDateTo = forms.DateField(label="Study to", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    ModalitiesInStudy = forms.CharField(label="Modality", required=False, max_length=16)
    AccessionNumber = forms.CharField(label="Accession number", required=False, max_length=16)
    StudyDescription = forms.CharField(label="Study description", required=False, max_length=64)

    def keys(self) -> dict[str, str]:
        """Keyword → value as C-FIND takes it."""
        data = dict(self.cleaned_data)
        low, high, born = data.pop("StudyDateFrom"), data.pop("StudyDateTo"), data.pop("PatientBirthDate")
        keys = {name: value.strip() for name, value in data.items() if value.strip()}
        if born:
            keys["PatientBirthDate"] = f"{born:%Y%m%d}"
        if low or high:
            keys["StudyDate"] = f"{low:%Y%m%d}-" * bool(low) or "-"
            keys["StudyDate"] += f"{high:%Y%m%d}" if high else ""
        return keys

"""The demo's organisations, people, doors, programmes and plan; set up again and again with the same effect."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import make_password

from portal.accounts.actions import create_token
from portal.accounts.authentication import digest
from portal.accounts.models import ApiToken, Membership, Organisation, Qualification, Role, Site, User
from portal.billing.models import Plan, Subscription
from portal.ingest.models import HeaderRule, Source
from portal.ingest.shipped_rules import MAMMOGRAMS
from portal.programmes import forms
from portal.programmes.actions import new_protocol, set_panel
from portal.programmes.models import Programme

ORGANISATIONS = {"lakeside": "Lakeside Imaging", "harbour": "Harbour Clinic", "bench": "Bench"}
PEOPLE: list[tuple[str, str, str, list[str]]] = [
    ("alice", "Alice Adler", "lakeside", [Role.READER]),
    ("bob", "Bob Berger", "lakeside", [Role.READER]),
    ("carol", "Carol Conrad", "lakeside", [Role.COORDINATOR]),
    ("erin", "Erin Egli", "lakeside", [Role.ENGINEER]),
    ("dave", "Dave Dorn", "lakeside", [Role.PACS_ADMIN]),
    ("grace", "Grace Graf", "lakeside", [Role.ACCOUNT_ADMIN]),
    ("mallory", "Mallory Marti", "harbour", [Role.READER, Role.COORDINATOR, Role.PACS_ADMIN, Role.ENGINEER]),
]
# calling AE title → organisation, privacy
AE_TITLES = {
    "DEMO": ("lakeside", Source.Privacy.FULL),
    "STORESCU": ("lakeside", Source.Privacy.FULL),
    "HARBOUR": ("harbour", Source.Privacy.FULL),
    "BENCH": ("bench", Source.Privacy.DONE),  # outside tools look for what they sent by any key
}
PROGRAMMES: list[dict[str, Any]] = [
    {
        "slug": "screening-mammography",
        "name": "Screening mammography",
        "description": "One blinded reading; a second one where reader and model differ; Carol arbitrates.",
        "modalities": ["MG"],
        "protocol": {
            "form": forms.MAMMOGRAPHY,
            "labels": forms.MAMMOGRAPHY_LABELS,
            "tools": forms.TOOLS,
            "hanging": "mammography",
            "mode": "blinded",
            "qualification": "MG",
            "expected_seconds": 90,
        },
    },
    {
        "slug": "chest-triage",
        "name": "Chest x-ray triage",
        "description": "The model's heat maps on demand.",
        "modalities": ["DX", "CR"],
        "protocol": {
            "form": forms.CHEST,
            "labels": forms.CHEST_LABELS,
            "tools": forms.TOOLS,
            "hanging": "chest",
            "mode": "on_demand",
            "qualification": "DX/CHEST",
            "expected_seconds": 60,
            "similarity_threshold": 0.6,
        },
    },
]


def set_up(password: str, known_tokens: dict[str, str]) -> list[dict[str, Any]]:
    """Make everything; returns the people as demo.json lists them.

    known_tokens  user name → token text of an earlier set-up, kept while still valid
    """
    organisations = {
        slug: Organisation.objects.get_or_create(slug=slug, defaults={"name": name})[0]
        for slug, name in ORGANISATIONS.items()
    }
    Site.objects.get_or_create(organisation=organisations["lakeside"], name="Main street")
    people: list[dict[str, Any]] = []
    users: dict[str, User] = {}
    for name, full, organisation, roles in PEOPLE:
        users[name] = _person(name, full, organisations[organisation], roles, password)
        people.append(_entry(users[name], organisations[organisation], roles, password, known_tokens))
    robot = _person("bench", "Bench", organisations["bench"], [Role.PACS_ADMIN], None)
    people.append(_entry(robot, organisations["bench"], [Role.PACS_ADMIN], None, known_tokens))
    _doors(organisations, robot)
    _plan(organisations)
    for content in PROGRAMMES:
        _programme(organisations["lakeside"], content, users)
    return people


def _person(name: str, full: str, organisation: Organisation, roles: list[str], password: str | None) -> User:
    user, _ = User.objects.get_or_create(
        username=name, defaults={"display_name": full, "email": f"{name}@example.org", "is_service": password is None}
    )
    if password and not (user.password and user.check_password(password)):
        User.objects.filter(pk=user.pk).update(password=make_password(password))
    elif password is None and user.has_usable_password():
        user.set_unusable_password()
        user.save(update_fields=["password"])
    Membership.objects.update_or_create(user=user, organisation=organisation, defaults={"roles": roles, "active": True})
    if Role.READER in roles:
        for category in ("MG", "DX/CHEST"):
            Qualification.objects.get_or_create(user=user, organisation=organisation, category=category)
    return user


def _entry(
    user: User, organisation: Organisation, roles: list[str], password: str | None, known: dict[str, str]
) -> dict[str, Any]:
    text = known.get(user.username, "")
    if not text or not ApiToken.objects.filter(user=user, digest=digest(text), revoked_at=None).exists():
        _, text = create_token(user, organisation, "demo")
    return {"name": user.username, "password": password, "roles": [str(r) for r in roles], "token": text}


def _doors(organisations: dict[str, Organisation], robot: User) -> None:
    for title, (slug, privacy) in AE_TITLES.items():
        Source.objects.get_or_create(
            organisation=organisations[slug],
            kind=Source.Kind.DIMSE,
            name=title,
            defaults={"ae_title": title, "privacy": privacy},
        )
    Source.objects.get_or_create(
        organisation=organisations["bench"],
        kind=Source.Kind.DICOMWEB,
        name=robot.username,
        defaults={"user": robot, "privacy": Source.Privacy.DONE},
    )
    for organisation in organisations.values():
        values = {key: value for key, value in MAMMOGRAMS.items() if key != "name"}
        HeaderRule.objects.get_or_create(organisation=organisation, name=MAMMOGRAMS["name"], defaults=values)


def _plan(organisations: dict[str, Organisation]) -> None:
    plan, _ = Plan.objects.get_or_create(
        slug="clinic",
        defaults={"name": "Clinic", "runs_a_month": 500, "seats": 10, "price_cents_a_month": 49000,
                  "overage_cents_a_run": 90},
    )  # fmt: skip
    for organisation in organisations.values():
        Subscription.objects.get_or_create(organisation=organisation, defaults={"plan": plan})


def _programme(organisation: Organisation, content: dict[str, Any], users: dict[str, User]) -> None:
    values = {key: content[key] for key in ("name", "description", "modalities")}
    programme, new = Programme.objects.get_or_create(organisation=organisation, slug=content["slug"], defaults=values)
    if new:
        new_protocol(programme, by=None, **content["protocol"])
        for name in ("alice", "bob"):
            set_panel(programme, users[name], "reader", by=None)
        set_panel(programme, users["carol"], "arbiter", by=None)
        set_panel(programme, users["carol"], "coordinator", by=None)

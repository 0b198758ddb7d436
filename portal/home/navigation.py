"""Which pages each role is shown, in the rail and in the command palette."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.urls import NoReverseMatch, reverse

from portal.accounts.models import Role

EVERYONE = frozenset(Role.values)


class Page(NamedTuple):
    group: str
    name: str  # URL name
    word: str
    icon: str
    roles: frozenset[str]


def _for(*roles: Role) -> frozenset[str]:
    return frozenset(roles)


PAGES: tuple[Page, ...] = (
    Page("", "home", "Home", "house", EVERYONE),
    Page("Reading", "worklist", "Worklist", "list-checks", _for(Role.READER, Role.COORDINATOR)),
    Page("Reading", "programmes", "Programmes", "clipboard-list",
         _for(Role.READER, Role.COORDINATOR, Role.ENGINEER, Role.AUDITOR)),
    Page("Reading", "data_sets", "Data sets", "database", _for(Role.COORDINATOR)),
    Page("Reading", "scores", "Scores", "trophy", _for(Role.READER, Role.COORDINATOR)),
    Page("Scans", "scans", "Scans", "images", EVERYONE - {Role.ACCOUNT_ADMIN}),
    Page("Scans", "cohorts", "Cohorts", "filter", EVERYONE - {Role.ACCOUNT_ADMIN}),
    Page("Scans", "upload", "Upload", "upload", _for(Role.COORDINATOR, Role.PACS_ADMIN, Role.ENGINEER)),
    Page("Scans", "reports_in", "Hand in reports", "file-text", _for(Role.COORDINATOR, Role.PACS_ADMIN, Role.ENGINEER)),
    Page("Scans", "functions", "Functions", "brain-circuit", _for(Role.ENGINEER, Role.COORDINATOR, Role.AUDITOR)),
    Page("Doors", "receipts", "Received", "inbox", _for(Role.PACS_ADMIN)),
    Page("Doors", "quarantine", "Quarantine", "shield-alert", _for(Role.PACS_ADMIN)),
    Page("Doors", "input_alerts", "Input alerts", "flag", _for(Role.PACS_ADMIN, Role.COORDINATOR, Role.ENGINEER)),
    Page("Doors", "input_check", "Input check", "shield-check", _for(Role.PACS_ADMIN, Role.ENGINEER)),
    Page("Doors", "throughput", "Throughput", "chart-line", _for(Role.PACS_ADMIN)),
    Page("Connections", "sources", "Sources", "radio-tower", _for(Role.PACS_ADMIN)),
    Page("Connections", "peers", "Peers", "server", _for(Role.PACS_ADMIN)),
    Page("Connections", "message_senders", "HL7 senders", "receipt-text", _for(Role.PACS_ADMIN)),
    Page("Connections", "fetches", "Fetches", "download", _for(Role.PACS_ADMIN)),
    Page("Connections", "standing_queries", "Standing queries", "history", _for(Role.PACS_ADMIN)),
    Page("Connections", "routing_rules", "Routing", "git-merge", _for(Role.PACS_ADMIN)),
    Page("Connections", "returns", "Returns", "send", _for(Role.PACS_ADMIN)),
    Page("Connections", "destinations", "Destinations", "external-link", _for(Role.PACS_ADMIN)),
    Page("Connections", "header_rules", "Header rules", "file-cog", _for(Role.PACS_ADMIN)),
    Page("Identities", "pixel_questions", "Text in images", "scan", _for(Role.PACS_ADMIN)),
    Page("Identities", "term_lists", "Lists of terms", "list-checks", _for(Role.PACS_ADMIN)),
    Page("Identities", "site_rules", "Site rules", "shield-check", _for(Role.PACS_ADMIN)),
    Page("Identities", "past_looks", "Looks at identities", "eye", _for(Role.PACS_ADMIN)),
    Page("Account", "usage", "Usage", "gauge", _for(Role.ACCOUNT_ADMIN)),
    Page("Account", "members", "Members", "users", _for(Role.ACCOUNT_ADMIN)),
    Page("Account", "tokens", "API tokens", "key-round", EVERYONE),
)  # fmt: skip


def pages(roles: Iterable[str], path: str = "") -> list[dict[str, Any]]:
    """Groups of pages for these roles: [{"title", "entries": [{"href", "word", "icon", "current"}]}]."""
    mine = set(roles)
    shown: list[dict[str, Any]] = []
    best = ""
    for page in PAGES:
        if not mine & page.roles:
            continue
        try:
            href = reverse(page.name)
        except NoReverseMatch:
            continue
        if path.startswith(href) and len(href) > len(best) and (href != "/" or path == "/"):
            best = href
        if not shown or shown[-1]["title"] != page.group:
            shown.append({"title": page.group, "entries": []})
        shown[-1]["entries"].append({"href": href, "word": page.word, "icon": page.icon, "name": page.name})
    for group in shown:
        for entry in group["entries"]:
            entry["current"] = entry["href"] == best
    return shown

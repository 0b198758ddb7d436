"""The office's components as template tags; docs/engineers/look.md shows each with a snippet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.core.serializers.json import DjangoJSONEncoder
from django.forms import BoundField
from django.template.context import RequestContext
from django.templatetags.static import static
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from portal.accounts.models import Role
from portal.home.states import look

register = template.Library()


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One icon of the sprite; decoration unless a label is given."""
    href = f"{static('site/icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"></use></svg>', label, href)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', href)


@register.simple_tag
def badge(state: str, label: str = "") -> SafeString:
    """A state as icon, word and colour."""
    shown = look(str(state))
    working = " working" if shown.working else ""
    return format_html(
        '<span class="badge {}{}">{}{}</span>', shown.tone, working, icon(shown.icon), label or shown.word
    )


@register.simple_tag
def ago(moment: datetime | date | None, empty: str = "–") -> SafeString:
    """A relative time, kept fresh by the page's script, with the exact one on hover."""
    if moment is None:
        return format_html('<span class="muted">{}</span>', empty)
    if not isinstance(moment, datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), date_format(moment, "j M Y"))
    exact = date_format(timezone.localtime(moment), "j M Y, H:i:s")
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', moment.isoformat(), exact, naturaltime(moment)
    )


@register.filter
def percent(value: float | None, digits: int = 0) -> str:
    """0.873 → 87 %; a dash where there is nothing to say."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as 2 min 05 s, 3 h 10 min or 4 d 2 h."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """mapping[key], or nothing."""
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.simple_tag
def spark(values: Iterable[float], label: str = "") -> SafeString:
    """A sparkline of a row of numbers, oldest first; the label says in words what it shows."""
    numbers = [float(v) for v in values]
    if len(numbers) < 2:
        return mark_safe('<span class="muted" aria-hidden="true">–</span>')
    low, high = min(numbers), max(numbers)
    step = 96 / (len(numbers) - 1)
    points = [
        (round(i * step, 1), round(22 - 20 * ((v - low) / (high - low) if high > low else 0.5 if high else 0.0), 1))
        for i, v in enumerate(numbers)
    ]
    words = label or f"From {numbers[0]:g} to {numbers[-1]:g}, highest {high:g}"
    return format_html(
        '<svg class="spark" viewBox="0 0 96 24" role="img" aria-label="{}">'
        '<polyline points="{}"/><circle cx="{}" cy="{}" r="2"/></svg>',
        words,
        " ".join(f"{x},{y}" for x, y in points),
        *points[-1],
    )


@register.simple_tag
def progress(parts: Iterable[Mapping[str, Any]], total: float, label: str, size: str = "") -> SafeString:
    """A stacked bar: parts [{"tone", "value", "word"}] of a total."""
    rows = [p for p in parts if p["value"]]
    words = ", ".join(f"{p['value']} {str(p['word']).lower()}" for p in rows) or "nothing yet"
    spans = mark_safe(
        "".join(
            format_html(
                '<span class="tone-{}" style="width:{}%"></span>',
                p["tone"],
                f"{100 * p['value'] / total if total else 0:.2f}",
            )
            for p in rows
        )
    )
    return format_html('<div class="progress {}" role="img" aria-label="{}: {}">{}</div>', size, label, words, spans)


@register.inclusion_tag("components/legend.html")
def legend(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The key of a stacked bar, with numbers."""
    return {"parts": parts}


@register.inclusion_tag("components/parts.html")
def parts_chart(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of a similarity as bars: [{"name", "value" 0…1, "weight", "words"}]."""
    rows = []
    for part in parts:
        value = part.get("value")
        tone = "neutral" if value is None else "agreed" if value >= 0.7 else "differs"
        name = str(part.get("label") or part.get("name") or "").replace("_", " ")
        rows.append({**part, "name": name[:1].upper() + name[1:], "value": value, "tone": tone,
                     "width": f"{100 * max(0.0, min(1.0, value or 0.0)):.1f}"})  # fmt: skip
    return {"parts": rows}


@register.inclusion_tag("components/stat.html")
def stat(
    label: str, value: Any, note: str = "", spark: Iterable[float] | None = None, href: str = ""
) -> dict[str, Any]:
    """A tile with one number, what it means, and optionally its course."""
    return {"label": label, "value": value, "note": note, "spark_values": spark, "href": href}


@register.inclusion_tag("components/empty.html")
def empty(title: str, text: str, icon: str = "inbox", href: str = "", action: str = "") -> dict[str, Any]:
    """What will be here and how to get the first one."""
    return {"title": title, "text": text, "icon_name": icon, "href": href, "action": action}


# a package's words → ours
HOUSE_WORDS = {
    "two-factor authentication": "second factor",
    "email": "e-mail",
    "signup": "sign-up",
    "username": "user name",
}


@register.filter(is_safe=True)
def sentence(text: str) -> str:
    """A Heading Of A Package in sentence case and the house's words, as all our words are."""
    plain = str(text).strip().lower()
    for theirs, ours in HOUSE_WORDS.items():
        plain = re.sub(rf"\b{theirs}\b", ours, plain)
    return plain[:1].upper() + plain[1:]


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, large: bool = False) -> dict[str, Any]:
    """One field of a form with label, help and errors tied to it for screen readers."""
    widget = bound.field.widget
    kind = getattr(widget, "input_type", "")
    css = {"checkbox": "", "radio": "", "range": "range"}.get(kind, "input large" if large else "input")
    if bound.field.widget.__class__.__name__ in {"CheckboxSelectMultiple", "RadioSelect"}:
        css = ""
    attrs: dict[str, str | bool] = {"class": css} if css else {}
    if large:
        attrs["placeholder"] = False  # the label says it, and goes on saying it
    described = [f"{bound.auto_id}_help"] if bound.help_text else []
    if bound.errors:
        attrs["aria-invalid"] = "true"
        described.append(f"{bound.auto_id}_error")
    if described:
        attrs["aria-describedby"] = " ".join(described)
    group = widget.__class__.__name__ in {"CheckboxSelectMultiple", "RadioSelect"}
    label = sentence(str(bound.label)) if large else bound.label  # the large ones are a package's
    return {"field": bound, "control": bound.as_widget(attrs=attrs), "check": kind == "checkbox" and not group,
            "group": group, "label": label}  # fmt: skip


@register.inclusion_tag("components/model_notice.html")
def model_notice() -> dict[str, Any]:
    """Stands beside every output of a model."""
    return {}


@register.inclusion_tag("components/plot.html")
def plot(name: str, kind: str, data: Mapping[str, Any], sentence: str, title: str = "") -> dict[str, Any]:
    """A plot with a table view, export and a sentence.

    data  {"columns": [{"key", "label", "digits"?}], "rows": [{key: value}], …options of the kind},
          see docs/engineers/look.md for the kinds.
    """
    columns = list(data["columns"])
    cells = [[_cell(row.get(c["key"]), c.get("digits")) for c in columns] for row in data["rows"]]
    return {"name": name, "kind": kind, "json": json.dumps(data, cls=DjangoJSONEncoder), "columns": columns,
            "cells": cells, "sentence": sentence, "title": title}  # fmt: skip


def _cell(value: Any, digits: int | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if digits is not None and isinstance(value, (int, float)) else str(value)


@register.simple_block_tag
def panel(content: str, title: str = "", more: str = "", href: str = "", flush: bool = False) -> SafeString:
    """A framed part of the page; `more`/`href` put a link at the right of its head; flush drops the inset."""
    head = ""
    if title:
        link = format_html('<a class="link small" href="{}">{}</a>', href, more) if href else ""
        head = format_html("<header><h2>{}</h2>{}</header>", title, link)
    body = content if flush else format_html('<div class="body">{}</div>', conditional_escape(content))
    return format_html('<section class="panel">{}{}</section>', head, body)


@register.simple_tag(takes_context=True)
def query(context: RequestContext, **changes: Any) -> str:
    """The page's query string with changes; None or "" takes a key away. Filters live in the URL."""
    current = context["request"].GET.copy()
    current.pop("after", None)  # another filter starts at the first page
    for key, value in changes.items():
        if value in (None, ""):
            current.pop(key, None)
        else:
            current[key] = str(value)
    return f"?{current.urlencode()}" if current else "?"


@register.simple_block_tag
def page_header(content: str, title: str, lead: str = "", crumb: str = "", crumb_href: str = "") -> SafeString:
    """The head of a page: where it lies, its title, one line, and its actions as the block's content."""
    where = ""
    if crumb:
        where = format_html(
            '<nav class="crumbs" aria-label="Where you are"><a href="{}">{}</a><span aria-hidden="true">/</span></nav>',
            crumb_href,
            crumb,
        )
    words = format_html('<p class="lead">{}</p>', lead) if lead else ""
    actions = format_html('<div class="actions">{}</div>', content) if content.strip() else ""
    return format_html('<div class="page-header"><div>{}<h1>{}</h1>{}</div>{}</div>', where, title, words, actions)


@register.filter
def role_word(role: str) -> str:
    """The word for a role."""
    return dict(Role.choices).get(role, role)


@register.filter
def moment(text: str) -> datetime | None:
    """The moment of an ISO text, for `ago`."""
    return parse_datetime(text) if text else None


@register.filter
def of(part: float | None, total: float | None) -> float:
    """part / total, 0 without a total; to be shown with `percent`."""
    return (part or 0) / total if total else 0.0


@register.filter
def amount(cents: int | None) -> str:
    """Cents as 12.34."""
    return "–" if cents is None else f"{cents / 100:,.2f}"


@register.filter
def cat(value: object, tail: str) -> str:
    """Value and tail in one text."""
    return f"{value}{tail}"


@register.filter
def said(value: Any) -> str:
    """An answer, or several, in plain words."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if value in (None, "", []):
        return "–"
    if isinstance(value, (list, tuple)):
        return " · ".join(said(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {said(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


@register.filter
def kind_word(kind: str) -> str:
    """The word for a kind of assignment."""
    return {"first": "First reading", "second": "Second reading", "arbitration": "Arbitration"}.get(kind, kind)


@register.simple_tag
def usage_bar(used: int, allowed: int, label: str) -> SafeString:
    """Use against an allowance; over it, the bar is full and says so in another tone."""
    over = used > allowed
    parts = [{"tone": "differs" if over else "accent", "value": min(used, allowed), "word": f"of {allowed} used"}]
    return progress(parts, allowed, label)


@register.simple_tag
def share_bar(value: float | None, label: str, tone: str = "accent") -> SafeString:
    """A bar for one value from 0 to 1."""
    whole = round(100 * (value or 0))
    return progress([{"tone": tone, "value": whole, "word": "percent"}], 100, label)

"""The parts of a table of the office; the context's `table` is a `core.tables.Page`. See docs/engineers/look.md."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import QueryDict
from django.template.context import Context
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from portal.accounts.queries import saved_views
from portal.core.tables import COLUMN, SORT, Page
from portal.home.templatetags.ui import icon, query

register = template.Library()
BULK = "bulk"  # id of the form that the rows' checkboxes belong to


def _page(context: Context) -> Page:
    page: Page = context["table"]
    return page


@register.inclusion_tag("components/table_tools.html", takes_context=True)
def table_tools(context: Context, what: str) -> dict[str, Any]:
    """Filters, saved views, choice of columns and the CSV; `what` names the rows: "scans"."""
    page, request = _page(context), context["request"]
    here = _plain(request.GET)
    views = [
        {"view": view, "current": _plain(QueryDict(view.query)) == here}
        for view in saved_views(request.user, request.organisation, page.table.name)
    ]

    def fields(chips: bool, extra: bool = False) -> list[dict[str, Any]]:
        wanted = [one for one in page.table.filters if (one.kind == "chips") == chips and one.extra == extra]
        return [{"filter": one, "value": page.values[one.key]} for one in wanted]

    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "table": page,
        "what": what,
        "chips": fields(True),
        "fields": fields(False),
        "extras": fields(False, extra=True),
        "extras_used": sum(bool(one["value"]) for one in fields(False, extra=True)),
        "filter_keeps": page.kept(*(one.key for one in page.table.filters if one.kind != "chips")),
        "column_keeps": page.kept(COLUMN),
        "choices": [(c, c.key in page.keys) for c in page.table.columns if not c.fixed],
        "views": views,
        "here": request.GET.urlencode(),
    }


def _plain(asked: QueryDict) -> list[tuple[str, list[str]]]:
    """What two addresses have in common that show the same: no place on the page, nothing empty."""
    return sorted((k, sorted(v)) for k, v in asked.lists() if any(v) and k not in {"after", "format"})


@register.simple_block_tag(takes_context=True)
def data_table(context: Context, content: str, caption: str) -> SafeString:
    """The table around its rows, with a head whose words sort where the column can be sorted."""
    page = _page(context)
    head = format_html_join("", "{}", ((_head(context, page, column),) for column in page.columns))
    if page.table.bulk:
        box = '<input type="checkbox" data-choose-all aria-label="Choose all rows of this page" hidden>'
        head = format_html('<th scope="col" role="columnheader" class="tight">{}</th>{}', mark_safe(box), head)
    return format_html(
        '<div class="table-wrap sheet"><table class="table cards" role="table" data-rows>'
        '<caption class="visually-hidden">{}</caption><thead role="rowgroup"><tr role="row">{}</tr></thead>'
        '<tbody role="rowgroup">{}</tbody></table></div>',
        caption,
        head,
        content,
    )


def _head(context: Context, page: Page, column: Any) -> SafeString:
    if not column.order:
        words, sorted_now = format_html("{}", column.label), ""
    else:
        here = page.sort.removeprefix("-") == column.key
        down = here and page.sort.startswith("-")
        href = query(context, **{SORT: column.key if not here or down else f"-{column.key}"})  # type: ignore[arg-type]
        sign = icon("arrow-down" if down else "arrow-up") if here else ""
        words = format_html('<a class="sort" href="{}">{}{}</a>', href, column.label, sign)
        sorted_now = ("descending" if down else "ascending") if here else "none"
    aria = format_html(' aria-sort="{}"', sorted_now) if sorted_now else ""
    css = " ".join(part for part in column.css.split() if part in {"num", "tight"})  # the rest is how values look
    return format_html('<th scope="col" role="columnheader" class="{}"{}>{}</th>', css, aria, words)


@register.simple_block_tag(takes_context=True)
def row(
    context: Context,
    content: str,
    prefix: str,
    key: Any,
    href: str = "",
    choose: str = "",
    may: bool = True,
    value: Any = None,
) -> SafeString:
    """One row; `choose` names it for its checkbox in a table whose rows can be chosen, `may` whether it has one.

    value  what its checkbox sends, where that is not its key
    """
    page = _page(context)
    first = (context.get("forloop") or {}).get("first")
    attrs = format_html(' id="{}-{}"', prefix, key)
    if href:
        attrs = format_html('{} data-href="{}"', attrs, href)
    if first:
        attrs = format_html('{} tabindex="0"', attrs)
    box = SafeString("")
    if page.table.bulk and may:
        box = format_html(
            '<td role="cell" class="tight choose"><input type="checkbox" form="{}" name="row" value="{}" '
            'aria-label="Choose {}" data-choose></td>',
            BULK, key if value is None else value, choose,
        )  # fmt: skip
    elif page.table.bulk:
        box = mark_safe('<td role="cell" class="tight choose"></td>')
    return format_html('<tr role="row"{}>{}{}</tr>', attrs, box, content)


@register.simple_block_tag(takes_context=True)
def cell(context: Context, content: str, key: str, css: str = "") -> SafeString:
    """One cell, where its column is shown; on a small screen its label stands beside it."""
    column = next((column for column in _page(context).columns if column.key == key), None)
    if column is None:
        return SafeString("")
    classes = " ".join(filter(None, (column.css, css)))
    return format_html(
        '<td role="cell" data-label="{}" class="{}"><div>{}</div></td>',
        column.label,
        classes,
        mark_safe(content.strip()),
    )


@register.inclusion_tag("components/table_pager.html", takes_context=True)
def table_pager(context: Context) -> dict[str, Any]:
    """On to the next fifty, back to the first; and which keys do what."""
    return {"request": context["request"], "table": _page(context)}


@register.simple_block_tag(takes_context=True)
def bulk(context: Context, content: str, action: str) -> SafeString:
    """What can be done to the chosen rows: buttons `name="do"`; floats once something is chosen.

    Stands behind the table, outside of its live part. `data-confirm` on a button: the sentence to ask first.
    """
    token = format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', context["csrf_token"])
    return format_html(
        '<form id="{}" class="bulk" method="post" action="{}" aria-label="Do with the chosen rows" data-bulk>{}'
        '<input type="hidden" name="back" value="{}">'
        '<output class="num" data-chosen role="status">Do with the chosen rows:</output>{}'
        '<button type="button" class="button quiet icon-only" data-choose-none aria-label="Choose none" hidden>{}'
        "</button></form>",
        BULK,
        action,
        token,
        context["request"].get_full_path(),
        mark_safe(content),
        icon("x"),
    )


@register.simple_tag(takes_context=True)
def query_key(context: Context, key: str, value: str) -> str:
    """The page's query string with one key changed, whose name is not known beforehand."""
    return query(context, **{key: value})  # type: ignore[arg-type]

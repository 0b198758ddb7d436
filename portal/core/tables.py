"""Tables of the office: filters, order, columns and pages come from the address, so that a link says it all.

`?<filter>=…&sort=-key&column=a&column=b&after=<row>` shows a page; `&format=csv` gives the same rows as a file. Pages
are cut by key: page 1,000 costs what page 1 costs, and nothing is counted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.utils.dateparse import parse_date

PAGE = 50
EXPORTED = 10_000  # rows of a file at most
BATCH = 500
LONGEST = 100  # characters of a filter's value
# what an address says besides its filters
SORT, COLUMN, AFTER, FORMAT = "sort", "column", "after", "format"
Choices = Sequence[tuple[str, str]]
Prepare = Callable[[list[Any]], None]


@dataclass(frozen=True)
class Column:
    """One column.

    text      row → what stands in the CSV
    order     field to sort by; empty: the column cannot be sorted
    nullable  the field may be empty: such rows stand last, whichever way the rest is sorted
    fixed     always shown
    extra     shown only when asked for
    """

    key: str
    label: str
    text: Callable[[Any], Any]
    order: str = ""
    nullable: bool = False
    css: str = ""
    fixed: bool = False
    extra: bool = False


@dataclass(frozen=True)
class Filter:
    """One filter: `where` makes the condition from the value that the address gives.

    kind   "choice" and "chips" take one of `choices`, "day" a date, "number" a whole number, "text" any words
    extra  behind "More" until it is used
    """

    key: str
    label: str
    where: Callable[[str], Q]
    choices: Choices = ()
    kind: str = "choice"
    extra: bool = False

    def read(self, query: QueryDict) -> str:
        """The value in an address; empty when there is none, or none that this filter knows."""
        value = query.get(self.key, "").replace("\0", "").strip()[:LONGEST]
        if self.kind == "text" or value in {known for known, _ in self.choices}:
            return value
        if self.kind == "number":
            return value if value.isdecimal() and value.isascii() and len(value) <= 3 else ""
        return value if self.kind == "day" and day(value) else ""


def day(text: str) -> date | None:
    """The date in an ISO text, None when it holds none."""
    try:
        return parse_date(text)
    except ValueError:  # the thirtieth of February
        return None


@dataclass
class Page:
    """What a template shows: rows, the columns of this page, and how to go on."""

    table: Table
    query: QueryDict
    values: dict[str, str]
    columns: list[Column]
    sort: str
    rows: list[Any] = field(default_factory=list)
    after: str = ""  # the page after this one begins behind this row; empty: this is the last

    @property
    def keys(self) -> set[str]:
        return {column.key for column in self.columns}

    @property
    def filtered(self) -> bool:
        return any(self.values.values())

    @property
    def later(self) -> bool:
        """Whether this is not the first page."""
        return AFTER in self.query

    def kept(self, *without: str) -> list[tuple[str, str]]:
        """What a form that changes a part of the address must send along unchanged."""
        gone = {*without, AFTER, FORMAT}
        return [(key, value) for key, values in self.query.lists() if key not in gone for value in values]


@dataclass(frozen=True)
class Table:
    """A table by name: its columns, its filters, and the order in which it opens ("-key": falling).

    bulk  rows can be chosen
    """

    name: str
    columns: Sequence[Column]
    filters: Sequence[Filter] = ()
    sort: str = ""
    bulk: bool = False

    def where(self, query: QueryDict) -> Q:
        """The condition that the address asks for."""
        wanted = Q()
        for one in self.filters:
            if value := one.read(query):
                wanted &= one.where(value)
        return wanted

    def _opened(self, query: QueryDict) -> Page:
        asked = {key for key in query.getlist(COLUMN) if any(key == column.key for column in self.columns)}
        shown = [c for c in self.columns if c.fixed or (c.key in asked if asked else not c.extra)]
        sort = query.get(SORT, "")
        if not self._sorted_by(sort):
            sort = self.sort
        return Page(self, query, {one.key: one.read(query) for one in self.filters}, shown, sort)

    def _sorted_by(self, sort: str) -> Column | None:
        key = sort.removeprefix("-")
        return next((column for column in self.columns if column.key == key and column.order), None)

    def page(self, query: QueryDict, rows: QuerySet[Any], prepare: Prepare | None = None) -> Page | HttpResponse:
        """Fifty rows as the address asks for them, or the CSV of all of them.

        rows     all that the person may see, in any order
        prepare  called with each list of rows before it is shown, to hang on what one query gives for all
        """
        page = self._opened(query)
        found = self._in_order(rows.filter(self.where(query)), page.sort)
        if query.get(FORMAT) == "csv":
            return self._csv(page, found[:EXPORTED].iterator(BATCH), prepare)
        if (beyond := self._beyond(query.get(AFTER, ""), rows, page.sort)) is not None:
            found = found.filter(beyond)
        self._fill(page, list(found[: PAGE + 1]), prepare)
        return page

    def listed(self, query: QueryDict, rows: Sequence[Any], prepare: Prepare | None = None) -> Page | HttpResponse:
        """The same for rows that are filtered (`where`) and in their own order already."""
        page = self._opened(query)
        if query.get(FORMAT) == "csv":
            return self._csv(page, iter(rows), prepare)
        keys = [str(row.pk) for row in rows]
        after = query.get(AFTER, "")
        start = keys.index(after) + 1 if after in keys else 0
        self._fill(page, list(rows[start : start + PAGE + 1]), prepare)
        return page

    def _fill(self, page: Page, found: list[Any], prepare: Prepare | None) -> None:
        page.rows = found[:PAGE]
        page.after = str(found[PAGE - 1].pk) if len(found) > PAGE else ""
        if prepare:
            prepare(page.rows)

    def _in_order(self, rows: QuerySet[Any], sort: str) -> QuerySet[Any]:
        column, down = self._sorted_by(sort), sort.startswith("-")
        if column is None:
            return rows.order_by("-pk" if down else "pk")
        # an index serves `nulls last` only where it was made so; columns that are never empty do without
        last = True if column.nullable else None
        ordered = F(column.order).desc(nulls_last=last) if down else F(column.order).asc(nulls_last=last)
        return rows.order_by(ordered, "-pk" if down else "pk")

    def _beyond(self, after: str, rows: QuerySet[Any], sort: str) -> Q | None:
        column, down = self._sorted_by(sort), sort.startswith("-")
        name = column.order if column else "pk"
        try:
            key = rows.model._meta.pk.to_python(after) if after else None
        except (ValidationError, ValueError):
            key = None
        found = list(rows.filter(pk=key).values_list(name, flat=True)[:1]) if key is not None else []
        if not found:
            return None
        step, value = "lt" if down else "gt", found[0]
        if value is None:
            return Q(**{f"{name}__isnull": True, f"pk__{step}": key})
        beyond = Q(**{f"{name}__{step}": value}) | Q(**{name: value, f"pk__{step}": key})
        return beyond | Q(**{f"{name}__isnull": True}) if column and column.nullable else beyond

    def _csv(self, page: Page, rows: Iterator[Any], prepare: Prepare | None) -> HttpResponse:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([column.label for column in page.columns])
        while batch := list(islice(rows, BATCH)):
            if prepare:
                prepare(batch)
            writer.writerows([cell(column.text(row)) for column in page.columns] for row in batch)
        answer = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{self.name}.csv"'
        return answer


def cell(value: Any) -> str:
    """A value as a spreadsheet may take it: no text becomes a formula there."""
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        value = "/".join(map(str, value))
    if isinstance(value, str):
        plain = value.replace("\0", "")
        return f"'{plain}" if plain[:1] in {"=", "+", "-", "@", "\t", "\r"} else plain
    return str(value)

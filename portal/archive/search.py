"""A search of the archive as one SQL statement: who asks, what matches, and the answers as the database keeps them.

The object mapper would need a statement for who may see what and one for the rows, and build an object of each row;
here the answers come as text (`Study.answer` and its like) and are joined as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.archive.attributes import INSTANCE_ANSWER
from portal.archive.matching import Clause, Term

STUDY, SERIES, INSTANCE = "study", "series", "instance"
ALIAS = {STUDY: "s", SERIES: "e", INSTANCE: "i"}
# Django's path from a level to a column's own model → alias; those that lead down are looked into by EXISTS
PATHS: dict[str, dict[str, str]] = {
    STUDY: {"": "s"},
    SERIES: {"": "e", "study__": "s"},
    INSTANCE: {"": "i", "series__": "e", "study__": "s"},
}
DOWN = {
    (STUDY, "series__"): "archive_series x WHERE x.study_id = s.id",
    (STUDY, "instances__"): "archive_instance x WHERE x.study_id = s.id",
    (SERIES, "instances__"): "archive_instance x WHERE x.series_id = e.id",
}
JOINS = {
    "e": " JOIN archive_series e ON e.id = i.series_id",
    "s": " JOIN archive_study s ON s.id = {}.study_id",
    "p": " JOIN archive_patient p ON p.id = s.patient_id",
}
LOOKUPS = {
    "exact": "{} = %s",
    "iexact": "upper({}) = upper(%s)",
    "like": "{} LIKE %s",
    "ilike": "upper({}) LIKE upper(%s)",
    "gt": "{} > %s",
    "gte": "{} >= %s",
    "lt": "{} < %s",
    "lte": "{} <= %s",
    "in": "{} = ANY (%s::varchar[])",
    "overlap": "{} && %s::varchar[]",
    "contains": "{} @> %s::varchar[]",
    "jsonpath": "{} @? %s::jsonpath",
    "isnull": "{} IS NULL",
}
OF_STUDY = {STUDY: "s.id", SERIES: "e.study_id", INSTANCE: "i.study_id"}
SELECTIVE = {"study_uid", "series_uid", "sop_uid", "accession", "patient__pseudonym"}
# what both a parent and its child answer with: the child's counts
SHARED = ["00080005", "00080056", "00080201", "00081190", "0020000D"]

PLACED = ("", STUDY, SERIES)  # by the number of UIDs

# Who asks: one row for each organisation whose scans they may see.
GIVEN = "SELECT unnest(%s::bigint[]) AS org"
PLACES = {
    STUDY: """SELECT s.organisation_id AS org, s.id AS study FROM who
        JOIN archive_study s ON s.organisation_id = who.org AND s.study_uid = %s ORDER BY s.id LIMIT 1""",
    SERIES: """SELECT e.organisation_id AS org, e.study_id AS study, e.id AS series FROM who
        JOIN archive_series e ON e.organisation_id = who.org AND e.series_uid = %s
        JOIN archive_study s ON s.id = e.study_id AND s.study_uid = %s {} ORDER BY e.id LIMIT 1""",
}
# a study's answer to who is not shown its opinions: of what is left
IMAGES_ALONE = """CASE WHEN s.opinions AND s.id IN (SELECT id FROM blind) THEN (
    SELECT concord_study_answer(s.headers, s.study_uid,
        coalesce(array_agg(DISTINCT v.modality) FILTER (WHERE v.modality > ''), '{}'), count(*)::int,
        coalesce(sum(v.instances), 0)::int)
    FROM (SELECT x.modality::text, count(*) AS instances FROM archive_series x
        JOIN archive_instance y ON y.series_id = x.id AND NOT y.opinion WHERE x.study_id = s.id GROUP BY x.id) v
    ) ELSE s.answer END"""
# whether who asks may have to be kept from opinions, and the answer has to do with studies that hold some
TELLTALE = """ UNION ALL SELECT 3, NULL, NULL, NULL WHERE (SELECT bool_or(bound) FROM who)
    AND EXISTS (SELECT FROM {} f JOIN archive_study t ON t.id = f.study AND t.opinions)"""


@dataclass(frozen=True)
class Blind:
    """The studies of which opinions (archive/rules.py) are kept from who asks: SQL of a column `id`, and its values."""

    sql: str = ""
    values: Sequence[Any] = ()

    def shows(self, alias: str) -> str:
        """The condition that a series or instance is shown; empty where everything is."""
        return f"NOT ({alias}.opinion AND {alias}.study_id IN (SELECT id FROM blind))" if self.sql else ""


EVERYTHING = Blind()


@dataclass(frozen=True)
class Search:
    """What is searched for.

    place   UIDs of the study, or study and series, within which is searched; empty: everywhere
    fields  tags beyond those that every answer has; None: the whole header (instances only)
    order   (column as `e.number`, descending) before the key, which is the last order
    after   key of the last answer of the page before
    """

    level: str
    clauses: Sequence[Clause] = ()
    place: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = ()
    order: tuple[tuple[str, bool], ...] = ()
    limit: int = 1000
    offset: int = 0
    after: int = 0


@dataclass
class Found:
    """`items` are DICOM JSON objects as text; `known` says that the place is there for who asks, and they may look.

    `more` says that the search goes on behind these, `last` is the key of the last. `guarded`: who asks may have to be
    kept from some of it (`statement`, wary).
    """

    items: list[str] = field(default_factory=list)
    known: bool = False
    more: bool = False
    last: int = 0
    guarded: bool = False


def within(place: tuple[str, ...], who: str, values: Iterable[Any], blind: Blind = EVERYTHING) -> tuple[str, list[Any]]:
    """The beginning of a statement and its values: `who`, and `place` (org, study, series) where one is named."""
    sql, given = f"WITH who AS MATERIALIZED ({who})", list(values)
    if blind.sql:
        sql, given = f"{sql}, blind(id) AS MATERIALIZED ({blind.sql})", [*given, *blind.values]
    if place:
        shown = f"AND {blind.shows('e')}" if blind.sql else ""
        place_sql = PLACES[PLACED[len(place)]].format(shown)
        return f"{sql}, place AS MATERIALIZED ({place_sql})", [*given, *reversed(place)]
    return sql, given


def statement(
    search: Search, who: str, values: Iterable[Any], blind: Blind = EVERYTHING, wary: bool = False
) -> tuple[str, list[Any]]:
    """The SQL of a search and its values; `who` makes rows with a column `org`, of `values`.

    blind  what is kept from who asks
    wary   they are not known yet: `who` has a column `bound`, and a row of kind 3 says that `blind` has to be known

    Its rows are (kind, key, key of the parent, text): the answers (1), what their parents add (0), and one row (2) for
    each place that may be searched. Nothing comes from the request but values.
    """
    inside = PLACED[len(search.place)]
    before, given = within(search.place, who, values, blind)
    rows = "place" if inside else "who"
    keys = "".join(f", {column} AS o{n}" for n, (column, _) in enumerate(search.order))
    study = IMAGES_ALONE if blind.sql else "s.answer"
    parent, up = _parent(search.level, inside, study)
    item, item_values = _item(search, study)
    tests, test_values, used = _tests(search, inside, blind)
    inner_order = "".join(f"{column} {_way(down)}, " for column, down in search.order)
    outer_order = "".join(f"o{n} {_way(down)}, " for n, (_, down) in enumerate(search.order))
    last = "ASC" if inside else "DESC"
    # known to the planner, unless every page would be a statement of its own
    ends = (str(search.limit + 1),) * 2 if not search.offset else ("%s", "%s")
    alias = ALIAS[search.level]
    used |= {column[0] for column, _ in search.order}
    tell = TELLTALE.format("place" if inside else "page") if wary else ""
    sql = f"""{before}, page AS MATERIALIZED (SELECT f.* FROM {rows} w CROSS JOIN LATERAL (
        SELECT {alias}.id, {parent} AS parent, {item} AS item{keys}, {OF_STUDY[search.level]} AS study
        FROM archive_{search.level} {alias}{_joins(search.level, used)} WHERE {" AND ".join(tests)}
        ORDER BY {inner_order}{alias}.id {last} LIMIT {ends[0]}) f
        ORDER BY {outer_order}f.id {last} LIMIT {ends[1]} OFFSET %s)
        SELECT 1, id, parent, item FROM page{up}
        UNION ALL SELECT 2, NULL, NULL, NULL FROM {rows}{tell}"""
    given += [*item_values, *test_values]
    given += [search.offset + search.limit + 1, search.limit + 1] if search.offset else []
    given.append(search.offset)
    if up:
        given.append([*INSTANCE_ANSWER] if search.level == INSTANCE else SHARED)
    return sql, given


def steady(search: Search) -> bool:
    """Whether one plan is right for all values: within a place, for the newest, and by a key that few rows share."""
    return (
        bool(search.place)
        or not search.clauses
        or any(
            len(clause) == 1 and clause[0].lookup == "exact" and clause[0].column in SELECTIVE
            for clause in search.clauses
        )
    )


def _way(down: bool) -> str:
    return "DESC NULLS LAST" if down else "ASC NULLS LAST"


def _parent(level: str, inside: str, study: str) -> tuple[str, str]:
    """The key of the row that adds to an answer, and the SQL that finds what it adds (PS3.18 10.6.3.3).

    `study` is the SQL of a study's answer.
    """
    if level == SERIES and not inside:
        return "e.study_id", (
            f" UNION ALL SELECT 0, s.id, NULL, (({study})::jsonb - %s::text[])::text"
            " FROM archive_study s WHERE s.id IN (SELECT parent FROM page)"
        )
    if level == INSTANCE and inside != SERIES:
        join, answer = "", "e.answer::jsonb"
        if not inside:
            join, answer = " JOIN archive_study s ON s.id = e.study_id", f"(({study})::jsonb || e.answer::jsonb)"
        return "i.series_id", (
            f" UNION ALL SELECT 0, e.id, NULL, ({answer} - %s::text[])::text"
            f" FROM archive_series e{join} WHERE e.id IN (SELECT parent FROM page)"
        )
    return "NULL::bigint", ""


def _item(search: Search, study: str) -> tuple[str, list[Any]]:
    """The answer's text; more of the header where it is asked for."""
    alias = ALIAS[search.level]
    answer = study if search.level == STUDY else f"{alias}.answer"
    if search.fields == ():
        return answer, []
    if search.level == INSTANCE:
        if search.fields is None:
            return "(i.headers || i.answer::jsonb)::text", []
        return "(concord_pick(i.headers, %s::text[]) || i.answer::jsonb)::text", [[*search.fields]]
    # the headers of all instances of a study or series say the same of it
    first = f"SELECT concord_pick(x.headers, %s::text[]) FROM archive_instance x WHERE x.{search.level}_id = {alias}.id"
    more = f"coalesce(({first} ORDER BY x.id LIMIT 1), '{{}}')"
    return f"({more} || ({answer})::jsonb)::text", [[*(search.fields or ())]]


def _tests(search: Search, inside: str, blind: Blind) -> tuple[list[str], list[Any], set[str]]:
    alias = ALIAS[search.level]
    used: set[str] = set()
    values: list[Any] = []
    tests = [f"{alias}.{inside}_id = w.{inside}" if inside else f"{alias}.organisation_id = w.org"]
    for clause in search.clauses:
        either = []
        for term in clause:
            test, value = _test(search.level, term, used, blind)
            either.append(test)
            values += value
        tests.append(f"({' OR '.join(either)})")
    if blind.sql and search.level != STUDY:
        tests.append(blind.shows(alias))
    if search.after:
        tests.append(f"{alias}.id < %s")
        values.append(search.after)
    return tests, values, used


def _test(level: str, term: Term, used: set[str], blind: Blind) -> tuple[str, list[Any]]:
    below = DOWN.get((level, term.prefix))
    alias, column = "x" if below else PATHS[level][term.prefix], term.column
    patient = column.startswith("patient__")
    test = LOOKUPS[term.lookup].format(f"q.{column.removeprefix('patient__')}" if patient else f"{alias}.{column}")
    values = [] if term.lookup == "isnull" else [term.value]
    if below:
        shown = f" AND {blind.shows('x')}" if blind.sql else ""
        return f"EXISTS (SELECT FROM {below} AND {test}{shown})", values
    used.add(alias)
    if patient:
        # the patients first, as an array: a join may walk through all studies for patients who are long gone
        found = f"SELECT q.id FROM archive_patient q WHERE q.organisation_id IN (SELECT org FROM who) AND {test}"
        return f"s.patient_id = ANY (ARRAY({found}))", values
    return test, values


def _joins(level: str, used: set[str]) -> str:
    out = ""
    if level == INSTANCE and "e" in used:
        out += JOINS["e"]
    if level != STUDY and used & {"s", "p"}:
        out += JOINS["s"].format(ALIAS[level])
    return out + (JOINS["p"] if "p" in used else "")


def gather(rows: Iterable[tuple[int, int, int | None, str]], search: Search) -> Found:
    """The answers of a statement's rows, each joined with what its parent adds."""
    found, page = Found(), []
    heads: dict[int | None, str] = {}
    for kind, key, parent, text in rows:
        if kind == 1:
            page.append((key, parent, text))
        elif kind == 0:
            heads[key] = text
        elif kind == 3:
            found.guarded = True
        else:
            found.known = True
    found.more = len(page) > search.limit
    page = page[: search.limit]
    found.last = page[-1][0] if page else 0
    join = _splice if search.fields == () else _merge
    found.items = [join(heads.get(parent, "{}"), text) for _, parent, text in page]
    return found


def _splice(head: str, item: str) -> str:
    """Two objects without a name in common as one, without parsing them."""
    return item if head == "{}" else f"{head[:-1]}, {item[1:]}"


def _merge(head: str, item: str) -> str:
    return item if head == "{}" else json.dumps({**json.loads(head), **json.loads(item)}, ensure_ascii=False)

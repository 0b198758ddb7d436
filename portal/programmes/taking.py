"""The claim of the next case as one round trip: who may take what, the best of it, and the claim.

`rules.next_for` in SQL; a test holds the two to the same answer. The object mapper needs a dozen statements for
this, built and planned anew at every claim; here two prepared ones travel together and the database keeps their plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import psycopg
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone
from psycopg.types.numeric import Int8

from portal.accounts.models import User
from portal.archive.models import Study
from portal.programmes import rules
from portal.programmes.models import PART_ROLES, Assignment, Case, Programme

AT_HAND = 64  # offers of each programme and kind that are looked at; more than connections that can hold one each
TRIES = 5  # when all that were at hand have just gone to others

State = Assignment.State
_FREE, _TAKE = Assignment.step_sql(State.OFFERED, State.CLAIMED)
_ROLES = " OR ".join(
    f"p.part = '{part}' AND m.roles && ARRAY[{', '.join(repr(str(role.value)) for role in roles)}]::varchar[]"
    for part, roles in PART_ROLES.items()
)
_KINDS = ", ".join(f"('{kind}', '{rules.part_for(kind)}', {rank})" for kind, rank in rules.KIND_ORDER.items())

# the same lock as `actions.claim`'s: two windows of one reader must not pass the quota together
LOCK = "SELECT FROM accounts_user WHERE id = %(user)s FOR NO KEY UPDATE"


def _columns(alias: str, model: type[models.Model]) -> tuple[list[str], str]:
    """Fields to read of a model, and the same as SQL; documents in JSON stay where they are until asked for."""
    fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.JSONField)]
    return [f.attname for f in fields], ", ".join(f'{alias}."{f.column}"' for f in fields)


_READ = [
    (model, *_columns(alias, model))
    for alias, model in (("t", Assignment), ("c", Case), ("g", Programme), ("s", Study))
]

CLAIM = f"""
WITH mine AS MATERIALIZED (
    SELECT id FROM programmes_assignment
    WHERE reader_id = %(user)s AND state = '{State.CLAIMED.value}'
      AND (%(programme)s::bigint IS NULL OR programme_id = %(programme)s::bigint)
    ORDER BY claimed_at LIMIT 1
), seat AS MATERIALIZED (
    SELECT p.programme_id, p.part, p.quota, g.organisation_id
    FROM programmes_panelmember p
    JOIN accounts_user u ON u.id = p.user_id AND u.is_active
    JOIN programmes_programme g ON g.id = p.programme_id AND g.active
    JOIN accounts_membership m ON m.user_id = p.user_id AND m.organisation_id = g.organisation_id AND m.active
    WHERE p.user_id = %(user)s AND p.available AND ({_ROLES}) AND NOT EXISTS (SELECT FROM mine)
      AND (%(organisation)s::bigint IS NULL OR g.organisation_id = %(organisation)s::bigint)
), busy AS MATERIALIZED (
    SELECT programme_id FROM seat WHERE quota <= (
        SELECT count(*) FROM programmes_assignment a
        WHERE a.reader_id = %(user)s AND a.state = '{State.CLAIMED.value}' AND a.programme_id = seat.programme_id)
), may AS MATERIALIZED (
    SELECT seat.programme_id, k.kind, k.rank
    FROM seat
    JOIN (VALUES {_KINDS}) AS k(kind, part, rank) ON k.part = seat.part
    LEFT JOIN LATERAL (
        SELECT qualification FROM programmes_protocol v WHERE v.programme_id = seat.programme_id
        ORDER BY number DESC LIMIT 1) AS v ON true
    WHERE (%(programme)s::bigint IS NULL OR seat.programme_id = %(programme)s::bigint)
      AND seat.programme_id NOT IN (SELECT programme_id FROM busy)
      AND (k.kind = 'arbitration' OR coalesce(v.qualification, '') = '' OR EXISTS (
        SELECT FROM accounts_qualification q
        WHERE q.user_id = %(user)s AND q.organisation_id = seat.organisation_id AND q.category = v.qualification
          AND (q.valid_until IS NULL OR q.valid_until >= %(today)s)))
), offer AS MATERIALIZED (
    SELECT o.id, may.rank, o.priority, o.created_at FROM may CROSS JOIN LATERAL (
        SELECT a.id, a.priority, a.created_at FROM programmes_assignment a
        WHERE a.{_FREE} AND a.programme_id = may.programme_id AND a.kind = may.kind
          AND (a.reader_id = %(user)s OR a.reader_id IS NULL AND NOT EXISTS (
            SELECT FROM programmes_assignment had
            WHERE had.case_id = a.case_id AND had.reader_id = %(user)s AND had.state <> '{State.CANCELLED.value}'))
        ORDER BY a.priority DESC, a.created_at, a.id LIMIT {AT_HAND}) AS o
), best AS MATERIALIZED (
    SELECT a.id FROM offer JOIN programmes_assignment a ON a.id = offer.id
    WHERE a.{_FREE} AND (a.reader_id IS NULL OR a.reader_id = %(user)s)
    ORDER BY offer.rank, offer.priority DESC, offer.created_at, offer.id
    LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED
), taken AS (
    UPDATE programmes_assignment a
    SET {_TAKE}, reader_id = %(user)s, claimed_at = %(now)s,
        expires_at = %(now)s + v.claim_minutes * interval '1 minute'
    FROM best, programmes_case c, programmes_protocol v
    WHERE a.id = best.id AND a.{_FREE} AND c.id = a.case_id AND v.id = c.protocol_id
    RETURNING a.*
)
SELECT (SELECT count(*) FROM offer), EXISTS (SELECT FROM taken), {", ".join(sql for _, _, sql in _READ)}
FROM (SELECT) AS always
LEFT JOIN (
    SELECT * FROM taken
    UNION ALL
    SELECT a.* FROM programmes_assignment a JOIN mine ON mine.id = a.id) AS t ON true
LEFT JOIN programmes_case c ON c.id = t.case_id
LEFT JOIN programmes_programme g ON g.id = c.programme_id
LEFT JOIN archive_study s ON s.id = c.study_id
"""


def take_next(user: User, programme: int | None = None) -> tuple[Assignment | None, bool]:
    """The reader's open assignment, else the best on offer, claimed: with its case, programme and study.

    Returns it, or None when there is nothing, and whether it was claimed just now.
    """
    for _ in range(TRIES):
        now = timezone.now()
        values = {
            "user": Int8(user.pk),
            "programme": None if programme is None else Int8(programme),
            # who came with a token is a member of its organisation alone
            "organisation": None if user.token is None else Int8(user.token.organisation_id),
            "now": now,
            "today": timezone.localdate(now),
        }
        try:
            at_hand, new, *row = _ask(values)
        except IntegrityError:  # another place of the same case was pushed to this reader at this moment
            continue
        if row[0] is not None:
            return _assignment(row), new
        if not at_hand:
            break
    return None, False


def _ask(values: dict[str, Any]) -> Sequence[Any]:
    """Lock and claim in one round trip. Both are one transaction, or part of the caller's.

    The claim must be a statement of its own: it sees what was committed while the lock was waited for.
    """
    connection.ensure_connection()
    # a failure inside the caller's transaction must not end that
    with transaction.atomic() if connection.in_atomic_block else nullcontext(), connection.wrap_database_errors:
        raw = connection.connection
        with raw.pipeline(), psycopg.Cursor(raw) as lock, psycopg.Cursor(raw) as claim:
            lock.execute(LOCK, values, prepare=True)
            claim.execute(CLAIM, values, prepare=True)
            return claim.fetchall()[0]


def _assignment(row: Sequence[Any]) -> Assignment:
    rest = list(row)
    found: list[Any] = []
    for model, names, _ in _READ:
        found.append(model.from_db("default", names, rest[: len(names)]))  # type: ignore[attr-defined]
        del rest[: len(names)]
    assignment, case, programme, study = found
    assignment.case, case.programme, case.study = case, programme, study
    return assignment

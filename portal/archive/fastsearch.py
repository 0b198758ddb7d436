"""The short way for searches and metadata: one prepared statement says who asks, what they may see and what is found.

A search by key takes the database less than a millisecond, and the way through middleware, session, token, rights and
object mapper ten. This door stands before Django in `portal/asgi.py`, answers GET of the search addresses and of a
series' metadata, and hands everything else on: strangers, refusals, errors, places that are not there.

Nothing is remembered about anybody's rights. A token is looked up by the statement itself. Of a session is remembered
what Django once made of it (`Proof`), and the statement asks whether session, password and account are still the same.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import close_old_connections, connections
from django.http import QueryDict
from django.http.request import split_domain_port, validate_host
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from portal.accounts.authentication import digest
from portal.archive import delivery, media, qido
from portal.archive.fastpath import App, Receive, Remembered, Scope, Send, _session, _user
from portal.archive.metadata import joined
from portal.archive.queries import NEEDS, SEARCH_SECONDS
from portal.archive.search import INSTANCE, SERIES, STUDY, gather, statement, steady, within
from portal.core import blinding
from portal.core.changes import database_address
from portal.core.errors import Refused
from portal.core.metrics import HTTP

log = structlog.get_logger(__name__)

CONNECTIONS, PATIENCE = 6, 2.0  # most that search at once in this process; seconds to wait for one of them
PROOF_SECONDS = 3600.0
U = r"([0-9.]{1,64})"
ROUTES = [
    (re.compile(pattern), level, route)
    for pattern, level, route in (
        (r"/dicomweb/studies/?", STUDY, r"^dicomweb/studies/?$"),
        (r"/dicomweb/series/?", SERIES, r"^dicomweb/series/?$"),
        (r"/dicomweb/instances/?", INSTANCE, r"^dicomweb/instances/?$"),
        (rf"/dicomweb/studies/{U}/series/?", SERIES, "study/series"),
        (rf"/dicomweb/studies/{U}/instances/?", INSTANCE, "study/instances"),
        (rf"/dicomweb/studies/{U}/series/{U}/instances/?", INSTANCE, "series/instances"),
        (rf"/dicomweb/studies/{U}/series/{U}/metadata/?", "", "series/metadata"),
        (rf"/dicomweb/studies/{U}/metadata/?", "", "study/metadata"),
    )
]
_ROLES = "ARRAY[" + ", ".join(f"'{role}'" for role in sorted(NEEDS["read"])) + "]::varchar[]"
_OUTPUT = "ARRAY[" + ", ".join(f"'{role}'" for role in sorted(NEEDS["output"])) + "]::varchar[]"
# `bound`: they may be kept from what is said of some scans; Django knows from which
BOUND = f"(NOT m.roles && {_OUTPUT} OR {{concerned}}) AS bound"
# as `TokenAuthentication`; a token that has not been used for a minute takes Django's way, which notes its use
TOKEN = f"""SELECT t.organisation_id AS org, {BOUND} FROM accounts_apitoken t
    JOIN accounts_user u ON u.id = t.user_id AND u.is_active
    JOIN accounts_membership m ON m.user_id = u.id AND m.organisation_id = t.organisation_id AND m.active
    WHERE t.digest = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    AND t.last_used_at > now() - interval '1 minute' AND m.roles && {_ROLES}"""
SESSION = f"""SELECT m.organisation_id AS org, {BOUND} FROM django_session d
    JOIN accounts_user u ON u.id = %s AND u.is_active AND NOT u.is_service AND u.password = %s
    JOIN accounts_membership m ON m.user_id = u.id AND m.active AND m.roles && {_ROLES}
    WHERE d.session_key = %s AND d.session_data = %s AND d.expire_date > now()"""
SERIES_OF = """SELECT e.id, e.instance_count, e.metadata, s.id, s.revision, e.metadata_revision = e.instance_count
        AND NOT (s.opinions AND (SELECT bool_or(bound) FROM who))
    FROM place w JOIN archive_study s ON s.id = w.study JOIN archive_series e ON e.study_id = s.id
    {} ORDER BY e.number, e.id"""


@dataclass(frozen=True)
class Proof:
    """A session as it was when Django knew its user."""

    user: int
    password: str
    data: str


class FastSearch:
    """ASGI middleware; `app` answers whatever this does not."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.proofs: Remembered[Proof] = Remembered(PROOF_SECONDS, 2048)
        self.pool: AsyncConnectionPool[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith("/dicomweb/"):
            for pattern, level, route in ROUTES:
                if match := pattern.fullmatch(scope["path"]):
                    started = time.perf_counter()
                    made = await self._answer(scope, level, match.groups())
                    if made is not None:
                        HTTP.labels("GET", f"short: {route}", str(made.status)).observe(time.perf_counter() - started)
                        await _send(send, made)
                        return
                    break
        await self.app(scope, receive, send)

    async def close(self) -> None:
        """Give all connections back."""
        if self.pool is not None:
            pool, self.pool = self.pool, None
            await pool.close()

    async def _answer(self, scope: Scope, level: str, place: tuple[str, ...]) -> qido.Reply | None:
        """The answer; None when Django is to give one."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, _ = split_domain_port(headers.get("host", ""))
        if not host or not validate_host(host, settings.ALLOWED_HOSTS):
            return None
        try:
            who = await self._who(headers)
            if who is None:
                return None
            if not level:
                return await self._metadata(who, place, headers)
            query = QueryDict(scope["query_string"], mutable=False)
            asked = qido.ask(level, place, query)
            qido.kind_of(query.get("accept") or headers.get("accept", ""))  # before the work
            rows = await self._fetch(*statement(asked.search, *who, wary=True), planned=steady(asked.search))
            found = gather(rows, asked.search)
            if not found.known or found.guarded:
                return None
            return qido.reply(asked, found, _address(scope, headers), query, headers)
        except (Refused, psycopg.Error, PoolTimeout) as error:
            if not isinstance(error, Refused | psycopg.errors.QueryCanceled):
                log.warning("search.long_way", error=str(error))
            return None

    async def _fetch(self, sql: str, values: list[Any], planned: bool = True) -> list[Any]:
        """Rows of a statement; `planned` takes the plan over from one call to the next.

        Planning costs a search by key more than running. But what is right for one day is wrong for ten years, so
        other searches are sent with their values inside and planned each time.
        """
        if self.pool is None:
            options = f"-c plan_cache_mode=force_generic_plan -c statement_timeout={SEARCH_SECONDS * 1000} -c jit=off"
            self.pool = AsyncConnectionPool(
                kwargs={**database_address(), "autocommit": True, "prepare_threshold": 0, "options": options},
                min_size=1, max_size=CONNECTIONS, timeout=PATIENCE, open=False,
            )  # fmt: skip
            await self.pool.open()
        async with self.pool.connection() as link:
            cursor = psycopg.AsyncCursor(link) if planned else psycopg.AsyncClientCursor(link)
            await cursor.execute(sql, values, prepare=planned)
            return await cursor.fetchall()

    async def _who(self, headers: Mapping[str, str]) -> tuple[str, list[Any]] | None:
        """The SQL that makes a row for each organisation that the caller may see, and its values."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            return (_who(TOKEN), [digest(token.strip())]) if scheme.lower() == "bearer" else None
        key = _session(headers.get("cookie", ""))
        if not key:
            return None
        proof = self.proofs.get(key)
        if proof is None:
            proof = await sync_to_async(_prove, thread_sensitive=False)(key)
            if proof is None:
                return None
            self.proofs.put(key, proof)
        return _who(SESSION), [proof.user, proof.password, key, proof.data]

    async def _metadata(self, who: tuple[str, list[Any]], place: tuple[str, ...], headers: Mapping[str, str]) -> Any:
        """Metadata of settled series as it lies ready; None for what has to be made first, or for this person."""
        if not media.wants_json(media.parse_accept(headers.get("accept", ""))):
            return None
        before, values = within(place, *who)
        sql = before + SERIES_OF.format("WHERE e.id = w.series" if len(place) == 2 else "")
        rows = await self._fetch(sql, values)
        if not rows or not all(ready and data is not None for *_, data, _, _, ready in rows):
            return None
        packed = "gzip" in headers.get("accept-encoding", "")
        name = f"e{rows[0][0]}-{rows[0][1]}" if len(place) == 2 else f"t{rows[0][3]}-{rows[0][4]}"
        tag = f'"{name}-gz"' if packed else f'"{name}"'
        out = {"ETag": tag, "Cache-Control": qido.KEPT, "Vary": qido.VARY}
        if delivery.fresh(headers.get("if-none-match", ""), tag):
            return qido.Reply(304, out)
        data = rows[0][2] if len(rows) == 1 else await asyncio.to_thread(joined, [row[2] for row in rows])
        out |= {"Content-Type": "application/dicom+json"} | ({"Content-Encoding": "gzip"} if packed else {})
        return qido.Reply(200, out, data if packed else await asyncio.to_thread(gzip.decompress, data))


@functools.cache
def _who(sql: str) -> str:
    """The statement of who asks, with the rules of blinding that are registered when the application is up."""
    return sql.format(concerned=blinding.concerned("m.user_id"))


def _address(scope: Scope, headers: Mapping[str, str]) -> str:
    """The resource as the client asked for it, without the query; as Django's `build_absolute_uri`."""
    scheme = scope.get("scheme", "http")
    if settings.SECURE_PROXY_SSL_HEADER:
        scheme = "https" if headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{headers['host']}{scope['path']}"


def _prove(key: str) -> Proof | None:
    """What Django makes of a session; None for strangers."""
    close_old_connections()
    try:
        user = _user("", key)
        row = Session.objects.filter(session_key=key).first() if user else None
        return Proof(user.pk, user.password, row.session_data) if row else None
    finally:
        connections.close_all()


async def _send(send: Send, made: qido.Reply) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in made.headers.items()]
    headers += [
        (b"content-length", str(len(made.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    await send({"type": "http.response.start", "status": made.status, "headers": headers})
    await send({"type": "http.response.body", "body": made.body})

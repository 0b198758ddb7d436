"""Databases of tests: migrated once a run and copied for each worker, emptied after a test that commits.

Django migrates one for each worker and empties every table after each such test, hundreds of them, where few have rows.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

import psycopg
from django.db import connection, transaction
from psycopg import sql

from deploy.embedded.config import ROOT
from tests import prepared

TEMPLATE = "test_concord_template"
KEPT = ("django_migrations", "django_content_type", "auth_permission")  # as the migrations leave them


def template() -> None:
    """The database that the others are copies of."""
    prepared.once("database", _migrate)


def _migrate() -> None:
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    env = {**os.environ, "DATABASE_URL": f"{url.rsplit('/', 1)[0]}/{TEMPLATE}"}
    command = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=env, check=True)


def copied() -> None:
    """Connect this process to a copy of its own, which ends with the server."""
    template()
    name = connection.creation._get_test_db_name()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as db:
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        db.execute(words.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    connection.close()
    connection.close_pool()
    connection.settings_dict["NAME"] = name


@functools.cache
def _tables() -> list[sql.Identifier]:
    """All tables of both zones; Django's own list does not see the identity zone's schema."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'identities')"
            " AND NOT tablename = ANY(%s)",
            [list(KEPT)],
        )
        return [sql.Identifier(*row) for row in cursor.fetchall()]


def empty(*_: Any) -> None:
    """Take all rows away; no trigger fires and no key is checked, since nothing is left."""
    asked = [sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(n, t) for n, t in enumerate(_tables())]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL(" UNION ALL ").join(asked))
        filled = [_tables()[n] for (n,) in cursor.fetchall()]
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table in filled:
            cursor.execute(sql.SQL("DELETE FROM {}").format(table))

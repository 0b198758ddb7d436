"""Rights of the two database roles (the zones of ARCHITECTURE.md).

concord_app         everything in `public` except changing the audit; INSERT on the landing table only
concord_identities  the same, and everything in `identities`
"""

from __future__ import annotations

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

APP, IDENTITIES = "concord_app", "concord_identities"
LANDING_TABLE = ("identities", "landing_file")


def audit_tables() -> list[str]:
    """Tables that pghistory's triggers fill."""
    return sorted(m._meta.db_table for m in apps.get_models() if hasattr(m, "pgh_tracked_model"))


def apply_grants(connection: BaseDatabaseWrapper) -> None:
    """Set all rights anew; run by the owner after each migration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", [APP, IDENTITIES])
        found = {row[0] for row in cursor.fetchall()}
        for role in (APP, IDENTITIES):
            if role not in found:
                raise SystemExit(f"concord: database role {role} is missing; see deploy/runbooks/database.md")
        both = sql.SQL("{}, {}").format(sql.Identifier(APP), sql.Identifier(IDENTITIES))

        def run(statement: str, **names: sql.Composable) -> None:
            cursor.execute(sql.SQL(statement).format(**names).as_string(cursor.connection))  # type: ignore[arg-type]

        run("REVOKE ALL ON SCHEMA identities FROM PUBLIC")
        run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        run("GRANT USAGE ON SCHEMA public TO {both}", both=both)
        run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {both}", both=both)
        run("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {both}", both=both)
        run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {both}", both=both)
        for table in [*audit_tables(), "django_migrations"]:
            name = sql.Identifier(table)
            run("REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {both}", table=name, both=both)
        run("GRANT USAGE ON SCHEMA identities TO {both}", both=both)
        run("REVOKE ALL ON ALL TABLES IN SCHEMA identities FROM {app}", app=sql.Identifier(APP))
        run("GRANT ALL ON ALL TABLES IN SCHEMA identities TO {ids}", ids=sql.Identifier(IDENTITIES))
        run("GRANT ALL ON ALL SEQUENCES IN SCHEMA identities TO {ids}", ids=sql.Identifier(IDENTITIES))
        run("GRANT INSERT ON {t} TO {app}", t=sql.Identifier(*LANDING_TABLE), app=sql.Identifier(APP))

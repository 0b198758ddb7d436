"""`python -m deploy.embedded demo|up|down|status|env|psql|vault-key` – see deploy/README.md."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys

from deploy.embedded import children, demo
from deploy.embedded.config import PORTS, Home, StartError, taken
from deploy.embedded.postgres import binaries
from deploy.embedded.supervisor import Supervisor


def up(home: Home, *, with_demo: bool) -> None:
    """Start everything; with the demo's people and scans when asked; until Ctrl-C."""
    supervisor = Supervisor(home)
    try:
        demo.bring_up(supervisor, with_demo=with_demo)
        supervisor.run()
    finally:
        supervisor.say("stopping")
        supervisor.stop()


def down(home: Home) -> None:
    """End the portal that runs in this home, wherever it was started."""
    pid = home.running_pid()
    if pid is None or not children.alive(pid, "deploy.embedded"):
        print("concord: nothing runs here")
        return
    os.kill(pid, signal.SIGTERM)
    if not children.wait_gone(pid, "deploy.embedded", 60):
        raise StartError(f"process {pid} did not end within a minute")
    print("concord: stopped")


def status(home: Home) -> None:
    """What listens where."""
    for name, (variable, _, what) in PORTS.items():
        port = home.ports[name]
        if not port:
            continue
        print(f"{name:<9} {port:<6} {'answers' if taken(port) else 'silent':<8} {what} ({variable})")


def env(home: Home, zone: str) -> None:
    """The zone's environment as shell lines, to run manage.py or a worker by hand."""
    for name, value in sorted(home.env(zone).items()):
        if os.environ.get(name) != value:
            print(f"export {name}={shlex.quote(value)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description=__doc__)
    parser.add_argument("what", choices=["demo", "up", "down", "status", "env", "psql", "vault-key"])
    parser.add_argument("zone", nargs="?", default="app", choices=["app", "identities", "owner"])
    arguments = parser.parse_args()
    try:
        home = Home.open()
        match arguments.what:
            case "demo" | "up":
                up(home, with_demo=arguments.what == "demo")
            case "down":
                down(home)
            case "status":
                status(home)
            case "env":
                env(home, arguments.zone)
            case "vault-key":
                home.new_column_key()
                print("concord: a new key for the vault's columns; start again, then run concord_rotate_vault")
            case "psql":
                psql = binaries() / "psql"
                return subprocess.call([str(psql), home.env(arguments.zone)["DATABASE_URL"]])
    except StartError as error:
        print(f"concord: {error}", file=sys.stderr)
        return 78
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

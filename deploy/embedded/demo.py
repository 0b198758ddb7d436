"""From nothing to a portal that answers: servers, schema, static files, people, processes, sample scans."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path

from deploy.embedded.config import ROOT
from deploy.embedded.files import write_whole
from deploy.embedded.supervisor import PYTHON, Supervisor


def fingerprint(*folders: str) -> str:
    """One digest over names, sizes and times of files: changes when any of them does."""
    state = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "node_modules" not in path.parts and "__pycache__" not in path.parts:
                stat = path.stat()
                state.update(f"{path}:{stat.st_size}:{stat.st_mtime_ns};".encode())
    return state.hexdigest()


def once(supervisor: Supervisor, name: str, state: str) -> bool:
    """Whether a step must run: its inputs changed since it last ran in this home."""
    mark = supervisor.home.path / "run" / f"{name}.done"
    return not (mark.exists() and mark.read_text() == state)


def did(supervisor: Supervisor, name: str, state: str) -> None:
    """Remember that a step ran with these inputs."""
    write_whole(supervisor.home.path / "run" / f"{name}.done", state)


def bring_up(supervisor: Supervisor, *, with_demo: bool) -> None:
    """Start all of it and return once everything answers; sample scans arrive afterwards."""
    began = time.monotonic()
    home = supervisor.home
    supervisor.start_servers()
    schema = fingerprint("portal") if home.own_postgres else "always"
    if schema == "always" or once(supervisor, "migrate", schema):
        supervisor.say("preparing the database")
        supervisor.manage("concord_migrate")
        did(supervisor, "migrate", schema)
    site = fingerprint("static")
    if once(supervisor, "static", site):
        supervisor.say("collecting static files")
        supervisor.manage("collectstatic", "--noinput", "--verbosity", "0", zone="app")
        did(supervisor, "static", site)
    people = home.path / "run" / "demo-users.json"
    setup = fingerprint("portal/demo", "inference/shipped") + schema
    if with_demo and (once(supervisor, "demo", setup) or not people.exists()):
        supervisor.say("preparing people, programmes and functions")
        password = home.secrets["demo_password"]
        supervisor.manage("concord_demo", "--json", str(people), CONCORD_DEMO_PASSWORD=password)
        supervisor.manage("concord_register_packages", "--owner", "lakeside")
        people.chmod(0o600)
        did(supervisor, "demo", setup)
    supervisor.start_processes()
    supervisor.say(f"ready after {time.monotonic() - began:.1f} s")
    if with_demo:
        users = json.loads(people.read_text())
        write_demo_json(supervisor, users)
        if os.environ.get("CONCORD_DEMO_SCANS") != "0":
            threading.Thread(target=_send, args=(supervisor,), daemon=True).start()
        print(box(supervisor, users), flush=True)


def write_demo_json(supervisor: Supervisor, users: list[dict[str, object]]) -> Path:
    """`demo.json`: where the portal is and who may sign in, for tools outside."""
    home = supervisor.home
    url = f"http://127.0.0.1:{home.ports['web']}"
    aet = os.environ.get("CONCORD_AET") or "CONCORD"
    content = {
        "url": url,
        "dicomweb": f"{url}/dicomweb",
        "dicom": {"aet": aet, "host": "127.0.0.1", "port": home.ports["dicom"]},
        "hl7": {"host": "127.0.0.1", "port": home.ports["hl7"]},
        "users": users,
    }
    path = home.path / "demo.json"
    write_whole(path, json.dumps(content, indent=2))
    return path


def _send(supervisor: Supervisor) -> None:
    """Send the sample scans through the doors; what was sent before is recognised there."""
    home = supervisor.home
    mark = home.path / "run" / "demo-sent.done"
    if mark.exists():
        return
    supervisor.say("sending sample scans by C-STORE and STOW-RS")
    command = [PYTHON, "manage.py", "concord_demo", "--send", str(home.path / "demo.json")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=home.env("app"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        supervisor.say(line.rstrip())
    if process.wait() == 0:
        mark.touch()
    elif not supervisor.ending:
        supervisor.say("sample scans were not all sent; the next start tries again")


def box(supervisor: Supervisor, users: list[dict[str, object]]) -> str:
    """Address and logins, framed."""
    home = supervisor.home
    lines = [
        f"Concord is ready: http://127.0.0.1:{home.ports['web']}",
        f"DICOM: CONCORD@127.0.0.1:{home.ports['dicom']} · DICOMweb: http://127.0.0.1:{home.ports['web']}/dicomweb",
        "",
        f"password of every login below: {home.secrets['demo_password']}",
        *(f"  {u['name']:<8} {', '.join(u['roles'])}" for u in users if u.get("password")),  # type: ignore[arg-type]
        "",
        "Sample scans are arriving now. Ctrl-C stops everything. Research use only.",
    ]
    width = max(map(len, lines))
    body = "\n".join(f"│ {line:<{width}} │" for line in lines)
    return f"┌{'─' * (width + 2)}┐\n{body}\n└{'─' * (width + 2)}┘"

"""The supervisor: nothing outlives it, data stay, taken ports are named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.embedded.config import ROOT
from tests.conftest import prepared_home, start_portal
from tests.support import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400), pytest.mark.xdist_group("supervisor")]


def of_home(home: Path) -> list[str]:
    """Command lines of living processes that belong to a home."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("CONCORD_HOME") == str(home) or str(home) in " ".join(process.cmdline())
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # another user runs PostgreSQL
    yield tmp_path / "home"


def test_nothing_outlives_the_supervisor_and_data_stay(home: Path) -> None:
    home.mkdir()
    prepared_home(home)
    process, first = start_portal(home)
    token = first.user("alice")["token"]
    assert len(of_home(home)) >= 8
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    wait_for(lambda: not of_home(home), 40, "every child has ended by itself")
    (home / "demo.json").unlink()
    process, second = start_portal(home)
    assert second.user("alice")["token"] == token  # the same database
    assert second.as_("alice").get("/api/v1/worklist/")["items"] == []
    # from another terminal, where nobody set the ports
    bare = {k: v for k, v in os.environ.items() if not k.endswith("_PORT")} | {"CONCORD_HOME": str(home)}
    command = [sys.executable, "-m", "deploy.embedded", "status"]
    said = subprocess.run(command, env=bare, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("answers") == 5 and str(httpx.URL(second.url).port) in said
    process.send_signal(signal.SIGINT)  # Ctrl-C
    assert process.wait(60) == 0
    wait_for(lambda: not of_home(home), 10, "Ctrl-C leaves no process")


@pytest.mark.parametrize("variable", ["CONCORD_PORT", "CONCORD_DICOM_PORT", "CONCORD_PG_PORT", "CONCORD_VALKEY_PORT"])
def test_a_taken_port_is_named_with_the_way_to_move_it(home: Path, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        drop = {"DATABASE_URL", "BROKER_URL", "CHANNEL_URL"}
        env = {k: v for k, v in os.environ.items() if not k.startswith("CONCORD_") and k not in drop}
        env |= {"CONCORD_HOME": str(home), variable: str(port)}
        command = [sys.executable, "-m", "deploy.embedded", "demo"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and f"port {port}" in lines[0] and f"{variable}=" in lines[0]


def test_a_wrong_setting_stops_the_start_with_one_line(home: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("CONCORD_")}
    env |= {"CONCORD_HOME": str(home), "CONCORD_PORT": "eighty"}
    command = [sys.executable, "-m", "deploy.embedded", "demo"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    assert done.stderr.strip().splitlines() == ["concord: setting CONCORD_PORT: 'eighty' is not a whole number"]

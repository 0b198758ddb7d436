"""Fixtures for every test: the real processes, the browser, and what cannot run here said by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings

from deploy.embedded.config import ROOT, Home, free_port
from tests import databases, prepared
from tests.support import CHROMIUM_ARGS, Stack, wait_for

# how long an example takes says how busy the machine is, nothing else
settings.register_profile("concord", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("concord")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        prepared.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers have ended by now
        prepared.forget()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of reference data; tests that use it are marked `reference`."""
    return Path(os.environ["CONCORD_REFERENCE_DATA"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the users of one portal together, and leave out, by name, what needs reference data that is not here.

    Two portals, one for the browser's tests and one for those that kill processes: each is half of the work.
    """
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser" if "browser" in item.path.parts else "stack"))
    if os.environ.get("CONCORD_REFERENCE_DATA"):
        return
    out = [item for item in items if item.get_closest_marker("reference")]
    if out:
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)
        config.stash[NOT_RUN] = [item.nodeid for item in out]


def pytest_collection_finish(session: pytest.Session) -> None:
    """pytest 9.2 takes pytest-xdist 3.8 its groups without a word, and every worker starts a portal of its own."""
    if not getattr(session.config.option, "loadgroup", False):
        return
    if alone := [i.nodeid for i in session.items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid]:
        raise pytest.UsageError(f"tests of one group are not kept together: {alone[0]}")


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None) -> None:
    """In place of pytest-django's: a copy of the run's one migrated database."""
    TransactionTestCase._fixture_teardown = databases.empty  # type: ignore[method-assign]
    with django_db_blocker.unblock():
        databases.copied()


NOT_RUN = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for name in config.stash.get(NOT_RUN, []):
        terminalreporter.write_line(f"NOT RUN (CONCORD_REFERENCE_DATA is not set): {name}")


def chromium() -> str:
    """The browser that `make test` found or installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("no Chromium on this machine; `make test` says how to get one")


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {"executable_path": chromium(), "args": CHROMIUM_ARGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1400, "height": 950}}


def start_portal(folder: Path, *, scans: bool = False, **env: str) -> tuple[subprocess.Popen[bytes], Stack]:
    """Start a portal as `make demo` does, in `folder`; returns when demo.json is written."""
    folder.mkdir(parents=True, exist_ok=True)
    drop = {k for k in os.environ if k.startswith("CONCORD_") and k != "CONCORD_REFERENCE_DATA"}
    drop |= {"DATABASE_URL", "BROKER_URL", "CHANNEL_URL", "SECRET_KEY", "STORAGE_URL", "LANDING_URL"}
    ports = {f"CONCORD_{name}_PORT": str(free_port()) for name in ("DICOM", "HL7", "PG", "VALKEY")}
    ports["CONCORD_PORT"] = str(free_port())
    quick = {"CONCORD_DEMO_SCANS": "1" if scans else "0", "CONCORD_FACE_SETTLE_SECONDS": "3"}
    settings = {"CONCORD_HOME": str(folder), **quick, **ports, **env}
    clean = {k: v for k, v in os.environ.items() if k not in drop}
    log = (folder / "supervisor.log").open("wb")
    command = [sys.executable, "-m", "deploy.embedded", "demo"]
    process = subprocess.Popen(command, cwd=ROOT, env={**clean, **settings}, stdout=log, stderr=log)
    info = folder / "demo.json"

    def ready() -> dict[str, Any] | None:
        if process.poll() is not None:
            words = (folder / "supervisor.log").read_text(errors="replace")[-3000:]
            raise AssertionError(f"the portal ended with {process.returncode}:\n{words}")
        return json.loads(info.read_text()) if info.exists() else None

    try:
        content = wait_for(ready, 480, "the portal is ready")
    except BaseException:
        process.terminate()
        process.wait(60)
        raise
    home = Home(folder, ports={}, secrets=json.loads((folder / "secrets" / "secrets.json").read_text()))
    home.ports = {
        "web": 0,
        "dicom": 0,
        "hl7": 0,
        "hl7-tls": 0,
        "postgres": int(settings["CONCORD_PG_PORT"]),
        "valkey": 0,
    }
    return process, Stack(home, content)


def _set_up(folder: Path) -> None:
    process, _ = start_portal(folder)
    process.terminate()
    process.wait(60)


def prepared_home(folder: Path) -> None:
    """Copy a home with its people into `folder`; the first of a run makes it by the very command of the README."""
    prepared.copy_home(folder, _set_up, else_first=databases.template)


@contextmanager
def portal_of_its_own(**env: str) -> Iterator[Stack]:
    """All processes of a portal with the demo's people and no scans yet, perhaps with settings; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="concord-stack-"))
    folder.chmod(0o755)
    prepared_home(folder)
    process, running = start_portal(folder, **env)
    try:
        yield running
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The portal that tests share."""
    with portal_of_its_own() as running:
        yield running

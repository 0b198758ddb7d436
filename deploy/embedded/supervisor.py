"""Starts all processes of an embedded portal, keeps them running, and ends all of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.embedded import children
from deploy.embedded.config import ROOT, Home, StartError
from deploy.embedded.files import write_whole
from deploy.embedded.postgres import Postgres
from deploy.embedded.valkey import Valkey

PYTHON = sys.executable
DOORS = {"web", "dicom", "hl7"}
COLOURS = {
    "web": "36",
    "dicom": "33",
    "hl7": "33",
    "identities": "35",
    "default": "34",
    "gpu": "32",
    "beat": "90",
    "transfer": "36",
}


@dataclass
class Process:
    """One supervised process."""

    name: str
    zone: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    restarts: int = 0


def worker(name: str, queues: str, *options: str) -> list[str]:
    """Command of a Celery worker."""
    base = [
        PYTHON,
        "-W",
        "ignore",
        "-m",
        "celery",
        "--quiet",
        "-A",
        "portal",
        "worker",
        "-n",
        f"{name}@concord",
        "-Q",
        queues,
    ]
    return [*base, "--loglevel", "WARNING", "--without-gossip", "--without-mingle", *options]


def gpu_workers(devices: str) -> list[Process]:
    """One gpu worker for each of the comma-separated devices (cpu, cuda:0, …), or one that follows CONCORD_DEVICE.

    Four threads each: one has its scans in the forward pass while the others read, store, or wait for work. They, and
    the database beside them, need the cores on which the threads of a forward pass would spin while they wait for each
    other, which makes that several times slower; hence those wait passively unless OMP_WAIT_POLICY says otherwise.
    Raises StartError for what is no device, or is named twice.
    """
    options = ("--pool", "threads", "--concurrency", "4")
    waiting = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    names = [name.strip() for name in devices.split(",") if name.strip()]
    if not names:
        return [Process("gpu", "app", worker("gpu", "gpu", *options), waiting)]
    for name in names:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", name) or names.count(name) > 1:
            raise StartError(f"setting CONCORD_DEVICES: {name!r} is no device of its own, like cpu or cuda:0")
    return [
        Process(f"gpu-{n}", "app", worker(f"gpu-{n}", "gpu", *options), {**waiting, "CONCORD_DEVICE": name})
        for n, name in enumerate(names)
    ]


def processes(home: Home) -> list[Process]:
    """All processes, in the order in which they start; they end in the opposite order."""
    web = [PYTHON, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1"]
    web += ["--port", str(home.ports["web"]), "--log-level", "warning", "--timeout-graceful-shutdown", "5"]
    web += ["--http", "portal.core.zerocopy:Protocol", "--no-access-log"]
    beat = [PYTHON, "-m", "celery", "--quiet", "-A", "portal", "beat", "--loglevel", "WARNING"]
    beat += ["-s", str(home.path / "run" / "beat"), "--pidfile", ""]
    hl7 = home.ports["hl7"] or home.ports["hl7-tls"]
    return [
        Process("web", "app", web),
        Process("dicom", "identities", [PYTHON, "manage.py", "dicom_listener"]),
        *([Process("hl7", "identities", [PYTHON, "manage.py", "hl7_listener"])] if hl7 else []),
        Process("identities", "identities", worker("identities", "identities", "--concurrency", "2")),
        Process("transfer", "identities", worker("transfer", "transfer", "--pool", "threads", "--concurrency", "4")),
        Process("default", "app", worker("default", "default,export", "--concurrency", "2")),
        *gpu_workers(os.environ.get("CONCORD_DEVICES", "")),
        Process("beat", "app", beat),
    ]


class Supervisor:
    """The servers and processes of one home."""

    def __init__(self, home: Home, quiet: bool = False) -> None:
        self.home = home
        self.postgres = Postgres(home) if home.own_postgres else None
        self.valkey = Valkey(home) if home.own_valkey else None
        self.processes: list[Process] = []
        self.ending = False
        self.quiet = quiet

    # --- start ---------------------------------------------------------------------------------
    def start_servers(self) -> None:
        """Start PostgreSQL and Valkey, unless outside ones are used."""
        running = self.home.running_pid()
        if children.alive(running, "deploy.embedded"):
            raise StartError(f"the portal already runs here (process {running}); `make demo-stop` ends it")
        self.home.check_ports()
        write_whole(self.home.pid_file, str(os.getpid()))
        shutil.rmtree(self.home.metrics, ignore_errors=True)  # of processes that ended
        self.home.metrics.mkdir()
        if self.valkey:
            self.valkey.start()
        if self.postgres:
            self.postgres.start()

    def manage(self, *arguments: str, zone: str = "owner", **env: str) -> None:
        """Run a management command in a zone; raises StartError with its last lines when it fails."""
        done = subprocess.run(
            [PYTHON, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.home.env(zone), **env},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StartError(f"manage.py {arguments[0]} failed:\n{(done.stderr or done.stdout).strip()[-3000:]}")

    def start_processes(self, seconds: float = 120) -> None:
        """Start the doors, wait until they answer, then start the workers; all restart by themselves.

        On few cores the workers' start would double the time until the first page; what arrives
        meanwhile is owed in the outbox.
        """
        later = processes(self.home)
        while later and later[0].name in DOORS:
            self._add(later.pop(0))
        self.wait_ready(seconds)
        for process in later:
            self._add(process)

    def _add(self, process: Process) -> None:
        self.processes.append(process)
        self._start(process)

    def _start(self, process: Process) -> None:
        log = self.home.path / "log" / f"{process.name}.log"
        process.child = children.start(
            list(process.command),
            cwd=ROOT,
            env={**self.home.env(process.zone), **process.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        process.started = time.monotonic()
        pids = {p.name: p.child.pid for p in self.processes if p.child}
        write_whole(self.home.path / "run" / "pids.json", json.dumps(pids))
        assert process.child.stdout is not None
        threading.Thread(target=self._copy, args=(process.name, process.child.stdout, log), daemon=True).start()

    def _copy(self, name: str, pipe: IO[bytes], log: Path) -> None:
        with log.open("ab") as out:
            for line in pipe:
                out.write(line)
                out.flush()
                self._show(name, line.decode("utf-8", "replace").rstrip())

    def _show(self, name: str, line: str) -> None:
        if self.quiet:
            return
        prefix = f"{time.strftime('%H:%M:%S')} {name:<10} | "
        if sys.stdout.isatty():
            prefix = f"\033[{COLOURS.get(name.partition('-')[0], '1')}m{prefix}\033[0m"
        print(prefix + line, flush=True)

    # --- while it runs -------------------------------------------------------------------------
    def watch(self) -> None:
        """Start again what ended; the pause grows with each failure in a row."""
        now = time.monotonic()
        for process in self.processes:
            child = process.child
            if self.ending:
                return
            if child is not None and child.poll() is not None:
                process.failures = 0 if now - process.started > 30 else process.failures + 1
                process.next_start = now + min(0.5 * 2 ** min(process.failures, 6), 20)
                process.child = None
                self.say(f"{process.name} ended with {child.returncode}; starting it again")
                if child.returncode == 78:  # EX_CONFIG: a wrong setting does not mend itself
                    raise StartError(f"{process.name} has a wrong setting; see log/{process.name}.log")
            if process.child is None and now >= process.next_start:
                process.restarts += 1
                self._start(process)

    def run(self, *until: Callable[[], bool]) -> None:
        """Watch until SIGINT or SIGTERM."""
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGTERM, self._end)
        while not self.ending and not any(done() for done in until):
            self.watch()
            time.sleep(0.2)

    def _end(self, number: int, frame: object) -> None:
        self.ending = True

    def wait_ready(self, seconds: float = 120) -> None:
        """Return once web, database, broker and the listeners answer."""
        end = time.monotonic() + seconds
        while not (self._web_answers() and self._listeners_answer()):
            if self.ending:
                raise StartError("stopped before it was ready")
            if time.monotonic() > end:
                raise StartError(f"not ready after {seconds:.0f} s; see {self.home.path}/log/")
            self.watch()
            time.sleep(0.1)

    def _web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.home.ports['web']}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _listeners_answer(self) -> bool:
        try:
            for name in ("dicom", "hl7", "hl7-tls"):
                if port := self.home.ports[name]:
                    socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            return False
        return True

    def say(self, words: str) -> None:
        """One line of the supervisor's own."""
        self._show("concord", words)

    # --- stop ----------------------------------------------------------------------------------
    def stop(self) -> None:
        """End everything: processes first, then the servers."""
        self.ending = True
        for process in reversed(self.processes):
            if process.child and process.child.poll() is None:
                process.child.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            if process.child:
                children.stop(process.child, signal.SIGTERM, 8)
        if self.valkey:
            self.valkey.stop()
        if self.postgres:
            self.postgres.stop()
        if self.home.running_pid() == os.getpid():
            self.home.pid_file.unlink(missing_ok=True)

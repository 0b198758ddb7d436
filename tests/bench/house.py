"""A house for benchmarks: PostgreSQL, Valkey and worker processes of their own in a temporary folder, and scans."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from deploy.embedded import children
from deploy.embedded.config import ROOT, Home, free_port
from deploy.embedded.postgres import Postgres
from deploy.embedded.supervisor import processes
from deploy.embedded.valkey import Valkey


class House:
    """The servers of one benchmark; its processes are those that the supervisor starts."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def env(self, **more: str) -> dict[str, str]:
        """Environment of a process that may do everything."""
        return {**os.environ, **self.home.env("identities"), "DATABASE_URL": self.home.database_url("owner"), **more}

    def drive(self, module: str, *arguments: str, **more: str) -> None:
        """Run `python -m module arguments` in the house, its output being ours."""
        subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=self.env(**more), check=True)

    def start(self, name: str, *options: str, **more: str) -> int:
        """Start one of the supervisor's processes by its name, perhaps with other options; returns its process id."""
        process = next(p for p in processes(self.home) if p.name == name)
        with (self.home.path / "log" / f"{name}.log").open("ab") as log:
            self.running[name] = children.start(
                [*process.command, *options],
                cwd=ROOT,
                env={**self.home.env(process.zone), **process.env, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.running[name].pid

    def stop(self, name: str) -> None:
        """End it as the supervisor does."""
        children.stop(self.running.pop(name), signal.SIGTERM, 15)

    def kill(self, name: str) -> None:
        """kill -9 it with its children."""
        child = self.running.pop(name)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextmanager
def house(packages: Path | None = None) -> Iterator[House]:
    """A house that is gone afterwards; `packages` is its folder of function packages."""
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    for variable in ("CONCORD_PG_PORT", "CONCORD_VALKEY_PORT"):
        os.environ[variable] = str(free_port())
    os.environ["CONCORD_STUDY_SETTLE_SECONDS"] = os.environ["CONCORD_FACE_SETTLE_SECONDS"] = "0"
    if packages is not None:
        os.environ["CONCORD_PACKAGES"] = str(packages)
    home = Home.open(folder)
    postgres, valkey = Postgres(home), Valkey(home)
    valkey.start()
    postgres.start()
    made = House(home)
    try:
        for command in ("concord_migrate", "concord_register_packages"):
            env = {**os.environ, **home.env("owner")}
            command_line = [sys.executable, "-W", "ignore", "manage.py", command, "-v0", "--skip-checks"]
            subprocess.run(command_line, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        yield made
    finally:
        for name in list(made.running):
            made.stop(name)
        postgres.stop()
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)


def stored(kind: str, count: int, side: int, first: int = 0) -> list[int]:
    """Keys of `count` archived studies of chest or breast phantoms: eight drawn, the others with other UIDs.

    Goes through the archive's own actions (files, rows, metadata), as after de-identification.
    """
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    from inference.phantoms import breast_case, chest
    from portal.archive.actions import settle_study
    from portal.archive.models import Study
    from tests.factories import archive as make

    organisation = make.organisation("bench")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind == "chest":
            drawn = [chest(seed, size=(side, side)).write(folder / str(seed)) for seed in range(8)]
        else:
            drawn = [breast_case(seed, size=(side, side * 4 // 5)).write(folder / str(seed)) for seed in range(2)]
        patterns = [[dcmread(path) for path in paths] for paths in drawn]
    keys = []
    for index in range(first, first + count):
        study, series = generate_uid(), generate_uid()
        for pattern in patterns[index % len(patterns)]:
            pattern.StudyInstanceUID, pattern.SeriesInstanceUID, pattern.SOPInstanceUID = study, series, generate_uid()
            pattern.file_meta.MediaStorageSOPInstanceUID = pattern.SOPInstanceUID
            pattern.PatientID = f"BENCH-{index}"
            make.stored(make.encoded(pattern), organisation)
        row = Study.objects.get(study_uid=study)
        settle_study(row.pk)
        keys.append(row.pk)
    return keys


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    import psutil

    main = psutil.Process(pid)
    return float(sum(p.memory_info().rss for p in (main, *main.children(recursive=True))) / 1e6)


def configure(home: Home) -> None:
    """Set Django up in this process with a portal's own settings; what imports models comes after this."""
    os.environ.update({name: value for name, value in home.env("app").items() if value != "0"})  # ports not known here
    django.setup()
    for name in ("httpx", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # senders that are cut off say so very often


def row(*cells: object) -> None:
    """Print one line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)

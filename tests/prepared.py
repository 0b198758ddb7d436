"""What is made once in a run of tests, by whoever needs it first, and copied by the others.

A portal's home with its database, files and people ready: setting one up takes longer than most tests.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

PLACE = "CONCORD_TESTS_PREPARED"  # names the folder; the workers of a run have it from who starts them


def begin() -> None:
    """Make place, at the beginning of a run."""
    folder = tempfile.mkdtemp(prefix="concord-prepared-")
    Path(folder).chmod(0o755)  # the database's user walks through it
    os.environ[PLACE] = folder


def once(name: str, make: Callable[[], None], else_first: Callable[[], None] | None = None) -> None:
    """Have something made; returns when it is there.

    else_first  what to do where another process makes it already, before waiting for that
    """
    place = Path(os.environ[PLACE])
    with (place / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if else_first:
                else_first()
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / f"{name}.ready").exists():
            make()
            (place / f"{name}.ready").touch()


def copy_home(folder: Path, make: Callable[[Path], None], else_first: Callable[[], None]) -> None:
    """Make `folder` a copy of the prepared home; `make` sets one up and ends its processes."""
    home = Path(os.environ[PLACE]) / "home"

    def anew() -> None:
        shutil.rmtree(home, ignore_errors=True)
        make(home)

    once("home", anew, else_first)
    # with its owners: the database belongs to a user of its own where root runs the tests
    subprocess.run(["cp", "-a", f"{home}/.", str(folder)], check=True)
    (folder / "demo.json").unlink()


def forget() -> None:
    """Remove all of it at the end of the run."""
    shutil.rmtree(os.environ[PLACE], ignore_errors=True)

"""A portal's home with its database, files and people ready: made once in a run of tests, by whoever needs it first.

Setting a home up takes longer than most tests. `tests/faults/test_supervisor.py` and the benches do it anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

PLACE = "CONCORD_TESTS_PREPARED"  # names its folder; the workers of a run have it from who starts them


def begin() -> None:
    """Make place for it, at the beginning of a run."""
    folder = tempfile.mkdtemp(prefix="concord-prepared-")
    Path(folder).chmod(0o755)  # the database's user walks through it
    os.environ[PLACE] = folder


def copy_to(folder: Path, make: Callable[[Path], None]) -> None:
    """Make `folder` a copy of the prepared home; `make` sets one up and ends its processes."""
    place = Path(os.environ[PLACE])
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place / "home", ignore_errors=True)
            make(place / "home")
            (place / "ready").touch()
    # with its owners: the database belongs to a user of its own where root runs the tests
    subprocess.run(["cp", "-a", f"{place / 'home'}/.", str(folder)], check=True)
    (folder / "demo.json").unlink()


def forget() -> None:
    """Remove it at the end of the run."""
    shutil.rmtree(os.environ[PLACE], ignore_errors=True)

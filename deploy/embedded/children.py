"""Child processes that never outlive their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # Linux prctl(2)


def die_with_parent(number: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A preexec function: the kernel sends `number` to the child when its parent dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def start(command: list[str], *, on_parent_death: int = signal.SIGTERM, **options: Any) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that a terminal's Ctrl-C reaches only the supervisor."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(on_parent_death),
        **options,
    )


def alive(pid: int | None, word: str) -> bool:
    """Whether `pid` lives and its command line holds `word` (pids are used again)."""
    if pid is None:
        return False
    with contextlib.suppress(OSError):
        if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def stop(process: subprocess.Popen[bytes], number: int, patience: float) -> None:
    """Ask a child to end, then make it."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_gone(pid: int | None, word: str, seconds: float) -> bool:
    """Wait until a process that is not our child is gone."""
    end = time.monotonic() + seconds
    while alive(pid, word):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True

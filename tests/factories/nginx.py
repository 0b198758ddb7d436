"""Debian's nginx on the loopback interface with the configuration that deploy/ ships, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.embedded.config import ROOT, free_port
from tests.support import wait_for

SHIPPED = ROOT / "deploy" / "nginx" / "concord.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass
class Nginx:
    """A running nginx: its address with and without TLS, and what vouches for it."""

    url: str
    plain_url: str
    certificate: Path
    folder: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def sent(self) -> list[tuple[str, str]]:
        """(request, internal location) of what it answered, oldest first; "" for what it passed on as it came."""
        lines = (self.folder / "access.log").read_text().splitlines()
        found = [line.split(" ", 1) for line in lines]
        return [(request, "" if where == "-" else where) for request, where in found]


def certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1, signed by itself."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def configuration(folder: Path, home: Path, portal: int, secure: int, plain: int, tls: bool) -> str:
    """The shipped configuration with this machine's places, perhaps without TLS, inside a main one."""
    cert, key = certificate(folder)
    text = SHIPPED.read_text()
    for before, after in (
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{portal};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("/etc/concord/tls/cert.pem", str(cert)),
        ("/etc/concord/tls/key.pem", str(key)),
        ("/var/lib/concord/", f"{home}/"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    if not tls:
        text = re.sub(r"^ *ssl_.*\n", "", text.replace(" ssl http2;", ";"), flags=re.MULTILINE)
    (folder / "concord.conf").write_text(text)
    places = "\n".join(f"  {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    return f"""
daemon off;
{"user root;" if os.getuid() == 0 else ""}
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  log_format sent '$request_uri $upstream_http_x_accel_redirect';
  access_log {folder}/access.log sent;
{places}
  include {folder}/concord.conf;
}}
"""


@contextmanager
def nginx(folder: Path, home: Path, portal: int, *, tls: bool = True) -> Iterator[Nginx]:
    """Run nginx in front of a portal whose files lie in `home`; returns when it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    secure, plain = free_port(), free_port()
    (folder / "nginx.conf").write_text(configuration(folder, home, portal, secure, plain, tls))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Nginx(
        f"{'https' if tls else 'http'}://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}", folder / "cert.pem", folder
    )

    def answers() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text() + (folder / "out.log").read_text()
        try:
            return httpx.get(f"{running.url}/healthz", verify=running.trust).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, 30, "nginx answers")
        yield running
    finally:
        process.terminate()
        process.wait(20)

"""Peers on the loopback interface: dcmtk's tools, and Orthanc in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.embedded.config import free_port
from portal.accounts.models import Organisation
from portal.ingest.models import Source
from portal.peers.models import Peer
from tests.support import wait_for

ORTHANC = "/usr/sbin/Orthanc"
NO_NAGLE = {**os.environ, "TCP_NODELAY": "1"}


def peer(organisation: Organisation, title: str = "PACS1", **values: Any) -> Peer:
    """A peer with every right at 127.0.0.1, and its way in."""
    privacy = values.pop("privacy", Source.Privacy.FULL)
    source = Source.objects.create(
        organisation=organisation, kind=Source.Kind.DIMSE, name=title, ae_title=title, privacy=privacy
    )
    rights = {"may_store": True, "may_query": True, "may_retrieve": True, "may_commit": True}
    fixed = {"name": title, "ae_title": title, "host": "127.0.0.1", "port": 1, "source": source, **rights}
    return Peer.objects.create(organisation=organisation, **{**fixed, **values})


def dcmtk(tool: str, port: int, *more: str, calling: str = "PACS1", seconds: int = 60) -> str:
    """Run a tool of dcmtk against 127.0.0.1 as a peer; returns what it said, and fails with that when it fails."""
    done = run_dcmtk(tool, port, *more, calling=calling, seconds=seconds)
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_dcmtk(
    tool: str, port: int, *more: str, calling: str = "PACS1", seconds: int = 60
) -> subprocess.CompletedProcess[str]:
    """The same, whatever comes of it."""
    command = [tool, "-v", "-aet", calling, "-aec", "CONCORD", "127.0.0.1", str(port), *more]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False, env=NO_NAGLE
    )


@dataclass
class Orthanc:
    """A running Orthanc: its REST interface and its DICOM port."""

    url: str
    port: int
    title: str = "ORTHANC"

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        return httpx.post(self.url + path, json=body, timeout=120).raise_for_status().json()

    def take(self, path: Path) -> str:
        """Store a file; returns Orthanc's key of the instance."""
        return str(
            httpx.post(f"{self.url}/instances", content=path.read_bytes(), timeout=60).raise_for_status().json()["ID"]
        )


@contextmanager
def orthanc(folder: Path, concord_port: int, **settings: Any) -> Iterator[Orthanc]:
    """Run Debian's Orthanc, with Concord as its modality `concord`; returns when it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    port, web = settings.pop("port", 0) or free_port(), free_port()
    config = {
        "Name": "test", "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"),
        "HttpPort": web, "DicomPort": port, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "DicomAlwaysAllowStore": True, "DicomAlwaysAllowMove": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True, "DicomCheckCalledAet": False, "UnknownSopClassAccepted": True,
        "DicomModalities": {"concord": ["CONCORD", "127.0.0.1", concord_port]}, "Plugins": [], **settings,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log, env=NO_NAGLE)
    running = Orthanc(f"http://127.0.0.1:{web}", port)

    def answers() -> bool:
        assert process.poll() is None, (folder / "orthanc.log").read_text(errors="replace")[-2000:]
        try:
            return bool(running.get("/system"))
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, 30, "Orthanc answers")
        yield running
    finally:
        process.terminate()
        process.wait(20)

"""Others that take results: Orthanc (C-STORE and STOW-RS), an HL7 receiver over MLLP, and a FHIR server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hl7
import pydicom
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from hl7.mllp import start_hl7_server

from deploy.embedded.config import free_port
from tests.support import wait_for

USER, PASSWORD = "concord", "a:pass word"


@dataclass
class Orthanc:
    """Debian's Orthanc with its DICOMweb plugin."""

    port: int
    http: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            data: bytes = answer.read()
        return data

    def objects(self) -> list[pydicom.Dataset]:
        found = json.loads(self.get("/instances"))
        return [pydicom.dcmread(io.BytesIO(self.get(f"/instances/{one}/file"))) for one in found]


@contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """Run Orthanc; returns when it answers over HTTP."""
    folder.mkdir(parents=True, exist_ok=True)
    peer = Orthanc(free_port(), free_port())
    settings = {
        "Name": "Owner", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": peer.http, "DicomPort": peer.port, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "ConcurrentJobs": 1,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)

    def answers() -> bool:
        try:
            return bool(peer.get("/system"))
        except OSError:
            return False

    try:
        wait_for(answers, 30, "Orthanc answers")
        yield peer
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Receiver:
    """Who receives HL7: what came, and how each message is acknowledged (AA when `codes` is used up)."""

    port: int
    messages: list[hl7.Message] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


@contextmanager
def hl7_receiver() -> Iterator[Receiver]:
    """An MLLP server of python-hl7 in a thread of its own."""
    peer, ready = Receiver(free_port()), threading.Event()

    async def talk(reader: Any, writer: Any) -> None:
        try:
            message = await reader.readmessage()
        except asyncio.IncompleteReadError:  # somebody only looked whether we are there
            writer.close()
            return
        peer.messages.append(message)
        code = peer.codes.pop(0) if peer.codes else "AA"
        if code != "hang up":
            writer.writemessage(message.create_ack(code))
            await writer.drain()
        writer.close()

    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with await start_hl7_server(talk, "127.0.0.1", peer.port, encoding="utf-8"):
            ready.set()
            await stop.wait()

    # the loop lives in its thread alone: a test's own may belong to the browser's driver
    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield peer
    finally:
        stops[0]()
        thread.join(10)


@dataclass
class Fhir:
    """A FHIR server that keeps DiagnosticReports that are valid R4B, and refuses others with an OperationOutcome."""

    port: int
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # answered first, whatever comes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"


@contextmanager
def fhir_server() -> Iterator[Fhir]:
    """Serve in a thread."""
    peer = Fhir(free_port())

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def _say(self, status: int, body: dict[str, Any], **headers: str) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/fhir+json", "Content-Length": str(len(data)),
                                **headers}.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            found = self.path == "/fhir/metadata"
            body = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"} if found else {}
            self._say(200 if found else 404, body)

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            peer.tokens.append(self.headers.get("Authorization", ""))
            if peer.statuses:
                issue = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "transient"}]}
                self._say(peer.statuses.pop(0), issue)
                return
            report = DiagnosticReport.model_validate_json(body)
            assert self.path == f"/fhir/DiagnosticReport/{report.id}"
            versions = peer.reports.setdefault(str(report.id), [])
            versions.append(json.loads(body))
            self._say(201 if len(versions) == 1 else 200, {}, ETag=f'W/"{len(versions)}"')

    server = ThreadingHTTPServer(("127.0.0.1", peer.port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()

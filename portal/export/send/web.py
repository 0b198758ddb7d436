"""STOW-RS to a DICOMweb server (PS3.18 10.5) and reports to a FHIR server."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from pydicom.dataset import Dataset

from portal.core.sealed import unseal
from portal.export.models import Destination
from portal.peers.client import NotAnswered

SECONDS = httpx.Timeout(30, connect=10)
FHIR_JSON = "application/fhir+json"
SECRET = "destination"


def client(destination: Destination) -> httpx.Client:
    """A client that signs in as the destination wants: bearer token, or `user:password` by Basic."""
    secret = unseal(SECRET, destination.secret)
    name, colon, password = secret.partition(":")
    if colon:
        return httpx.Client(timeout=SECONDS, auth=(name, password))
    return httpx.Client(timeout=SECONDS, headers={"Authorization": f"Bearer {secret}"} if secret else {})


def _ask(destination: Destination, method: str, address: str, **body: Any) -> httpx.Response:
    """One request; redirects are not followed: an identity goes nowhere but to the address that was entered."""
    try:
        with client(destination) as http:
            return http.request(method, destination.url.rstrip("/") + address, **body)
    except httpx.HTTPError as error:
        raise NotAnswered(f"{destination.name} does not answer ({type(error).__name__})") from None


def stow(destination: Destination, objects: Sequence[Dataset]) -> str:
    """Store objects. Raises NotAnswered unless the server says of every one that it has it."""
    boundary = uuid.uuid4().hex
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    answer = _ask(destination, "POST", "/studies", content=_parts(objects, boundary),
                  headers={"Content-Type": kind, "Accept": "application/dicom+json"})  # fmt: skip
    if answer.status_code not in {200, 202, 409}:
        raise NotAnswered(f"{destination.name} answered {answer.status_code}")
    try:
        told: Mapping[str, Any] = answer.json() if answer.content else {}
    except json.JSONDecodeError:
        told = {}
    have = {item["00081155"]["Value"][0] for item in told.get("00081199", {}).get("Value", [])}
    failed = told.get("00081198", {}).get("Value", [])
    wanted = {str(ds.SOPInstanceUID) for ds in objects}
    if failed or not wanted <= have:
        reasons = {hex(code) for item in failed for code in item.get("00081197", {}).get("Value", [])}
        words = f", reason {', '.join(sorted(reasons))}" if reasons else ""
        raise NotAnswered(f"{destination.name} did not store {len(wanted - have)} of {len(wanted)}{words}")
    return f"{len(wanted)} stored ({answer.status_code})"


def _parts(objects: Sequence[Dataset], boundary: str) -> Iterator[bytes]:
    for ds in objects:
        file = io.BytesIO()
        ds.save_as(file, enforce_file_format=True)
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield file.getvalue()
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def studies(destination: Destination) -> str:
    """Whether the server answers QIDO-RS. Raises NotAnswered."""
    answer = _ask(destination, "GET", "/studies?limit=1", headers={"Accept": "application/dicom+json"})
    if answer.status_code not in {200, 204}:
        raise NotAnswered(f"{destination.name} answered {answer.status_code}")
    return f"{destination.name} answers QIDO-RS"


def put_report(destination: Destination, report: Mapping[str, Any]) -> str:
    """Write a DiagnosticReport under its own id (update as create). Raises NotAnswered."""
    answer = _ask(destination, "PUT", f"/DiagnosticReport/{report['id']}", content=json.dumps(report),
                  headers={"Content-Type": FHIR_JSON, "Accept": FHIR_JSON})  # fmt: skip
    if answer.status_code not in {200, 201}:
        raise NotAnswered(f"{destination.name} answered {answer.status_code}{_outcome(answer)}")
    version = answer.headers.get("ETag", "")
    return f"{'created' if answer.status_code == 201 else 'updated'} {version}".strip()


def _outcome(answer: httpx.Response) -> str:
    """The first issue of an OperationOutcome, in its code only: its text could repeat what was sent."""
    try:
        return f" ({answer.json()['issue'][0]['code']})"
    except (ValueError, LookupError, TypeError):
        return ""


def capabilities(destination: Destination) -> str:
    """Whether the server says that it is one of FHIR. Raises NotAnswered."""
    answer = _ask(destination, "GET", "/metadata", headers={"Accept": FHIR_JSON})
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if answer.status_code != 200 or not isinstance(told, dict) or told.get("resourceType") != "CapabilityStatement":
        raise NotAnswered(f"{destination.name} shows no capability statement ({answer.status_code})")
    return f"{destination.name} is a FHIR server, version {told.get('fhirVersion', 'unknown')}"

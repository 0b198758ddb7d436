"""TLS and the rules of admission, with dcmtk's tools and certificates made here."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pydicom.data import get_testdata_file
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from deploy.embedded.config import free_port
from portal.accounts.models import Organisation
from portal.ingest.models import Receipt, Source
from portal.peers import actions
from portal.peers.listener import listen
from tests.factories import archive
from tests.factories.peers import dcmtk, peer, run_dcmtk
from tests.support import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Authority:
    """Signs certificates for 127.0.0.1 into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.subject, self.key.public_key(), ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject: x509.Name, public: Any, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, name: str) -> tuple[Path, Path, str]:
        """(key file, certificate file, SHA-256 of the certificate)."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signed = self._sign(subject, key.public_key(), ca=False)
        paths = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        plain = serialization.NoEncryption()
        kind = serialization.PrivateFormat.TraditionalOpenSSL
        paths[0].write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
        paths[1].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return *paths, signed.fingerprint(hashes.SHA256()).hex()


@pytest.fixture
def lakeside(transactional_db: Any) -> Organisation:
    return archive.organisation("lakeside")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def ports(lakeside: Organisation, authority: Authority, settings: Any) -> Iterator[tuple[int, int]]:
    """(plain, TLS) of a listener that wants its callers' certificates."""
    key, certificate, _ = authority.issue("concord")
    settings.DICOM_TLS_KEY, settings.DICOM_TLS_CERT = str(key), str(certificate)
    settings.DICOM_TLS_CA = str(authority.path)
    plain, tls = free_port(), free_port()
    server = listen("127.0.0.1", plain, tls)
    yield plain, tls
    server.shutdown()


def secure(issued: tuple[Path, Path, str], authority: Authority) -> list[str]:
    """dcmtk's options; they stand before the host in run_dcmtk's command and may follow it as well."""
    return ["+tls", str(issued[0]), str(issued[1]), "+cf", str(authority.path)]


def test_a_peer_over_tls(ports: tuple[int, int], lakeside: Organisation, authority: Authority, tmp_path: Path) -> None:
    plain, tls = ports
    mine = authority.issue("scanner")
    row = peer(lakeside, "SCANNER", tls=True, certificate=mine[2])
    assert run_dcmtk("echoscu", plain, calling="SCANNER").returncode != 0
    dcmtk("echoscu", tls, *secure(mine, authority), calling="SCANNER")
    dcmtk("storescu", tls, *secure(mine, authority), get_testdata_file("CT_small.dcm"), calling="SCANNER")
    assert Receipt.objects.get().source == row.source
    thief = authority.issue("thief")
    assert run_dcmtk("echoscu", tls, *secure(thief, authority), calling="SCANNER").returncode != 0
    stranger = Authority(tmp_path, "stranger")
    forged = stranger.issue("forged")
    assert run_dcmtk("echoscu", tls, *secure(forged, authority), calling="SCANNER").returncode != 0
    nobody = run_dcmtk("echoscu", tls, "+tla", "+cf", str(authority.path), calling="SCANNER")
    assert nobody.returncode != 0
    dcmtk("echoscu", tls, *secure(mine, authority), calling="SCANNER")


def test_we_call_a_peer_over_tls(ports: tuple[int, int], lakeside: Organisation, authority: Authority) -> None:
    issued, taker = authority.issue("pacs"), free_port()
    command = ["storescp", "-aet", "PACS", *secure(issued, authority), "-v", str(taker)]
    scp = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        row = peer(lakeside, "PACS", port=taker, tls=True)
        done = wait_for(lambda: ((r := actions.run_echo(row.pk)).echo_ms is not None and r) or None, 10, "it answers")
        assert done.echo_error == ""
        row.certificate = "0" * 64
        row.save()
        assert "another certificate" in actions.run_echo(row.pk).echo_error
    finally:
        scp.terminate()
        scp.wait(10)


def test_half_open_handshakes_keep_nobody_waiting(
    ports: tuple[int, int], lakeside: Organisation, authority: Authority
) -> None:
    import socket

    peer(lakeside, "SCANNER")
    silent = [socket.create_connection(("127.0.0.1", ports[1])) for _ in range(10)]
    dcmtk("echoscu", ports[1], *secure(authority.issue("scanner"), authority), calling="SCANNER", seconds=8)
    for one in silent:
        one.close()


def refusal(port: int, calling: str, called: str = "CONCORD", keep: bool = False) -> Any:
    ae = AE(ae_title=calling)
    ae.add_requested_context(Verification)
    found = ae.associate("127.0.0.1", port, ae_title=called)
    if found.is_established:
        if not keep:
            found.release()
        return found
    answer = found.acceptor.primitive
    return (answer.result, answer.result_source, answer.diagnostic)


def test_admission(ports: tuple[int, int], lakeside: Organisation) -> None:
    port = ports[0]
    peer(lakeside, "FAR", addresses=["10.0.0.0/8"])
    peer(lakeside, "NEAR", addresses=["127.0.0.0/8"], called_title="ARCHIVE")
    peer(lakeside, "CLOSED", active=False)
    Source.objects.create(organisation=lakeside, kind="dimse", name="any", ae_title="*")
    assert refusal(port, "FAR") == (1, 1, 1)
    assert refusal(port, "NEAR") == (1, 1, 7)
    assert refusal(port, "NEAR", "ARCHIVE").is_released
    assert refusal(port, "CLOSED") == (1, 1, 3)
    assert refusal(port, "ANYONE").is_released


def test_a_peers_associations_are_counted(ports: tuple[int, int], lakeside: Organisation) -> None:
    peer(lakeside, "TWO", most_associations=2)
    peer(lakeside, "SHORT", idle_seconds=1)
    held = [refusal(ports[0], "TWO", keep=True) for _ in range(2)]
    assert refusal(ports[0], "TWO") == (2, 3, 1)
    held[0].release()
    wait_for(lambda: not isinstance(refusal(ports[0], "TWO"), tuple), 5, "the place is free again")
    held[1].abort()
    idle = refusal(ports[0], "SHORT", keep=True)
    wait_for(lambda: idle.is_aborted, 10, "the silent association is ended")

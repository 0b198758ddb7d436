"""The DICOM listener against broken, endless and silent callers, and against kill -9 while it receives."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from deploy.embedded.config import free_port
from portal.ingest import landing
from portal.ingest.models import Receipt
from portal.peers import wire
from portal.peers.listener import listen
from tests.factories import archive
from tests.factories.peers import dcmtk, peer
from tests.support import Stack, wait_for

CT = get_testdata_file("CT_small.dcm")


@pytest.fixture
def port(transactional_db: Any) -> Iterator[int]:
    peer(archive.organisation("lakeside"), "PACS1", most_associations=30)
    number = free_port()
    server = listen("127.0.0.1", number)
    yield number
    server.shutdown()


def recorded(port: int) -> list[bytes]:
    """What a real sender says to store one CT: each PDU as it went out."""
    sent: list[bytes] = []
    proxy = socket.create_server(("127.0.0.1", 0))

    def pass_on() -> None:
        near, _ = proxy.accept()
        far = socket.create_connection(("127.0.0.1", port))
        back = threading.Thread(target=_copy, args=(far, near, []), daemon=True)
        back.start()
        _copy(near, far, sent)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    dcmtk("storescu", proxy.getsockname()[1], CT)
    thread.join(10)
    return list(_pdus(b"".join(sent)))


def _copy(source: socket.socket, target: socket.socket, kept: list[bytes]) -> None:
    while data := source.recv(65536):
        kept.append(data)
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def _pdus(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = struct.unpack(">L", data[2:6])
        yield data[: 6 + length]
        data = data[6 + length :]


def say(port: int, pieces: list[bytes], wait: float = 1.0) -> bytes:
    """Send pieces one after another and read what is answered, until the other side closes or says no more."""
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(wait)
        heard = b""
        try:
            for piece in pieces:
                caller.sendall(piece)
                heard += caller.recv(65536)
        except OSError:
            pass
        return heard


def alive(port: int) -> None:
    dcmtk("echoscu", port)


def test_flipped_bits_and_cut_pdus(port: int) -> None:
    """Every PDU of a real association, broken in many ways: the listener lives and nothing half is taken in."""
    good = recorded(port)
    assert next(p[0] for p in good) == 1 and good[-1][0] == 5
    chance = random.Random(20261121)
    before = set(Receipt.objects.values_list("digest", flat=True))
    for _ in range(60):
        pieces = [bytearray(p) for p in good]
        victim = chance.choice(pieces)
        for _ in range(chance.choice([1, 1, 3, 20])):
            victim[chance.randrange(len(victim))] ^= 1 << chance.randrange(8)
        say(port, [bytes(p) for p in pieces], 0.15)
    for _ in range(30):
        number = chance.randrange(len(good))
        cut = good[number][: chance.randrange(len(good[number]))]
        say(port, [*good[:number], cut], 0.1)
    alive(port)
    wait_for(lambda: not list(landing.incoming().iterdir()), 30, "what broke off is thrown away")
    # a flipped bit in a pixel is still a sound instance of the same UID: set aside, never in place of the first
    assert Receipt.objects.filter(state="received").count() <= len(before) + 60
    for receipt in Receipt.objects.filter(state="received", reason=""):
        assert receipt.size > 0
    dcmtk("storescu", port, CT)


def test_endless_messages_are_bounded(port: int) -> None:
    """A PDU of 4 GiB, an identifier and a command set without end: refused while memory stays where it was."""
    good = recorded(port)
    process = psutil.Process()
    before = process.memory_info().rss
    assert say(port, [struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(1 << 20)], 2) == b""
    assert say(port, [good[0], struct.pack(">BBL", 4, 0, 0xFFFFFFF0) + bytes(1 << 20)], 2)[:1] == b"\x02"
    for control in (1, 0):  # fragments of a command, then of a data set, never the last
        value = bytes([1, control]) + bytes(100_000)
        item = struct.pack(">L", len(value)) + value
        piece = struct.pack(">BBL", 4, 0, len(item)) + item
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.settimeout(5)
            caller.sendall(good[0])
            assert caller.recv(65536)[:1] == b"\x02"
            with pytest.raises(OSError):
                for _ in range(2000):  # 200 MB
                    caller.sendall(piece)
                    caller.setblocking(False)
                    try:
                        if caller.recv(1000) in (b"",):
                            raise ConnectionError("closed")
                        raise ConnectionError("aborted")
                    except BlockingIOError:
                        caller.settimeout(5)
    assert process.memory_info().rss - before < 100e6
    alive(port)


def test_silent_callers_are_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing, or stop in mid-PDU, end by themselves; others are served meanwhile."""
    monkeypatch.setattr(wire, "PDU_SECONDS", 1)
    good = recorded(port)
    half = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for caller in half:
        caller.sendall(good[0][:50])
    alive(port)
    for caller in half:
        caller.settimeout(20)
        assert caller.recv(100) == b""
        caller.close()
    alive(port)


def test_a_flood_of_connections_ends(port: int, settings: Any) -> None:
    """Beyond its threads the listener closes connections at once, and serves again when they are gone."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    closed = 0
    for caller in held:
        caller.settimeout(0.05)
        with contextlib.suppress(OSError):
            closed += caller.recv(1) == b""
    assert closed and threading.active_count() < 4 * settings.MAX_ASSOCIATIONS + 100
    for caller in held:
        caller.close()
    wait_for(lambda: subprocess.run(
        ["echoscu", "-aet", "PACS1", "-aec", "CONCORD", "127.0.0.1", str(port)], capture_output=True
    ).returncode == 0, 40, "it answers again")  # fmt: skip


# --- kill -9 under load ----------------------------------------------------------------------------


def _slices(sender: int) -> Iterator[pydicom.Dataset]:
    """As many as are asked for."""
    study, series = generate_uid(), generate_uid()
    for n in count(1):
        yield archive.image("CT", study=study, series=series, seed=100_000 * sender + n, InstanceNumber=n,
                            PatientID=f"LOAD-{sender}", Rows=256, Columns=256)  # fmt: skip


def _send(
    stack: Stack, images: Iterator[pydicom.Dataset], acknowledged: dict[str, bytes], stop: threading.Event
) -> None:
    """One association after another until it is told to stop; what is not acknowledged is sent again."""
    ae = AE(ae_title="BENCH")
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    ae.connection_timeout = 5
    again: list[pydicom.Dataset] = []
    while not stop.is_set():
        found = ae.associate("127.0.0.1", stack.dicom_port, ae_title=stack.aet)
        if not found.is_established:
            time.sleep(0.3)
            continue
        while not stop.wait(0.1):
            image = again.pop() if again else next(images)
            try:
                status = found.send_c_store(image).get("Status")
            except (RuntimeError, ValueError):
                status = None
            if status != 0x0000:
                again.append(image)
                break
            acknowledged[image.SOPInstanceUID] = image.PixelData
        if found.is_established:
            found.release()


def _children(parent: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(parent).children()]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.stack
@pytest.mark.timeout(2400)
def test_nothing_acknowledged_is_lost_when_the_listener_is_killed(stack: Stack) -> None:
    """Eight associations at once, kill -9 again and again: every acknowledged instance is in the archive, bit for bit.

    CONCORD_LOAD_SECONDS makes it longer (300 for the full run). The kill of one process of the listener alternates with
    that of all of them.
    """
    seconds = float(os.environ.get("CONCORD_LOAD_SECONDS", "20"))
    stop, acknowledged = threading.Event(), [dict[str, bytes]() for _ in range(8)]
    threads = [
        threading.Thread(target=_send, args=(stack, _slices(sender), done, stop))
        for sender, done in enumerate(acknowledged)
    ]
    for thread in threads:
        thread.start()
    end, kills = time.monotonic() + seconds, 0
    # both kinds of kill are seen, and enough sent between them, also where the listener takes as long to start as all
    # of this was meant to last
    while (time.monotonic() < end or kills < 2 or sum(map(len, acknowledged)) < 50) and all(
        t.is_alive() for t in threads
    ):
        time.sleep(4)
        parent = stack.pid("dicom")
        children = wait_for(lambda: _children(stack.pid("dicom")), 120, "the listener has its processes again")
        if kills % 2:
            stack.kill("dicom")
            stack.wait_restarted("dicom", parent)
        else:
            os.kill(children[kills // 2 % len(children)], signal.SIGKILL)
        kills += 1
    stop.set()
    for thread in threads:
        thread.join(60)
    taken = {uid: pixels for done in acknowledged for uid, pixels in done.items()}
    assert kills >= 2 and len(taken) >= 50
    # the bench's source is received as already de-identified, so the UIDs are those that were sent
    query = "SELECT sop_uid, name FROM archive_instance WHERE sop_uid = ANY(%s)"
    rows = wait_for(
        lambda: (len(found := stack.query(query, list(taken))) >= len(taken) and found) or None,
        1800,
        "all are archived",
    )
    assert {row["sop_uid"] for row in rows} == taken.keys()
    for row in rows:
        stored = pydicom.dcmread(stack.home.path / "storage" / "archive" / row["name"])
        assert np.array_equal(
            np.frombuffer(stored.PixelData, np.uint16), np.frombuffer(taken[row["sop_uid"]], np.uint16)
        )
    # what was stored without an answer comes too; the next test finds the house quiet
    under_way = (
        "SELECT 1 FROM ingest_receipt r JOIN ingest_source s ON s.id = r.source_id"
        " WHERE s.ae_title = 'BENCH' AND r.state IN ('received', 'deidentified')"
    )
    wait_for(lambda: not stack.query(under_way), 300, "nothing of it is under way")


def test_places_survive_no_dead_process(tmp_path: Path) -> None:
    """A process that holds a peer's last place is killed: the place is free at once."""
    code = (
        "import sys, time; from pathlib import Path; from portal.peers.wire import Slots;"
        f"print(Slots(Path({str(tmp_path)!r})).take('peer-1', 1), flush=True); time.sleep(60)"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    setup = "import django; django.setup();"
    child = subprocess.Popen([sys.executable, "-c", setup + code], stdout=subprocess.PIPE, env=env)
    assert child.stdout is not None and child.stdout.readline().strip().isdigit()
    slots = wire.Slots(tmp_path)
    assert slots.take("peer-1", 1) is None
    child.kill()
    child.wait()
    assert slots.take("peer-1", 1) is not None

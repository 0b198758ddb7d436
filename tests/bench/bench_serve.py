"""Frames and rendered pictures beside Orthanc: Concord alone, Concord behind nginx, Orthanc, in turns on one machine.

    python -m tests.bench serve [--clients 4] [--seconds 3] [--rounds 3] [--only "jpeg first"]

Each client is a process with one connection that asks for one image after the other and reads every byte; a round is so
many seconds for each server, and the medians of the rounds are compared. `first` asks with a window that nobody asked
for before, so that each picture is made; `cached` asks for the same ones again. CPU is that of the server's process and
its children, for one answer. nginx speaks plain HTTP here, as Orthanc does.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
import pydicom

from inference.phantoms import breast_case, chest
from tests.bench.house import configure
from tests.conftest import start_portal
from tests.factories import ct
from tests.support import Stack, wait_for

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
KINDS = {"CT": (512, 16), "DX": (2048, 4), "MG": (2560, 4)}
Path_ = Callable[[str, int], str]
WORK: dict[str, tuple[str, Path_]] = {
    "frames": (OCTETS, lambda place, number: f"{place}/frames/1"),
    "jpeg first": (
        "image/jpeg",
        lambda place, number: f"{place}/rendered?window={1000 + number / 1000:.3f},3000,linear",
    ),
    "jpeg cached": ("image/jpeg", lambda place, number: f"{place}/rendered?window=1000,3000,linear"),
}


@dataclass
class Server:
    """One server under test: its address, what a request carries, where images lie, its process."""

    name: str
    url: str
    root: str
    header: str
    pids: list[int]
    places: dict[str, list[str]] = field(default_factory=dict)


def ask(link: socket.socket, request: bytes, buffer: bytearray) -> bool:
    """One request on a kept connection, its body read whole; returns whether the connection is kept on.

    Raises SystemExit for anything but 200.
    """
    link.sendall(request)
    head = b""
    while (end := head.find(b"\r\n\r\n")) < 0:
        got = link.recv(65536)
        if not got:
            raise SystemExit("the connection ended")
        head += got
    lines = head[:end].decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if " 200" not in lines[0]:
        raise SystemExit(f"{lines[0]} to {request[:200]!r}")
    kept = fields.get("connection", "").lower() != "close"
    if "content-length" not in fields:
        chunked(link, head[end + 4 :])
        return kept
    length = int(fields["content-length"])
    left = length - (len(head) - end - 4)
    while left > 0:
        left -= link.recv_into(buffer, min(left, len(buffer)))
    return kept


def connection(host: SplitResult) -> socket.socket:
    link = socket.create_connection((host.hostname, host.port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def chunked(link: socket.socket, data: bytes) -> None:
    """Read a chunked body."""
    while True:
        while b"\r\n" not in data:
            data += link.recv(1 << 20)
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        while len(data) < size + 2:
            data += link.recv(1 << 20)
        if not size:
            return
        data = data[size + 2 :]


def client(
    server: Server, kind: str, work: str, first: int, step: int, go: Event, until: Any, counts: Any, which: int
) -> None:
    """One client, in a process of its own."""
    accept, path = WORK[work]
    host = urlsplit(server.url)
    link = connection(host)
    buffer, places, done = bytearray(1 << 20), server.places[kind], 0
    go.wait()
    for number in itertools.count(first, step):
        if time.monotonic() > until.value:
            break
        target = server.root + path(places[number % len(places)], number)
        text = f"GET {target} HTTP/1.1\r\nHost: {host.netloc}\r\nAccept: {accept}\r\n{server.header}\r\n"
        if not ask(link, text.encode(), buffer):
            link.close()
            link = connection(host)
        done += 1
    counts[which] = done


def cpu(pids: list[int]) -> float:
    """CPU seconds of processes and their children so far."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)], used[int(stat.parent.name)] = int(values[1]), sum(map(int, values[11:15]))
    wanted = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    return sum(used.get(pid, 0) for pid in wanted) / os.sysconf("SC_CLK_TCK")


_numbers = itertools.count(1, 10_000_000)


def measure(server: Server, kind: str, work: str, clients: int, seconds: float) -> tuple[float, float]:
    """(answers a second, CPU milliseconds of the server for one)."""
    go, until, counts = multiprocessing.Event(), multiprocessing.Value("d", 0.0), multiprocessing.Array("l", clients)
    start = next(_numbers)
    running = [
        multiprocessing.Process(
            target=client, args=(server, kind, work, start + n, clients, go, until, counts, n), daemon=True
        )
        for n in range(clients)
    ]
    for one in running:
        one.start()
    time.sleep(0.5)
    before, began = cpu(server.pids), time.monotonic()
    until.value = began + seconds
    go.set()
    for one in running:
        one.join()
        if one.exitcode:
            raise SystemExit(f"{server.name}: {work} of {kind} failed")
    taken, done = time.monotonic() - began, sum(counts)
    return done / taken, 1000 * (cpu(server.pids) - before) / done


def scans(folder: Path) -> dict[str, list[Path]]:
    folder.mkdir()
    found: dict[str, list[Path]] = {"CT": [], "DX": [], "MG": []}
    for number, content in enumerate(ct.series(KINDS["CT"][1], KINDS["CT"][0])):
        found["CT"].append(folder / f"ct{number}.dcm")
        found["CT"][-1].write_bytes(content)
    for seed in range(KINDS["DX"][1]):
        found["DX"] += chest(seed, size=(KINDS["DX"][0],) * 2).write(folder / f"dx{seed}", truth=False)
    found["MG"] = breast_case(1, malignant=False, size=(KINDS["MG"][0], 2048)).write(folder / "mg", truth=False)
    return found


@contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """Orthanc, Concord, and Concord behind nginx, with the same images."""
    files = scans(folder / "scans")
    process, stack = start_portal(folder / "portal", CONCORD_X_ACCEL="1", CONCORD_BEHIND_PROXY="1")
    try:
        configure(stack.home)
        from tests.factories.nginx import nginx
        from tests.factories.peers import dcmtk, orthanc

        web = {"Plugins": [PLUGIN], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "KeepAlive": True}
        with orthanc(folder / "orthanc", stack.dicom_port, **web, TcpNoDelay=True) as there:
            every = [str(path) for paths in files.values() for path in paths]
            for path in every:
                there.take(Path(path))
            dcmtk("storescu", stack.dicom_port, *every, calling="DEMO", seconds=600)
            with nginx(folder / "nginx", stack.home.path, urlsplit(stack.url).port or 0, tls=False) as front:
                bearer = f"Authorization: Bearer {stack.user('dave')['token']}\r\n"
                number = int((folder / "nginx" / "pid").read_text())
                theirs = Server("Orthanc", there.url, "/dicom-web", "", [pid_of(there.url)])
                ours = Server("Concord", stack.url, "/dicomweb", bearer, [stack.pid("web")])
                both = Server("nginx", front.url, "/dicomweb", bearer, [stack.pid("web"), number])
                theirs.places = {kind: [place(pydicom.dcmread(p, stop_before_pixels=True)) for p in paths]
                                 for kind, paths in files.items()}  # fmt: skip
                ours.places = both.places = settled(stack, len(every))
                yield [theirs, ours, both]
    finally:
        process.terminate()
        process.wait(60)


def pid_of(url: str) -> int:
    """The process that listens on an address's port."""
    port = f":{urlsplit(url).port:04X} "
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines() if port in line]
    inode = next(row[9] for row in rows if row[3] == "0A")
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if handle.readlink().name == f"socket:[{inode}]":
                return int(handle.parts[2])
        except OSError:
            continue
    raise SystemExit(f"nobody listens at {url}")


def place(ds: pydicom.Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def settled(stack: Stack, count: int) -> dict[str, list[str]]:
    """Modality → addresses, once everything is archived and nothing is at work any more."""
    query = """SELECT se.modality, st.study_uid, se.series_uid, i.sop_uid FROM archive_instance i
               JOIN archive_series se ON se.id = i.series_id JOIN archive_study st ON st.id = i.study_id
               WHERE st.state = 'settled' AND i.rows > 0 AND NOT i.opinion"""
    rows = wait_for(lambda: (r := stack.query(query)) and len(r) >= count and r, 600, "everything is archived")
    idle = "SELECT 1 FROM core_outboxevent WHERE state IN ('waiting', 'leased') LIMIT 1"
    wait_for(lambda: not stack.query(idle), 900, "the workers have done their work")
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for r in rows:
        found[r["modality"]].append(f"/studies/{r['study_uid']}/series/{r['series_uid']}/instances/{r['sop_uid']}")
    return found


def warm(server: Server, work: str) -> None:
    """Ask for everything a few times, so that what can lie ready does."""
    accept, path = WORK[work]
    name, _, value = server.header.strip().partition(": ")
    headers = {"Accept": accept, **({name: value} if name else {})}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as http:
        for target in [server.root + path(one, 0) for places in server.places.values() for one in places] * 2:
            http.get(target).raise_for_status()
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WORK, action="append", help="this work alone; may be repeated")
    options = parser.parse_args(sys.argv[2:])
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    try:
        with servers(folder) as run:
            print(
                f"{options.clients} clients, {options.rounds} rounds of {options.seconds} s, "
                f"load {os.getloadavg()[0]:.1f}"
            )
            print("| work | images | Orthanc /s | Concord /s | ratio | behind nginx /s | ratio | CPU ms each: Orthanc, "
                  "Concord, behind nginx |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
            for work in options.only or WORK:
                for server in run:
                    if work != "jpeg first":
                        warm(server, work)
                for kind in KINDS:
                    rates: dict[str, list[tuple[float, float]]] = {server.name: [] for server in run}
                    for _ in range(options.rounds):
                        for server in run:
                            rates[server.name].append(measure(server, kind, work, options.clients, options.seconds))
                    a, b, c = (statistics.median(rate for rate, _ in rates[server.name]) for server in run)
                    costs = ", ".join(f"{statistics.median(c for _, c in rates[s.name]):.2f}" for s in run)
                    print(f"| {work} | {kind} | {a:.1f} | {b:.1f} | {b / a:.2f} | {c:.1f} | {c / a:.2f} | {costs} |",
                          flush=True)  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

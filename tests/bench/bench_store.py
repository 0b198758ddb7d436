"""C-STORE beside Orthanc: the same sender, the same images under new UIDs, in turns on one machine.

    CONCORD_BENCH_ROUNDS=3 python -m tests.bench store

Concord twice in each round: with its workers held, so that both servers only receive, and with de-identification and
archiving at work on the same cores, which Orthanc does not do.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.phantoms import breast_case, chest
from tests.bench.house import configure
from tests.conftest import start_portal
from tests.support import Stack

ROUNDS = int(os.environ.get("CONCORD_BENCH_ROUNDS", "3"))
WORKERS = ("identities", "default")
NO_NAGLE = {**os.environ, "TCP_NODELAY": "1"}


def files(folder: Path) -> dict[str, tuple[Path, int]]:
    """Kind of image → (file, how often it is sent by one sender)."""
    from tests.factories.archive import encoded, image

    ct = folder / "ct.dcm"
    ct.write_bytes(encoded(image("CT", Rows=512, Columns=512)))
    dx = chest(1, size=(2048, 2048)).write(folder / "dx")[0]
    mg = breast_case(1, malignant=False, size=(2560, 2048)).write(folder / "mg")[0]
    return {"CT 512²": (ct, 60), "DX 2048²": (dx, 8), "MG 2560 × 2048": (mg, 8)}


def send(port: int, called: str, path: Path, times: int, senders: int) -> float:
    """Instances per second of so many senders at once, each with one association."""
    command = ["storescu", "-aet", "BENCH", "-aec", called, "--repeat", str(times), "+II"]
    begin = time.perf_counter()
    running = [
        subprocess.Popen([*command, "127.0.0.1", str(port), str(path)], env=NO_NAGLE, stdout=subprocess.DEVNULL)
        for _ in range(senders)
    ]
    if any(one.wait(600) for one in running):
        raise SystemExit(f"{called} did not take everything")
    return times * senders / (time.perf_counter() - begin)


@contextmanager
def held(stack: Stack) -> Iterator[None]:
    """The portal's workers stand still meanwhile."""
    for name in WORKERS:
        os.killpg(stack.pid(name), signal.SIGSTOP)
    try:
        yield
    finally:
        for name in WORKERS:
            os.killpg(stack.pid(name), signal.SIGCONT)


def main() -> None:
    """Print one row for each kind of image and number of associations: medians of the rounds."""
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    process, stack = start_portal(folder / "portal")
    try:
        configure(stack.home)
        from tests.factories.peers import orthanc  # wants a configured Django

        with orthanc(folder / "orthanc", stack.dicom_port) as there:
            print("| images | associations | Orthanc /s | Concord /s | ratio | workers at work /s | ratio |")
            print("|---|---|---|---|---|---|---|")
            for kind, (path, times) in files(folder).items():
                for senders in (1, 4):
                    rates: dict[str, list[float]] = {"orthanc": [], "held": [], "working": []}
                    for _ in range(ROUNDS):
                        rates["orthanc"].append(send(there.port, "ORTHANC", path, times, senders))
                        with held(stack):
                            rates["held"].append(send(stack.dicom_port, stack.aet, path, times, senders))
                        rates["working"].append(send(stack.dicom_port, stack.aet, path, times, senders))
                    theirs, *ours = (statistics.median(rates[name]) for name in ("orthanc", "held", "working"))
                    cells = " | ".join(f"{rate:.1f} | {rate / theirs:.2f}" for rate in ours)
                    print(f"| {kind} | {senders} | {theirs:.1f} | {cells} |", flush=True)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)

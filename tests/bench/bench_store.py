"""C-STORE beside Orthanc: the same sender, the same images under new UIDs, in turns on one machine."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from inference.phantoms import breast_case
from tests.bench.house import configure
from tests.conftest import start_portal

ROUNDS = int(os.environ.get("CONCORD_BENCH_ROUNDS", "3"))
NO_NAGLE = {**os.environ, "TCP_NODELAY": "1"}


def files(folder: Path) -> dict[str, tuple[Path, int]]:
    """Kind of image → (file, how often it is sent by one sender)."""
    from tests.factories.archive import encoded, image

    ct = folder / "ct.dcm"
    ct.write_bytes(encoded(image("CT", Rows=512, Columns=512)))
    mg = breast_case(1, malignant=False, size=(2560, 2048)).write(folder / "mg")[0]
    return {"CT 512²": (ct, 60), "MG 2560 × 2048": (mg, 8)}


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


def main() -> None:
    """Print one row for each kind of image and number of associations: medians of the rounds."""
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    process, stack = start_portal(folder / "portal")
    try:
        configure(stack.home)
        from tests.factories.peers import orthanc  # wants a configured Django

        with orthanc(folder / "orthanc", stack.dicom_port) as there:
            print("| images | associations | Orthanc /s | Concord /s | ratio |\n|---|---|---|---|---|")
            for kind, (path, times) in files(folder).items():
                for senders in (1, 4):
                    rates: dict[str, list[float]] = {"ORTHANC": [], stack.aet: []}
                    for _ in range(ROUNDS):
                        for called, port in (("ORTHANC", there.port), (stack.aet, stack.dicom_port)):
                            rates[called].append(send(port, called, path, times, senders))
                    theirs, ours = (statistics.median(rates[name]) for name in ("ORTHANC", stack.aet))
                    print(f"| {kind} | {senders} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} |", flush=True)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)

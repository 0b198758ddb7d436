"""A thousand scans through the worker processes, the gpu worker killed once in the middle.

    python -m tests.bench load [--scans 1000] [--side 1024] [--workers 2]

Chest phantoms are stored by the archive's own actions, in three processes; `default`, `transfer`, `gpu` and `beat` are
the processes that the supervisor starts. From there all is theirs: planning, preparing, running, storing, and what
follows a run. When four in ten are done the gpu worker is killed (kill -9) and started again at once, as the supervisor
would. Latency is from the settled study to its stored result. Nothing may be lost, nothing may be there twice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from tests.bench.house import House, house, memory_mb, row

PARTS = 10
PATIENCE = 7200.0  # seconds
STORING = 3  # processes that store


def store(scans: int, side: int, first: int) -> None:
    """Store scans, in a process of its own."""
    import django

    django.setup()
    from tests.bench.house import stored

    stored("chest", scans, side, first)


def drive(scans: int, side: int, workers: int) -> None:
    """Have scans stored, watch, kill, count."""
    import django

    django.setup()
    from deploy.embedded.config import Home
    from portal.infer.models import Run

    share = -(-scans // STORING)
    command = [sys.executable, "-m", "tests.bench.bench_load", "--side", str(side)]
    parts = [(first, min(share, scans - first)) for first in range(0, scans, share)]
    storing = [subprocess.Popen([*command, "--store", str(first), "--scans", str(n)]) for first, n in parts]
    for variable in ("DATABASE_URL", "BROKER_URL"):
        os.environ.pop(variable)  # ours; the workers have their zones'
    place = House(Home.open())
    place.start("default", "--concurrency", str(workers))
    place.start("transfer")  # it fetches earlier studies, here none
    place.start("beat")
    gpu = place.start("gpu")
    done = Run.objects.filter(state=Run.State.DONE)
    began, killed, part = time.time(), False, 0
    before = began
    row("runs done", "after s", "runs/s in this part", "gpu worker MB")
    row(*["---"] * 4)
    try:
        while part < PARTS:
            count = done.count()
            if not killed and count >= 0.4 * scans and Run.objects.filter(state=Run.State.RUNNING).exists():
                place.kill("gpu")
                left = Run.objects.filter(state=Run.State.RUNNING).count()
                gpu, killed = place.start("gpu"), True
                row(f"{count}: killed with {left} under way", f"{time.time() - began:.0f}", "", "")
            if count >= scans * (part + 1) / PARTS:
                now = time.time()
                row(count, f"{now - began:.0f}", f"{scans / PARTS / (now - before):.1f}", f"{memory_mb(gpu):.0f}")
                before, part = now, part + 1
            assert time.time() - began < PATIENCE, f"{count} of {scans} done"
            time.sleep(0.1)
        for process in storing:
            assert process.wait() == 0
        settled()
    finally:
        for name in ("gpu", "beat", "transfer", "default"):
            place.stop(name)
    told(scans)


def settled() -> None:
    """Wait until nothing is owed to anybody."""
    from portal.core.models import OutboxEvent

    end = time.time() + PATIENCE
    while OutboxEvent.objects.filter(state__in=("waiting", "leased")).exists() and time.time() < end:
        time.sleep(0.5)


def told(scans: int) -> None:
    """Print what is there and what is not."""
    from django.db.models import Count, F

    from portal.archive.models import Study
    from portal.billing.models import LedgerEntry
    from portal.core.models import OutboxEvent
    from portal.infer.models import CaseResult, ImageResult, Matrix, Run

    runs = Run.objects.annotate(n=Count("images")).annotate(took=F("finished_at") - F("study__state_since"))
    took = sorted(run.took.total_seconds() for run in runs)
    alone = sorted((run.finished_at - run.started_at).total_seconds() for run in runs)
    again = Run.objects.filter(attempts__gt=1).count()
    finished = OutboxEvent.objects.filter(topic="infer.run_finished")
    row("what", "number")
    row("---", "---")
    row("scans", Study.objects.count())
    row("runs, of them done", f"{Run.objects.count()}, {Run.objects.filter(state='done').count()}")
    row("scans without a run, with several", f"{Study.objects.filter(runs=None).count()}, "
        f"{Study.objects.annotate(n=Count('runs')).filter(n__gt=1).count()}")  # fmt: skip
    row("results of cases, of images, matrices", f"{CaseResult.objects.count()}, {ImageResult.objects.count()}, "
        f"{Matrix.objects.count()}")  # fmt: skip
    row("runs without exactly one image", runs.exclude(n=1).count())
    row("run again after the kill", again)
    row("follow-ups owed, of them done", f"{finished.count()}, {finished.filter(state='done').count()}")
    row("uses booked, for so many runs", f"{LedgerEntry.objects.filter(kind='run').count()}, "
        f"{LedgerEntry.objects.filter(kind='run').values('reference').distinct().count()}")  # fmt: skip
    for name, times in (("settled to stored", took), ("claimed to stored", alone)):
        p50, p95 = times[len(times) // 2], times[int(0.95 * len(times))]
        row(f"{name}: p50, p95, longest s", f"{p50:.2f}, {p95:.2f}, {times[-1]:.2f}")
    assert Run.objects.filter(state="done").count() == scans == ImageResult.objects.count()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=2, help="processes of the default worker")
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=int, help=argparse.SUPPRESS)
    args, _ = parser.parse_known_args()
    if args.store is not None:
        store(args.scans, args.side, args.store)
    elif args.drive:
        drive(args.scans, args.side, args.workers)
    else:
        with house() as place:
            place.drive("tests.bench.bench_load", "--drive", "--scans", str(args.scans), "--side", str(args.side),
                        "--workers", str(args.workers))  # fmt: skip


if __name__ == "__main__":
    main()

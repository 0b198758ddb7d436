"""Inference end to end, from archive to stored result, against the bare forward pass of the same network.

    python -m tests.bench inference [--images 64] [--rounds 5] [--only NAME]

Bare is the forward pass over inputs in memory at the batch size, found by trial, that is fastest. Engine is the
serving engine in the same process: kept inputs from disk → batches → findings. Worker is the gpu worker process of a
portal with PostgreSQL and Valkey: queued runs → kept inputs → findings → stored results, from the first run's start to
the last one's end. They alternate, so that a busy machine slows all; the median of the rounds counts. Preparing (DICOM
file → kept input) is work of the CPU workers before, and has a column of its own. Wanted: ratios of 90 % or more.

Processor time is what an image costs in all threads of the bare loop, of the worker process, and of PostgreSQL for it.
Where the forward pass runs on the same cores, bare : (worker + database) is the most that can be reached, however busy
the machine is with other things.
"""

from __future__ import annotations

import argparse
import os
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.bench.house import House, house, row
from tests.bench.packages import NAMES, write_packages

SIZES = (1, 2, 4, 8, 16, 32, 64)
SIDE = 2048


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, with the device's queue drained."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def best_batch(forward: Callable[[torch.Tensor], object], pixels: torch.Tensor) -> int:
    """The batch size with the most images a second; the best of three tries each."""
    found: dict[int, float] = {}
    for size in SIZES:
        if size > len(pixels):
            break
        part = pixels[:size]
        forward(part)
        found[size] = min(seconds(partial(forward, part)) for _ in range(3)) / size
    return min(found, key=lambda size: found[size])


def used(pids: Iterable[int]) -> float:
    """Seconds of processor time of processes with their children so far."""
    import psutil

    found = [psutil.Process(pid) for pid in pids]
    found += [child for process in found for child in process.children(recursive=True)]
    return float(sum(sum(process.cpu_times()[:2]) for process in found))


def drive(name: str, precision: str, images: int, rounds: int, side: int, threads: int, batch: int) -> None:
    """One line of the table, in the process that asks; the worker is started beside it."""
    import django

    django.setup()
    from django.conf import settings

    from deploy.embedded.config import Home
    from inference.package import load
    from inference.package.function import Batch
    from inference.serving import Engine, Request, ended
    from portal.archive.models import Study
    from portal.functions.models import FunctionVersion
    from portal.infer.inputs import SHELF, images_of, prepared
    from tests.bench.house import stored

    torch.set_num_threads(threads)
    package = load(settings.PACKAGES_ROOT / name, precision=precision)
    kind, each = ("breast", 4) if package.manifest.preprocessing == "breast" else ("chest", 1)
    keys = stored(kind, images // each, side)
    found = images_of(Study.objects.filter(pk__in=keys))
    instances = [instance for key in keys for instance in found[key]]
    making = time.process_time()
    for instance in instances:
        prepared(instance, package.preparation)
    making = (time.process_time() - making) / len(instances)
    kept = [SHELF.find(package.preparation.key(instance.sha256)) or b"" for instance in instances]
    pixels = Batch.of([prepared(instance, package.preparation) for instance in instances]).pixels
    size = batch or best_batch(package._forward, pixels)

    def bare() -> None:
        for part in pixels.split(size):
            package._forward(part)

    def engine() -> None:
        into: queue.SimpleQueue[Request] = queue.SimpleQueue()
        asked = []
        for key in keys:
            sources = [partial(prepared, instance, package.preparation) for instance in found[key]]
            asked.append(serving.submit(package, sources, into=into))
        for requests in ended(asked, into):
            assert all(request.error is None for request in requests)

    version = FunctionVersion.objects.select_related("function").get(package=name)
    for variable in ("DATABASE_URL", "BROKER_URL"):
        os.environ.pop(variable)  # ours; the worker has its zone's
    place = House(Home.open())
    limits = {"CONCORD_INFERENCE_BATCH": str(size), "CONCORD_INFERENCE_THREADS": str(threads)}
    gpu = place.start("gpu", CONCORD_PRECISION=precision, **limits)
    postgres = int((place.home.path / "postgres" / "postmaster.pid").read_text().split()[0])
    times: list[tuple[float, float, float]] = []
    costs: list[tuple[float, float, float]] = []
    try:
        with Engine(batch=size) as serving:
            worker_seconds(keys, version)  # and the worker has loaded, connected and warmed
            for work in (bare, engine):
                work()
            for _ in range(rounds):
                own, began = time.process_time(), seconds(bare)
                own = time.process_time() - own
                through = seconds(engine)
                before = used([gpu]), used([postgres])
                times.append((began, through, worker_seconds(keys, version)))
                costs.append((own, used([gpu]) - before[0], used([postgres]) - before[1]))
    finally:
        place.stop("gpu")
    rates = [len(instances) / statistics.median(column) for column in zip(*times, strict=True)]
    parts = [statistics.median(line[0] / line[n] for line in times) for n in (1, 2)]
    spent = [1000 * statistics.median(column) / len(instances) for column in zip(*costs, strict=True)]
    row(name, precision, package.device, f"{len(kept[0]) / 1024:.0f} kB", f"{making * 1000:.1f}", size,
        f"{rates[0]:.1f}", f"{rates[1]:.1f}", f"{parts[0]:.0%}", f"{rates[2]:.1f}", f"{parts[1]:.0%}",
        f"{spent[0]:.1f}", f"{spent[1]:.1f}", f"{spent[2]:.1f}", f"{spent[0] / (spent[1] + spent[2]):.0%}")  # fmt: skip


def worker_seconds(keys: list[int], version: Any) -> float:
    """Queue one run a study, wait until all are done; from the first start to the last end by the database."""
    from django.db import transaction
    from django.db.models import F, Max, Min

    from portal.archive.models import Study
    from portal.core import outbox
    from portal.infer.models import Run

    Study.objects.filter(pk__in=keys).update(revision=F("revision") + 1)
    with transaction.atomic():
        runs = Run.objects.bulk_create(
            Run(study=study, version=version, study_revision=study.revision, organisation_id=study.organisation_id,
                state="queued", ready=True)
            for study in Study.objects.filter(pk__in=keys)
        )  # fmt: skip
        outbox.emit_all("infer.run_queued", [run.pk for run in runs])
    mine = Run.objects.filter(pk__in=[run.pk for run in runs])
    end = time.monotonic() + 600
    while mine.exclude(state="done").exists():
        assert not mine.filter(state="failed").exists(), list(mine.values_list("error", flat=True))
        assert time.monotonic() < end, list(mine.values_list("state", flat=True))
        time.sleep(0.25)
    span = mine.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return float((span["last"] - span["first"]).total_seconds())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of the scans")
    parser.add_argument("--only", help="one function")
    parser.add_argument("--drive", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a forward pass on a CPU")
    parser.add_argument("--batch", type=int, default=0, help="images of a forward pass; 0: the best by trial")
    args, _ = parser.parse_known_args()
    if args.drive:
        drive(*args.drive, args.images, args.rounds, args.side, args.threads, args.batch)
        return
    row("function", "precision", "device", "kept input", "preparing, processor ms", "batch", "bare images/s",
        "engine images/s", "ratio", "worker images/s", "ratio", "bare: processor ms an image", "worker", "database",
        "ratio")  # fmt: skip
    row(*["---"] * 15)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the supervisor sets it for the worker: the same for all
    with tempfile.TemporaryDirectory(prefix="concord-packages-") as folder:
        write_packages(Path(folder))
        with house(Path(folder)) as place:
            for name, precision in NAMES:
                if args.only in {None, name}:
                    count = args.images if name != "heatmap-large" else max(args.images // 2, 1)
                    place.drive("tests.bench.bench_inference", "--drive", name, precision, "--images", str(count),
                                "--rounds", str(args.rounds), "--side", str(args.side),
                                "--threads", str(args.threads), "--batch", str(args.batch))  # fmt: skip


if __name__ == "__main__":
    main()

"""Throughput of package.run, end to end, against the bare forward pass of the same network.

    python tests/bench/bench_inference.py [--images 32] [--threads 2] [--device auto]

End to end is: DICOM files on disk → decoding, windowing, preparation → forward pass → matrices over the
image, calls, regions, case. The bare pass runs the same batches from memory. Both alternate, so that a
busy machine slows both; the best of the rounds counts. Wanted: a ratio of 90 % or more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from inference.package import FunctionPackage, load
from inference.package.function import BATCH
from inference.phantoms import breast_case, chest

SHIPPED = Path(__file__).parents[2] / "inference" / "shipped"


def files(kind: str, count: int, folder: Path) -> list[Path]:
    """`count` phantoms of the usual size on disk."""
    if kind == "breast":
        made = [path for seed in range(-(-count // 4)) for path in breast_case(seed).write(folder / str(seed))]
        return made[:count]
    return [chest(seed).write(folder / str(seed))[0] for seed in range(count)]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, with the device's queue drained."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(package: FunctionPackage, paths: list[Path], rounds: int) -> tuple[float, float]:
    """Best images per second (bare, end to end)."""
    batches = [package.prepare(paths[i : i + BATCH]).pixels for i in range(0, len(paths), BATCH)]

    def bare() -> None:
        for pixels in batches:
            package._forward(pixels)

    def whole() -> None:
        package.run(paths)

    bare()
    whole()
    times = [(seconds(bare, package.device), seconds(whole, package.device)) for _ in range(rounds)]
    return len(paths) / min(t for t, _ in times), len(paths) / min(t for _, t in times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| function | device | images | bare images/s | end to end images/s | ratio |")
    print("|---|---|---|---|---|---|")
    for name, kind in (("heatmap-chest-phantom", "chest"), ("malignancy-mammo-phantom", "breast")):
        package = load(SHIPPED / name, args.device)
        with tempfile.TemporaryDirectory() as folder:
            bare, whole = measure(package, files(kind, args.images, Path(folder)), args.rounds)
        print(
            f"| {name} | {package.device} | {args.images} | {bare:.1f} | {whole:.1f} | {whole / bare:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

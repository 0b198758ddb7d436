"""What CPU (or CUDA) options do to speed and to the answers of the shipped functions.

    python -m tests.bench precision [--images 32] [--rounds 5]

Each option against float32 with channels_last on all cores, alternating: the ratio of speeds (median of the rounds),
the largest difference of a probability, whole-image and in maps, and the calls that differ on held-out phantoms.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from inference.package import FunctionPackage, load
from inference.package.function import Batch, Outputs
from inference.phantoms import breast_case, chest
from tests.bench.bench_inference import seconds
from tests.bench.house import row
from tests.bench.packages import BREAST, CHEST, LARGE, write_packages

SEED = 7_000_000  # no phantom of a training run
BATCH = 8


@dataclass
class Option:
    """One way of running a function."""

    name: str
    package: FunctionPackage
    threads: int

    def outputs(self, batch: Batch) -> Outputs:
        torch.set_num_threads(self.threads)
        return self.package.predict(batch)


def options(folder: Path, device: str, compiled: bool) -> list[Option]:
    """The first is what the others are compared with."""
    cores = torch.get_num_threads()
    found = [Option("float32", load(folder, device, "float32"), cores)]
    found.append(Option("bfloat16", load(folder, device, "bfloat16"), cores))
    if torch.cuda.is_available():
        found.append(Option("float16", load(folder, device, "float16"), cores))
    else:
        found.append(Option("float32, one thread", found[0].package, 1))
        plain = load(folder, device, "float32")
        plain.network = plain.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        found.append(Option("float32, channels first", plain, cores))
    if compiled:
        found.append(Option("float32, torch.compile", load(folder, device, "float32", compiled=True), cores))
        found.append(Option("bfloat16, torch.compile", load(folder, device, "bfloat16", compiled=True), cores))
    return found


def compare(name: str, kept: list[Option], batches: list[Batch], rounds: int) -> None:
    """Print one line an option."""
    speeds: dict[str, list[float]] = {option.name: [] for option in kept}
    said = {}
    for option in kept:
        said[option.name] = [option.outputs(batch) for batch in batches]
    for _ in range(rounds):
        for option in kept:
            work: Callable[[], object] = partial(lambda o: [o.outputs(batch) for batch in batches], option)
            speeds[option.name].append(seconds(work))
    first = said[kept[0].name]
    thresholds = kept[0].package.manifest.thresholds
    limits = np.array([thresholds[c] for c in kept[0].package.manifest.classes])
    for option in kept:
        pairs = list(zip(first, said[option.name], strict=True))
        pooled = max(float(np.abs(a.pooled - b.pooled).max()) for a, b in pairs)
        maps = max(
            float(np.abs(x[n] - y[n]).max()) for a, b in pairs for x, y in zip(a.maps, b.maps, strict=True) for n in x
        )
        calls = sum(int(((a.pooled >= limits) != (b.pooled >= limits)).sum()) for a, b in pairs)
        total = sum(a.pooled.size for a in first)
        ratio = statistics.median(a / b for a, b in zip(speeds[kept[0].name], speeds[option.name], strict=True))
        row(name, option.name, f"{ratio:.2f}", f"{pooled:.4f}", f"{maps:.4f}", f"{calls} of {total}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; needs a C++ compiler")
    args, _ = parser.parse_known_args()
    row("function", "option", "speed", "largest difference, image", "in maps", "calls that differ")
    row(*["---"] * 6)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_packages(folder)
        for function in (CHEST, BREAST, LARGE):
            kept = options(folder / function, args.device, args.compile)
            count = args.images if function != LARGE else BATCH
            if function == BREAST:
                drawn = [breast_case(SEED + n, size=(1024, 832)) for n in range(-(-count // 4))]
            else:
                drawn = [chest(SEED + n, size=(1024, 1024)) for n in range(count)]
            paths = [path for n, scan in enumerate(drawn) for path in scan.write(folder / function / str(n))]
            batches = [kept[0].package.prepare(paths[i : i + BATCH]) for i in range(0, len(paths), BATCH)]
            compare(function, kept, batches, args.rounds)


if __name__ == "__main__":
    main()

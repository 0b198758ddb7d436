"""How well faces of heads are hidden, and how long a look at a series takes.

    python -m tests.bench faces [--heads 20] [--first 0] [--modality CT] [--thin] [--one-key] [--looks]

A probe (a scan of the original face, 2 mm) looks for its own among the results of all heads: the nearest surface by
mean distance. Each result has a key of its own, as at the door; with --one-key also one for all, as if it were known.
--thin  slices of 1 mm, of which the planner takes every second; else of 3 mm. --looks: the times alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.bench.house import row
from tests.factories.heads import Head
from tests.factories.planted.measure import wilson


def again(count: int, first: int, modality: str, spacing: tuple[float, float, float], one_key: bool) -> None:
    """Print how many heads are found again, before and after; one_key: also as if all results had one key."""
    from tests.factories import heads
    from tests.factories.faces_apart import distances, found_again, generic, relief

    faces, own, one = [], [], []
    for number in range(first, first + count):
        head = heads.scan(number, modality, spacing, same_size=True)
        faces.append(relief(head, np.stack(head.slices)))
        key = np.random.default_rng(number).bytes(32)
        own.append(relief(head, generic(head, key)[1]))
        if one_key:
            one.append(relief(head, generic(head, bytes(range(32)))[1]))
    numbers = range(first, first + count)
    scans = (heads.scan(number, modality, (2.0, 2.0, 2.0), same_size=True) for number in numbers)
    probes = np.stack([relief(head, np.stack(head.slices)) for head in scans])
    for name, made in (("before", faces), ("after", own), *([("after, one key for all", one)] if one_key else [])):
        gallery = np.stack(made)
        for centred, way in ((False, "as it is"), (True, "by what differs from the mean")):
            shift = [np.nanmean(v, 0) if centred else 0.0 for v in (probes, gallery)]
            hits = found_again(probes - shift[0], gallery - shift[1])
            low, high = wilson(hits, count)
            row(modality, name, way, f"{hits} / {count}", f"{100 * low:.1f} to {100 * high:.1f} %")
        apart = distances(gallery, gallery)[~np.eye(count, dtype=bool)].mean()
        row(modality, name, "mean distance of two, mm", f"{apart:.2f}", "")


def fine(slices: int, side: int) -> Head:
    """A head of so many slices of side × side pixels, each with noise of its own; 240 mm from top to bottom."""
    from tests.factories import heads

    head = heads.scan(3, "CT", (240 / slices, 580 / side, 520 / side), noise=0.0)
    random = np.random.default_rng(3)
    for n, plane in enumerate(head.planes):
        head.planes[n] = replace(plane, spacing=(290 / side, 260 / side), shape=(side, side))
        large = head.slices[n].repeat(2, 0).repeat(2, 1)
        head.slices[n] = np.round(large + random.normal(0, 8, large.shape)).astype(np.float32)
    head.labels.clear()
    return head


def looks() -> None:
    """Print what a look costs at 300 slices in files of several syntaxes, and at one file of 2,000 frames."""
    from tests.factories import head_files
    from tests.factories.enhanced import Part, enhanced

    row("what", "syntax", "size", "look, s", "first file anew, s", "peak of the process, MB")
    head = fine(300, 512)
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless):
        with tempfile.TemporaryDirectory() as folder:
            for n, ds in enumerate(head_files.datasets(head)):
                if syntax != ExplicitVRLittleEndian:
                    ds.compress(syntax)
                (Path(folder) / f"{n:04}.dcm").write_bytes(head_files.encoded(ds))
            costs("300 files of 512 × 512", syntax.name, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        made = enhanced([Part(fine(2000, 256))], shuffled=1)
        (Path(folder) / "one.dcm").write_bytes(head_files.encoded(made.dataset))
        costs("1 file of 2,000 frames of 256 × 256", ExplicitVRLittleEndian.name, Path(folder))


def costs(what: str, syntax: str, folder: Path) -> None:
    """Measure in a process of its own, whose memory is then that of the look, and print the row."""
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    command = [sys.executable, "-m", "tests.bench", "faces", "--folder", str(folder)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    row(what, syntax, f"{size:.0f} MB", *out.split())


def of_folder(folder: Path) -> None:
    """Print processor seconds of a look, of writing the first file anew, and the peak of memory in MB."""
    from portal.deidentify.faces.series import Series
    from portal.deidentify.faces.whole import painted
    from portal.deidentify.pixels.cover import covered
    from portal.ingest.inspect import opened

    series, paths = Series(lambda _: bytes(32)), sorted(folder.iterdir())
    for path in paths:
        with opened(path) as file:
            series.note(path, file.dataset)
    begun = time.process_time()
    face = series.face(paths[0])
    looked = time.process_time()
    if face.plan is None:
        raise SystemExit(f"no plan: {face.reason}")
    with opened(paths[0]) as file, covered(file, (), painted(file, face)):
        pass
    done = time.process_time()
    status = Path("/proc/self/status").read_text()  # not ru_maxrss, which begins with what the parent had
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e3
    print(f"{looked - begun:.1f} {done - looked:.1f} {peak:.0f}")


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    parser = argparse.ArgumentParser(prog="python -m tests.bench faces")
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first head")
    parser.add_argument("--thin", action="store_true")
    parser.add_argument("--one-key", action="store_true")
    parser.add_argument("--modality", nargs="*", default=["CT", "MR"])
    parser.add_argument("--looks", action="store_true")
    parser.add_argument("--folder", type=Path, help="the costs of a look at these files")
    options = parser.parse_args(sys.argv[2:] if arguments is None else arguments)
    if options.folder:
        of_folder(options.folder)
    elif options.looks:
        looks()
    else:
        row("modality", "when", "compared", "found again", "95 % interval")
        for modality in options.modality:
            again(
                options.heads,
                options.first,
                modality,
                (1.0, 1.0, 1.0) if options.thin else (3.0, 2.5, 2.5),
                options.one_key,
            )


if __name__ == "__main__":
    main()

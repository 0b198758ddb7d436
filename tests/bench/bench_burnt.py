"""Text burnt into images: recall and precision by kind, and time, on planted cases of seeds that nothing was tuned on.

An identifier counts as removed when at least 95 % of its ink lies under fiducials, clinical text as kept when at
most 10 % of it does. CONCORD_BENCH_CASES sets the number of cases (240), CONCORD_BENCH_SEED the seed (9).
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import django
import numpy as np
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array

from tests.bench.house import row
from tests.factories.burnt import Case, case, cases
from tests.factories.burnt.grounds import real_ground

REMOVED, KEPT = 0.95, 0.10
SEEN = 0.3  # of a line's ink in marked cells: the cells around them are looked at too


def main() -> None:
    """Print the tables."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    for name, value in {"SECRET_KEY": "x" * 50, "DATABASE_URL": "postgresql://c@127.0.0.1:1/c"}.items():
        os.environ.setdefault(name, value)  # nothing is asked of either
    os.environ.setdefault("BROKER_URL", "redis://127.0.0.1:1/0")
    django.setup()
    count, seed = int(os.environ.get("CONCORD_BENCH_CASES", "240")), int(os.environ.get("CONCORD_BENCH_SEED", "9"))
    print(f"{count} cases of seed {seed}, {platform.processor() or platform.machine()}, one thread")
    measure(cases(seed, count))
    if real := list(_real(seed)):
        print(f"\nReal scans as grounds: {len(real)}")
        measure(iter(real))


def _real(seed: int) -> Iterator[Case]:
    """Planted cases on the real scans that packages ship (and the reference folder, where there is one)."""
    import deid_data

    folders = [Path(deid_data.__file__).parent]
    if reference := os.environ.get("CONCORD_REFERENCE_DATA"):
        folders.append(Path(reference) / "chest")
    for number, path in enumerate(sorted(p for folder in folders for p in folder.rglob("*.dcm"))):
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if "Rows" not in header or "SOPClassUID" not in header:
            continue
        for again in range(4):
            try:
                yield case(seed * 7919 + number * 4 + again, real_ground(str(path)))
            except (ValueError, AttributeError) as error:
                print(f"left out: {path.name} ({error})")
                break


def measure(of: Iterator[Case]) -> None:
    """Clean each case and count what was found, by kind, by contrast and place, by ground."""
    from portal.check.rules import Share
    from portal.deidentify.headers import gather
    from portal.deidentify.pixels.clean import weigh
    from portal.deidentify.pixels.cover import covered
    from portal.deidentify.pixels.instance import read
    from portal.deidentify.pixels.shown import planes
    from portal.deidentify.pixels.where import CELL, cells, strokes
    from portal.deidentify.text import judge
    from portal.ingest.inspect import opened

    right: dict[str, Counter[str]] = defaultdict(Counter)
    total: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    shots: Counter[str] = Counter()
    asked = lines = 0
    with tempfile.TemporaryDirectory() as folder:
        for one in of:
            path = Path(folder) / "case.dcm"
            path.write_bytes(one.encoded())
            with opened(path) as found:
                begun = time.process_time()
                looked = weigh(found, read(found.stream, found.dataset), gather(found.dataset), judge)
                with covered(found, looked.regions(-100)):
                    pass
                seconds[one.ground].append(time.process_time() - begun)
                shots[one.ground] += int(one.dataset.get("NumberOfFrames", 1) or 1)
                mask = np.zeros(looked.shape, bool)
                for region in looked.regions(-100):
                    x0, y0, x1, y1 = region.box
                    mask[y0:y1, x0:x1] = True
            frames = pixel_array(one.dataset)
            first = frames[0] if frames.shape[:2] != looked.shape else frames
            cell = np.logical_or.reduce([cells(strokes(plane)) for plane in planes(first)])
            marked = np.kron(cell, np.ones((CELL, CELL), bool))
            asked += sum(j.uncertain for j in looked.judged)
            lines += len(looked.judged)
            for planted in one.planted:
                share = planted.covered(mask)
                ok = share <= KEPT if planted.clinical else share >= REMOVED
                what = "clinical text kept" if planted.clinical else "identifiers removed"
                keys = [what, planted.kind, f"{one.ground}: {what}"]
                keys.append(f"{'faint' if planted.low_contrast else 'clear'}: {what}")
                keys.append(f"{'over anatomy' if planted.over_anatomy else 'beside it'}: {what}")
                total["all"]["cheap test: lines it lets through"] += 1
                right["all"]["cheap test: lines it lets through"] += planted.covered(marked) > SEEN
                if planted.turned:
                    keys.append(f"turned: {what}")
                for key in keys:
                    total["all"][key] += 1
                    right["all"][key] += ok
                if not ok and os.environ.get("CONCORD_BENCH_MISSES"):
                    said = [
                        (j.line.text, round(j.line.confidence, 2), j.what, j.rule)
                        for j in looked.judged
                        if _touches(j.line.box, planted)
                    ]
                    print("miss:", one.ground, planted.kind, planted.text, planted.font, planted.size, planted.turned,
                          "faint" if planted.low_contrast else "", round(share, 2), said)  # fmt: skip
    row("what", "right / of", "share", "95 % (Wilson)")
    row("---", "---", "---", "---")
    for key in sorted(total["all"]):
        share = Share(right["all"][key], total["all"][key])
        low, high = share.interval or (0, 0)
        row(key, f"{share.right} / {share.of}", f"{share.value:.1%}", f"{low:.1%} – {high:.1%}")
    row("lines that a person is asked about", f"{asked} / {lines}", f"{asked / max(1, lines):.1%}", "")
    print()
    row("ground", "images", "mean CPU s an image", "images a second and core", "frames a second and core")
    row("---", "---", "---", "---", "---")
    for ground in sorted(seconds):
        mean = float(np.mean(seconds[ground]))
        rate = shots[ground] / sum(seconds[ground])
        row(ground, len(seconds[ground]), f"{mean:.2f}", f"{1 / mean:.1f}", f"{rate:.1f}")
    whole = [s for some in seconds.values() for s in some]
    rate = sum(shots.values()) / sum(whole)
    row("all", len(whole), f"{np.mean(whole):.2f}", f"{1 / np.mean(whole):.1f}", f"{rate:.1f}")


def _touches(box: tuple[int, int, int, int], planted: object) -> bool:
    rows, columns = planted.where  # type: ignore[attr-defined]
    inside = (rows >= box[1]) & (rows < box[3]) & (columns >= box[0]) & (columns < box[2])
    return bool(inside.mean() > 0.2)

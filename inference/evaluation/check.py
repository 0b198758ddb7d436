"""How well the input check does: phantoms it never saw, real files of packages, real scans of the reference folder."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.check.categories import CATEGORIES, TITLES
from inference.check.check import InputChecker
from inference.check.examples import HELD_OUT, batch_of, pool, real_path
from inference.datasets.files import display_values
from inference.evaluation.localisation import mean_interval
from inference.evaluation.roc import Interval
from inference.preprocess import ImageError, read_image

Float = NDArray[np.float32]
POOL = 977  # seed of phantoms that no training draws
Titled = tuple[str, str, Float]  # set, true category, display values


@dataclass(frozen=True)
class PhantomScores:
    """Parts that are right, with 95 % intervals over pictures: category (each and all), turn, inversion."""

    pictures: int
    categories: dict[str, Interval]
    all: Interval
    turn: Interval
    inverted: Interval


def on_phantoms(checker: InputChecker, batches: int = 24, each: int = 5, count: int = 60) -> PhantomScores:
    """Held-out phantoms under the training's random changes, turned and inverted as in training."""
    known = pool(POOL, count, checker.manifest.input_size[0], real=False)
    right: dict[str, list[float]] = {name: [] for name in CATEGORIES}
    turn: list[float] = []
    tone: list[float] = []
    for number in range(batches):
        batch = batch_of(known, POOL * 1_000_003 + number, each)
        found, turns, inverted = checker.probabilities([image.numpy() for image in batch.images[:, 0]])
        ok = torch.from_numpy(found.argmax(1)) == batch.category
        for name, hit in zip(batch.category.tolist(), ok.tolist(), strict=True):
            right[CATEGORIES[name]].append(float(hit))
        turn += (torch.from_numpy(turns.argmax(1)) == batch.turn)[batch.upright > 0].float().tolist()
        tone += ((torch.from_numpy(inverted) >= 0.5).float() == batch.inverted)[batch.toned > 0].float().tolist()
    everything = [value for values in right.values() for value in values]
    each_one = {name: _interval(values) for name, values in right.items()}
    return PhantomScores(len(everything), each_one, _interval(everything), _interval(turn), _interval(tone))


@dataclass(frozen=True)
class RealScores:
    """One set of real pictures of one category.

    right      part whose category is right; `sure` part that is said to be certain; `wrong_sure` part that is
               certain and wrong
    turn, inverted  parts right over the pictures as they are, turned by 90, 180 and 270 degrees, and inverted;
               None where that has no meaning
    """

    name: str
    category: str
    pictures: int
    right: float
    sure: float
    wrong_sure: float
    turn: float | None
    inverted: float | None


def on_real(checker: InputChecker) -> list[RealScores]:
    """Held-out files of the packages, and the folder of CONCORD_REFERENCE_DATA where it is set."""
    sets: dict[tuple[str, str], list[Float]] = {}
    for name, category, pixels in _real():
        sets.setdefault((name, category), []).append(pixels)
    return [_score(checker, name, category, pixels) for (name, category), pixels in sets.items()]


def _score(checker: InputChecker, name: str, category: str, pictures: list[Float]) -> RealScores:
    want = CATEGORIES.index(category)  # type: ignore[arg-type]
    found, _, _ = checker.probabilities(pictures)
    best, top = found.argmax(1), found.max(1)
    sure = top >= np.array([checker.manifest.thresholds[CATEGORIES[int(k)]] for k in best])
    turn = inverted = None
    if category == "chest_frontal":
        hits: list[float] = []
        for quarter in range(4):
            turned = [np.ascontiguousarray(np.rot90(pixels, -quarter)) for pixels in pictures]
            hits += (checker.probabilities(turned)[1].argmax(1) == quarter).astype(float).tolist()
        turn = float(np.mean(hits))
    if category != "other":
        limit = checker.manifest.thresholds["inverted"]
        plain = checker.probabilities(pictures)[2] < limit
        negative = checker.probabilities([1 - pixels for pixels in pictures])[2] >= limit
        inverted = float(np.mean([plain.mean(), negative.mean()]))
    wrong = float((sure & (best != want)).mean())
    return RealScores(name, category, len(pictures), float((best == want).mean()), float(sure.mean()), wrong, turn,
                      inverted)  # fmt: skip


def _real() -> Iterator[Titled]:
    for category, files in HELD_OUT.items():
        for package, name in files:
            try:
                yield "files of PyPI packages", category, read_image(real_path(package, name)).pixels
            except ImageError:
                continue
    root = Path(os.environ.get("CONCORD_REFERENCE_DATA", ""))
    if not os.environ.get("CONCORD_REFERENCE_DATA"):
        return
    for path in [*sorted((root / "chest").glob("*.png")), root / "chest" / "cr_jpeg.dcm"]:
        yield "NIH and RSNA x-rays, full size", "chest_frontal", display_values(path)
    for image in np.load(root / "nih64" / "images.npz")["images"][::4]:
        yield "NIH ChestX-ray14 at 64x64, every fourth", "chest_frontal", (image / 255).astype(np.float32)
    for path in sorted((root / "ddsm_density" / "images").iterdir()):
        yield "DDSM mammograms", "mammogram", display_values(path)
    for path in sorted((root / "abdomen_ct" / "dicom").iterdir()):
        try:
            yield "abdominal CT, DICOM", "ct", read_image(path).pixels
        except ImageError:
            continue
    for plane in read_nrrd(root / "lung_ct" / "lung1_image.nrrd")[::6]:
        for centre, width, window in ((40.0, 400.0, "soft tissue"), (-600.0, 1500.0, "lung")):
            shown = np.clip((plane - centre) / width + 0.5, 0, 1).astype(np.float32)
            yield f"lung CT, {window} window", "ct", shown


def read_nrrd(path: Path) -> Float:
    """(slices, rows, columns) of a raw or gzip NRRD volume with its data attached (nrrd format, sections 4-5)."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode("ascii").splitlines() if ": " in line)
    kinds = {"short": "i2", "signed short": "i2", "int16": "i2", "unsigned char": "u1", "uint8": "u1", "int": "i4",
             "float": "f4", "double": "f8", "unsigned short": "u2"}  # fmt: skip
    order = ">" if fields.get("endian") == "big" else "<"
    raw = gzip.decompress(data) if fields["encoding"] in {"gzip", "gz"} else data
    sizes = [int(size) for size in fields["sizes"].split()]
    return np.frombuffer(raw, order + kinds[fields["type"]]).reshape(sizes[::-1]).astype(np.float32)


def _interval(values: list[float]) -> Interval:
    out = mean_interval(values)
    assert out is not None
    return out


def real_lines(scores: list[RealScores]) -> list[str]:
    """A Markdown table for the card."""
    lines = [
        "| set | shows | pictures | category right | certain | certain and wrong | turn right | tones right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for s in scores:
        turn, tone = (f"{value:.1%}" if value is not None else "–" for value in (s.turn, s.inverted))
        title = TITLES[s.category]  # type: ignore[index]
        lines.append(
            f"| {s.name} | {title} | {s.pictures} | {s.right:.1%} | {s.sure:.1%} | {s.wrong_sure:.1%} | {turn} | "
            f"{tone} |"
        )
    return lines

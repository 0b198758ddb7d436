"""How well regions are found: DICE on held-out phantoms, and pictures with the outlines drawn in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inference.evaluation.localisation import mean_interval
from inference.evaluation.roc import Interval
from inference.phantoms import chest
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.examples import Changes
from inference.segments.finder import GRID, RegionFinder
from inference.segments.regions import Regions, from_probabilities

Float = NDArray[np.float32]
HELD_OUT = 910_000_000  # seeds of phantoms that no training draws
COLOURS = {"lung_right": "#5ad1ff", "lung_left": "#ffb347", "heart": "#ff6b8b"}


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """DICE 2|A∩B| / (|A|+|B|); 1 where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2.0 * int((found & truth).sum()) / total


@dataclass(frozen=True)
class RegionScores:
    """DICE per region with 95 % intervals over phantoms: as drawn, and after the training's random changes."""

    phantoms: int
    plain: dict[str, Interval]
    changed: dict[str, Interval]


def score(finder: RegionFinder, count: int = 80, first: int = HELD_OUT, size: int = GRID) -> RegionScores:
    """Phantoms of `phantoms.chest` with findings as it draws them."""
    plain: dict[str, list[float]] = {name: [] for name in REGIONS}
    changed: dict[str, list[float]] = {name: [] for name in REGIONS}
    for index in range(count):
        made = chest(first + index, size=(size, size))
        pixels: Float = (made.pixels / 4095).astype(np.float32)
        truth = np.stack([made.regions[name] for name in REGIONS])
        _add(plain, from_probabilities(finder.probabilities([pixels])[0], (size, size)), truth)
        image, masks = torch.from_numpy(pixels)[None, None], torch.from_numpy(truth.astype(np.float32))[None]
        moved, where = Changes(first + index)(image, masks)
        found = from_probabilities(finder.probabilities([moved[0, 0].numpy()])[0], (size, size))
        _add(changed, found, where[0].numpy() > 0.5)
    return RegionScores(count, _intervals(plain), _intervals(changed))


def _add(values: dict[str, list[float]], found: Regions, truth: NDArray[np.bool_]) -> None:
    for index, name in enumerate(REGIONS):
        values[name].append(overlap(found.mask(name, truth.shape[1:]), truth[index]))


def _intervals(values: dict[str, list[float]]) -> dict[str, Interval]:
    out = {}
    for name, each in values.items():
        interval = mean_interval(each)
        assert interval is not None
        out[name] = interval
    return out


def panels(
    pictures: Sequence[tuple[str, Float]],
    find: Callable[[Float], Regions],
    columns: int = 4,
) -> Figure:
    """Pictures (title, display values) with the outlines that `find` gives them; the right lung blue, the left orange,
    the heart red."""
    rows = -(-len(pictures) // columns)
    figure = Figure((2.4 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, pixels) in zip(axes, pictures, strict=False):
        height, width = pixels.shape
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="equal")
        found = find(pixels)
        for name, lines in found.to_dict()["outlines"].items():
            for line in lines:
                closed = np.array([*line, line[0]])
                axis.plot(closed[:, 0], closed[:, 1], color=COLOURS[name], linewidth=1.2)
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.set_title(title, fontsize=7)
    figure.tight_layout()
    return figure

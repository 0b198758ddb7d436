"""A heat-map function on segments: cut, predict, merge (seed 002, claims 13 and 15)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.findings import Findings, Region
from inference.package.function import Batch, FunctionPackage, Outputs
from inference.postprocess import find_regions
from inference.preprocess import ImageError, Read, Unsupported, ViewHint, prepare_whole, read_image
from inference.segments.cut import merge_maps, merge_regions
from inference.segments.finder import RegionFinder
from inference.segments.lay import Laid, lay
from inference.segments.rules import Segment
from inference.segments.table import class_masks

Progress = Callable[[float, str], None]


class NoRegion(Unsupported):
    """A picture in which no lung was found."""


class SegmentDetector:
    """A heat-map package that reads segments. Not for use by several threads at once.

    ValueError for a package that is no heat-map function.
    """

    def __init__(self, package: FunctionPackage, finder: RegionFinder) -> None:
        if package.manifest.output_type != "heatmap":
            raise ValueError(f"{package.manifest.id} gives no heat maps, it cannot read segments")
        self.package, self.finder = package, finder

    def run(
        self,
        paths: Sequence[Path | str],
        progress: Progress | None = None,
        hints: Sequence[ViewHint | None] | None = None,
    ) -> Findings:
        """Findings as `FunctionPackage.run` gives them, over the whole scans.

        matrices              row → (K, N, N): the highest value of the segments that show a cell, 0 where none does
                              or where the class's body region is not
        global_probabilities  the highest of the segments
        regions               of all segments in scan pixels, merged where segments overlap
        A picture without lungs is refused like any other that cannot be used.
        """
        say = progress or (lambda part, stage: None)
        given = list(hints or [None] * len(paths))
        if not paths or len(given) != len(paths):
            raise ValueError(f"{len(paths)} images, {len(given)} hints")
        started = time.perf_counter()
        parts: list[Outputs] = []
        places: list[tuple[Region, ...]] = []
        said: list[list[str]] = []
        refused: list[ImageError] = []
        for index, (path, hint) in enumerate(zip(paths, given, strict=True)):
            try:
                output, found, words = self.one(Path(path), hint)
            except ImageError as error:
                refused.append(error)
            else:
                parts.append(output)
                places.append(found)
                said.append(words)
            say(0.95 * (index + 1) / len(paths), f"analysed {index + 1} of {len(paths)}")
        if not parts:
            raise refused[0]
        joined = replace(Outputs.join(parts), refused=tuple(map(str, refused)))
        whole = self.package.findings(joined)
        images = []
        for image, found, words in zip(whole.images, places, said, strict=True):
            shown = tuple(region for region in found if image.present[region.class_name])
            images.append(replace(image, regions=shown, warnings=(*image.warnings, *words)))
        whole.timings_ms["total"] = round((time.perf_counter() - started) * 1000, 1)
        manifest = self.finder.manifest
        parameters = whole.parameters | {
            "segments": True,
            "region_finder": None if manifest is None else f"{manifest.id} {manifest.version}",
            "region_finder_sha256": None if manifest is None else manifest.weights_sha256,
        }
        say(1.0, "done")
        return replace(whole, images=tuple(images), parameters=parameters)

    def one(self, path: Path, hint: ViewHint | None = None) -> tuple[Outputs, tuple[Region, ...], list[str]]:
        """One scan: merged outputs, merged detections of every class, and what the finder warns of."""
        package, began = self.package, time.perf_counter()
        image = read_image(path, package.limits, hint)
        pixels = _toned(image.pixels)
        regions = self.finder.find(pixels)
        side = package.manifest.input_size[0]
        laid = lay(regions, side)
        if laid is None:
            raise NoRegion(f"{path.name}: no lungs were found in the picture")
        inputs = laid.inputs(pixels)
        prepared = prepare_whole(image.pixels, package.manifest.input_size)
        light = replace(image, pixels=np.zeros((0, 0), np.float32))
        read = Read(light, (image.rows, image.columns), prepared)
        batch = Batch((read,) * len(inputs), torch.from_numpy(inputs).unsqueeze(1))
        read_ms = (time.perf_counter() - began) * 1000
        outputs = package.predict(batch)
        maps = {row: self._merged(outputs, laid, row) for row in outputs.maps[0]}
        classes = package.manifest.classes
        for row, grid in maps.items():
            grid *= class_masks(regions, classes, row)
        timings = {"read": read_ms, "predict": outputs.timings_ms["predict"]}
        merged = Outputs((read,), (maps,), outputs.pooled.max(axis=0, keepdims=True), (), timings)
        words = [*regions.warnings]
        return merged, merge_regions(self._found(outputs, laid)), words

    def _merged(self, outputs: Outputs, laid: Laid, row: int) -> NDArray[np.float32]:
        grids = [(segment, maps[row]) for segment, maps in zip(laid.plan.segments, outputs.maps, strict=True)]
        return merge_maps(grids, laid.cells(row), laid.shape, laid.side, row)

    def _found(self, outputs: Outputs, laid: Laid) -> list[Region]:
        manifest, found = self.package.manifest, []
        for segment, maps in zip(laid.plan.segments, outputs.maps, strict=True):
            grid = maps[max(maps)]
            for k, name in enumerate(manifest.classes):
                limit = manifest.region_thresholds[name]
                own = find_regions(grid[k], limit, name, manifest.input_size, partial(_inside, segment))
                found += [r for r in own if r.box[2] - r.box[0] > 1 and r.box[3] - r.box[1] > 1]
        return found


def _inside(segment: Segment, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Input coordinates (n, 2) → scan coordinates within the segment's box."""
    return np.clip(segment.to_scan(points), segment.box[:2], segment.box[2:])


def _toned(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scan's 0.5-99.5 % spread over [0, 1], as whole scans are prepared."""
    low, high = np.percentile(pixels[:: max(1, pixels.shape[0] // 512), :: max(1, pixels.shape[1] // 512)], [0.5, 99.5])
    return np.clip((pixels - low) / max(float(high - low), 1e-3), 0, 1).astype(np.float32)

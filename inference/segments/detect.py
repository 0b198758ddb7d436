"""A heat-map function on segments: cut, predict, merge (seed 002, claims 13 and 15)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.findings import Findings, Region
from inference.package.function import BATCH, Batch, FunctionPackage, Outputs
from inference.package.manifest import Manifest
from inference.postprocess import find_regions
from inference.preprocess import Read, Unsupported, ViewHint, prepare_whole, read_image
from inference.segments.cut import merge_maps, merge_regions
from inference.segments.finder import RegionFinder, load_finder
from inference.segments.lay import Laid, lay
from inference.segments.regions import Regions
from inference.segments.rules import Segment
from inference.segments.table import class_masks


class NoRegion(Unsupported):
    """A picture in which no lung was found."""


@dataclass(frozen=True)
class SegmentedRead(Read):
    """A scan that was read and cut.

    inputs  (S, side, side) float32 in [0, 1], the segments of `laid` in its order
    """

    regions: Regions
    laid: Laid
    inputs: NDArray[np.float32]


class SegmentPackage(FunctionPackage):
    """A heat-map function that reads segments: a scan is cut when it is read, and is one again after `predict`.

    Findings are over the whole scans:

    matrices              row → (K, N, N): the highest value of the segments that show a cell, 0 where none does
                          or where the class's body region is not
    global_probabilities  the highest of the segments
    regions               of all segments in scan pixels, merged where segments overlap
    A picture without lungs is refused like any other that cannot be used.
    """

    keeps_inputs = False  # finding the regions takes a network, too

    def __init__(
        self,
        manifest: Manifest,
        network: nn.Module,
        device: torch.device,
        precision: str = "auto",
        compiled: bool = False,
        finder: RegionFinder | None = None,
    ) -> None:
        """finder  None: the one that ships; the others as FunctionPackage takes them

        ValueError for a package that is no heat-map function.
        """
        if manifest.output_type != "heatmap":
            raise ValueError(f"{manifest.id} gives no heat maps, it cannot read segments")
        super().__init__(manifest, network, device, precision, compiled)
        self.finder = finder or load_finder()
        self._finding = threading.Lock()  # the finder serves one thread at a time

    @classmethod
    def of(cls, package: FunctionPackage, finder: RegionFinder | None = None) -> SegmentPackage:
        """A package that was trained on whole scans, on segments. ValueError as the constructor."""
        return cls(package.manifest, package.network, package.device, package.precision, finder=finder)

    def read(self, path: Path | str, hint: ViewHint | None = None) -> SegmentedRead:
        """One scan at its full resolution, cut. Raises ImageError."""
        image = read_image(Path(path), self.limits, hint)
        pixels = _toned(image.pixels)
        with self._finding:
            regions = self.finder.find(pixels)
        laid = lay(regions, self.manifest.input_size[0])
        if laid is None:
            raise NoRegion(f"{Path(path).name}: no lungs were found in the picture")
        prepared = prepare_whole(image.pixels, self.manifest.input_size)
        prepared = replace(prepared, warnings=(*prepared.warnings, *regions.warnings))
        light = replace(image, pixels=np.zeros((0, 0), np.float32))
        return SegmentedRead(light, (image.rows, image.columns), prepared, regions, laid, laid.inputs(pixels))

    def batch(self, images: Sequence[Read], refused: tuple[str, ...] = (), read_ms: float = 0.0) -> Batch:
        """The segments of all scans, one after another."""
        inputs = np.concatenate([image.inputs for image in _segmented(images)])
        return Batch(tuple(images), torch.from_numpy(inputs).unsqueeze(1), refused, read_ms)

    def predict(self, batch: Batch) -> Outputs:
        """Forward pass over the segments, BATCH at a time, and the merged outputs of each scan."""
        started = time.perf_counter()
        parts = [self._forward(part) for part in batch.pixels.split(BATCH)]
        grids = {row: np.concatenate([part[0][row] for part in parts]) for row in parts[0][0]}
        pooled = np.concatenate([part[1] for part in parts])
        maps, highest, places, at = [], [], [], 0
        for image in _segmented(batch.images):
            own = slice(at, at + len(image.inputs))
            at = own.stop
            merged = {row: self._merged(image.laid, grid[own], row) for row, grid in grids.items()}
            for row, grid in merged.items():
                grid *= class_masks(image.regions, self.manifest.classes, row)
            maps.append(merged)
            highest.append(pooled[own].max(axis=0))
            places.append(merge_regions(self._found(image.laid, grids[max(grids)][own])))
        timings = {"read": batch.read_ms, "predict": (time.perf_counter() - started) * 1000}
        return Outputs(batch.images, tuple(maps), np.stack(highest), batch.refused, timings, tuple(places))

    def findings(self, outputs: Outputs) -> Findings:
        """As of any function; the parameters name the finder."""
        found, manifest = super().findings(outputs), self.finder.manifest
        named = {
            "segments": True,
            "region_finder": None if manifest is None else f"{manifest.id} {manifest.version}",
            "region_finder_sha256": None if manifest is None else manifest.weights_sha256,
        }
        return replace(found, parameters=found.parameters | named)

    def _merged(self, laid: Laid, grids: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        pairs = list(zip(laid.plan.segments, grids, strict=True))
        return merge_maps(pairs, laid.cells(row), laid.shape, laid.side, row)

    def _found(self, laid: Laid, grids: NDArray[np.float32]) -> list[Region]:
        manifest, found = self.manifest, []
        for segment, grid in zip(laid.plan.segments, grids, strict=True):
            for k, name in enumerate(manifest.classes):
                limit = manifest.region_thresholds[name]
                own = find_regions(grid[k], limit, name, manifest.input_size, partial(_inside, segment))
                found += [r for r in own if r.box[2] - r.box[0] > 1 and r.box[3] - r.box[1] > 1]
        return found


def _segmented(images: Sequence[Read]) -> Sequence[SegmentedRead]:
    """The same images, which `SegmentPackage.read` made. TypeError for others."""
    for image in images:
        if not isinstance(image, SegmentedRead):
            raise TypeError(f"{image.source.sop_instance_uid} was not cut into segments")
    return cast("Sequence[SegmentedRead]", images)


def _inside(segment: Segment, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Input coordinates (n, 2) → scan coordinates within the segment's box."""
    return np.clip(segment.to_scan(points), segment.box[:2], segment.box[2:])


def _toned(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scan's 0.5-99.5 % spread over [0, 1], as whole scans are prepared."""
    low, high = np.percentile(pixels[:: max(1, pixels.shape[0] // 512), :: max(1, pixels.shape[1] // 512)], [0.5, 99.5])
    return np.clip((pixels - low) / max(float(high - low), 1e-3), 0, 1).astype(np.float32)

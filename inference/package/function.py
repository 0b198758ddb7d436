"""A loaded function: prepare → predict → findings, the same in training, command line and workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.findings import Findings, Region
from inference.networks import HeatmapNetwork, HeatmapOutput, MalignancyNetwork
from inference.package.errors import BadManifest
from inference.package.manifest import HELPER_TYPES, Manifest
from inference.package.report import findings_of
from inference.package.verify import fill, verified
from inference.preprocess import ImageError, Limits, Preparation, Read, ViewHint

Progress = Callable[[float, str], None]
BATCH = 8
PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
AUTO = {"cuda": "float16"}  # device → what "auto" stands for there; float32 elsewhere


@dataclass(frozen=True)
class Batch:
    """Images ready for the network: `pixels` (B, 1, H, W) float32 in [0, 1]; `refused` names what was not."""

    images: tuple[Read, ...]
    pixels: Tensor
    refused: tuple[str, ...] = ()
    read_ms: float = 0.0

    @classmethod
    def of(cls, images: Sequence[Read], refused: tuple[str, ...] = (), read_ms: float = 0.0) -> Batch:
        """Prepared images as one batch."""
        pixels = torch.from_numpy(np.stack([image.prepared.pixels for image in images])).unsqueeze(1)
        return cls(tuple(images), pixels, refused, read_ms)


@dataclass(frozen=True)
class Outputs:
    """Network outputs on the CPU, one entry per image, with the images they belong to.

    maps    per image: row → (K, h, w) float32 in [0, 1] over the network's input
    pooled  (B, K) float32
    places  per image: regions of every class in image pixels where they are not to be sought in the maps, else None
    """

    images: tuple[Read, ...]
    maps: tuple[dict[int, NDArray[np.float32]], ...]
    pooled: NDArray[np.float32]
    refused: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    places: tuple[tuple[Region, ...] | None, ...] = ()

    @classmethod
    def join(cls, parts: Sequence[Outputs]) -> Outputs:
        """Several batches as one; timings add up. ValueError when there is none."""
        if not parts:
            raise ValueError("nothing to join")
        timings: dict[str, float] = {}
        for part in parts:
            for key, value in part.timings_ms.items():
                timings[key] = timings.get(key, 0.0) + value
        return cls(
            tuple(image for part in parts for image in part.images),
            tuple(maps for part in parts for maps in part.maps),
            np.concatenate([part.pooled for part in parts]),
            tuple(reason for part in parts for reason in part.refused),
            timings,
            tuple(place for part in parts for place in part.places),
        )

    def one(self, index: int, of: int) -> Outputs:
        """The index-th image alone, with its share of the times of a batch of `of` images."""
        timings = {key: value / of for key, value in self.timings_ms.items()}
        pick = slice(index, index + 1)
        return Outputs(self.images[pick], self.maps[pick], self.pooled[pick], (), timings, self.places[pick])


class FunctionPackage:
    """An inference function in memory. `prepare` and `findings` may run in several threads, `predict` in one.

    nbytes   size of the weights
    largest  batch that fitted after the device's memory ran out, None as long as it never did
    """

    keeps_inputs = True  # what `preparation` makes is all that `predict` needs: it can be made before, and elsewhere

    def __init__(
        self,
        manifest: Manifest,
        network: nn.Module,
        device: torch.device,
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        """precision  "auto" (float16 on CUDA, else float32) or one of PRECISIONS: of the convolutions, under autocast
        compiled   by torch.compile at the first batch, which takes a minute and a C++ compiler
        ValueError for another precision.
        """
        if precision != "auto" and precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not one of auto, {', '.join(PRECISIONS)}")
        self.manifest = manifest
        self.device = device
        self.precision = AUTO.get(device.type, "float32") if precision == "auto" else precision
        self.limits = Limits()
        self.preparation = Preparation(manifest.preprocessing, manifest.input_size)
        self.network = network.eval().to(device)
        self.nbytes = sum(tensor.nbytes for tensor in network.state_dict().values())
        self.largest: int | None = None
        if device.type == "cpu":
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compiled:
            self.network = torch.compile(self.network, dynamic=True)  # type: ignore[assignment]

    def prepare(self, paths: Sequence[Path | str], hints: Sequence[ViewHint | None] | None = None) -> Batch:
        """Read and prepare images. Those that cannot be used are named in `refused`.

        hints  laterality and view from elsewhere, one for each path
        ImageError (the first one) when no image can be used; ValueError for no path or unequal lengths.
        """
        given = _hints(paths, hints)
        started = time.perf_counter()
        good, refused, first = [], [], None
        for path, hint in zip(paths, given, strict=True):
            try:
                good.append(self.read(path, hint))
            except ImageError as error:
                refused.append(str(error))
                first = first or error
        if not good:
            assert first is not None
            raise first
        return self.batch(good, tuple(refused), (time.perf_counter() - started) * 1000)

    def read(self, path: Path | str, hint: ViewHint | None = None) -> Read:
        """One image, read and prepared. Raises ImageError."""
        return self.preparation.read(Path(path), self.limits).hinted(hint)

    def batch(self, images: Sequence[Read], refused: tuple[str, ...] = (), read_ms: float = 0.0) -> Batch:
        """Images that were read, perhaps of several scans, as one batch."""
        return Batch.of(images, refused, read_ms)

    def predict(self, batch: Batch) -> Outputs:
        """Forward pass; out of memory on the device halves the batch and goes on."""
        started = time.perf_counter()
        outputs = self._forward(batch.pixels)
        count = len(batch.images)
        maps = tuple({row: grid[index] for row, grid in outputs[0].items()} for index in range(count))
        timings = {"read": batch.read_ms, "predict": (time.perf_counter() - started) * 1000}
        return Outputs(batch.images, maps, outputs[1], batch.refused, timings)

    def warm(self) -> None:
        """One forward pass over nothing, so that the first scan does not pay for what is made once."""
        self._forward(torch.zeros(1, 1, *self.manifest.input_size))

    @torch.inference_mode()
    def _forward(self, pixels: Tensor) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.float32]]:
        try:
            if self.device.type == "cuda":
                pixels = pixels.pin_memory()
            moved = (pixels.to(self.device, non_blocking=True) - 0.5) * 4.0
            if self.device.type == "cpu":
                moved = moved.contiguous(memory_format=torch.channels_last)
            narrow = PRECISIONS[self.precision]
            with torch.autocast(self.device.type, narrow, enabled=narrow is not None):
                output: HeatmapOutput = self.network(moved)
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(pixels) // 2
            self.largest = max(half, 1)
            first, second = self._forward(pixels[:half]), self._forward(pixels[half:])
            maps = {row: np.concatenate([first[0][row], second[0][row]]) for row in first[0]}
            return maps, np.concatenate([first[1], second[1]])
        finest = max(output.pooled)
        grids = {row: grid.float().cpu().numpy() for row, grid in output.maps.items()}
        return grids, output.pooled[finest].float().cpu().numpy()

    def findings(self, outputs: Outputs) -> Findings:
        """Matrices over the whole image, calls, regions, and for malignancy the case with its gate."""
        return findings_of(self.manifest, outputs, str(self.device))

    def run(
        self,
        paths: Sequence[Path | str],
        progress: Progress | None = None,
        hints: Sequence[ViewHint | None] | None = None,
        batch_size: int = BATCH,
    ) -> Findings:
        """prepare, predict and findings over any number of images, one batch after another.

        progress  called with a part from 0 to 1 and a stage in words
        Errors as `prepare`. For many scans `inference.serving.Engine` reads one batch while it analyses another.
        """
        started = time.perf_counter()
        given = _hints(paths, hints)
        say = progress or (lambda part, stage: None)
        say(0.0, "reading")
        parts: list[Outputs] = []
        refused: list[str] = []
        first: ImageError | None = None
        for at in range(0, len(paths), batch_size):
            try:
                parts.append(self.predict(self.prepare(paths[at : at + batch_size], given[at : at + batch_size])))
            except ImageError as error:
                refused.append(str(error))
                first = first or error
            done = min(at + batch_size, len(paths))
            say(0.95 * done / len(paths), f"analysed {done} of {len(paths)}")
        if not parts:
            assert first is not None
            raise first
        outputs = Outputs.join(parts)
        say(0.95, "writing findings")
        outputs = replace(outputs, refused=(*outputs.refused, *refused))
        found = self.findings(outputs)
        found.timings_ms["total"] = round((time.perf_counter() - started) * 1000, 1)
        say(1.0, "done")
        return found


def _hints(paths: Sequence[Path | str], hints: Sequence[ViewHint | None] | None) -> Sequence[ViewHint | None]:
    if not paths:
        raise ValueError("no image was given")
    if hints is not None and len(hints) != len(paths):
        raise ValueError(f"{len(hints)} hints for {len(paths)} images")
    return hints or [None] * len(paths)


def load(path: Path | str, device: str = "auto", precision: str = "auto", compiled: bool = False) -> FunctionPackage:
    """Load a package after checking every file's hash.

    device  "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1" …
    precision, compiled  as FunctionPackage takes them
    One that was trained on segments (seed 002) comes as a SegmentPackage with the region finder that ships.
    MissingFile, WrongHash or BadManifest (all PackageError).
    """
    folder = Path(path)
    manifest, weights = verified(folder)
    if manifest.output_type in HELPER_TYPES:
        raise BadManifest(f"{folder} is no function but a helper of functions ({manifest.output_type})")
    network = fill(_network(manifest, folder), weights, folder)
    if manifest.training.get("segments_of"):
        from inference.segments.detect import SegmentPackage  # which is a FunctionPackage

        return SegmentPackage(manifest, network, _device(device), precision, compiled)
    return FunctionPackage(manifest, network, _device(device), precision, compiled)


def _network(manifest: Manifest, folder: Path) -> nn.Module:
    try:
        if manifest.output_type == "heatmap":
            return HeatmapNetwork(len(manifest.classes), manifest.input_size[0], **manifest.network)
        return MalignancyNetwork(**manifest.network)
    except (TypeError, ValueError) as error:
        raise BadManifest(f"{folder}: no network can be built: {error}") from error


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)

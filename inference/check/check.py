"""The input check: a picture's category, tones, orientation, cut and quality, compared with its header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from torch import nn

from inference import __version__
from inference.check.categories import CATEGORIES, TITLES, TURNED, Category, Claim, agrees, claim_of
from inference.check.quality import measure, poor
from inference.check.result import InputCheck
from inference.networks.regions import CheckNetwork
from inference.package.errors import BadManifest
from inference.package.manifest import Manifest
from inference.package.verify import fill, verified
from inference.preprocess import Limits, read_image
from inference.preprocess.views import prepare_whole
from inference.segments.finder import RegionFinder, load_finder
from inference.training.module import centred

Float = NDArray[np.float32]
SHIPPED = Path(__file__).parents[1] / "shipped" / "input-check"


@dataclass(frozen=True)
class Shown:
    """One picture to be looked at: display values (rows, columns) in [0, 1], what is claimed of it, and its UID."""

    pixels: Float
    claim: Claim | None = None
    uid: str = ""
    warnings: tuple[str, ...] = ()


class InputChecker:
    """The network with the region finder that looks for lungs that are cut off. Not for several threads at once."""

    def __init__(self, network: nn.Module, manifest: Manifest, finder: RegionFinder | None = None) -> None:
        self.network, self.manifest, self.finder = network.eval(), manifest, finder
        self.limits = Limits()

    @torch.inference_mode()
    def probabilities(self, pictures: list[Float]) -> tuple[Float, Float, Float]:
        """Display values (rows, columns) each → (B, categories), (B, 4 quarter turns), (B,) inverted."""
        size = self.manifest.input_size
        small = np.stack([prepare_whole(pixels, size).pixels for pixels in pictures])
        categories, turns, inverted = self.network(centred(torch.from_numpy(small).unsqueeze(1)))
        return torch.softmax(categories, 1).numpy(), torch.softmax(turns, 1).numpy(), torch.sigmoid(inverted).numpy()

    def check(self, path: Path | str) -> InputCheck:
        """One DICOM file. ImageError (`inference.preprocess.errors`) for one that cannot be displayed."""
        shown = self.read(path)
        return self.pictures([shown])[0]

    def read(self, path: Path | str) -> Shown:
        """One DICOM file ready to be looked at; needs no network, so threads may share it. Raises ImageError."""
        image = read_image(Path(path), self.limits)
        header = dcmread(path, stop_before_pixels=True)
        return Shown(image.pixels, claim_of(header), image.sop_instance_uid, image.warnings)

    def picture(self, pixels: Float, claim: Claim | None = None) -> InputCheck:
        """Display values (rows, columns) in [0, 1] with what is claimed of them, if anything."""
        return self.pictures([Shown(pixels, claim)])[0]

    def pictures(self, shown: Sequence[Shown]) -> list[InputCheck]:
        """Several pictures in one forward pass, in their order; none: an empty list."""
        if not shown:
            return []
        categories, turns, inversion = self.probabilities([one.pixels for one in shown])
        return [
            self._said(one, category, turn, float(inverted))
            for one, category, turn, inverted in zip(shown, categories, turns, inversion, strict=True)
        ]

    def _said(self, shown: Shown, categories: Float, turns: Float, inversion: float) -> InputCheck:
        pixels, claim = shown.pixels, shown.claim
        best = int(categories.argmax())
        category = CATEGORIES[best]
        certain = float(categories[best]) >= self.manifest.thresholds[category]
        toned, upright = certain and category != "other", certain and category in TURNED
        quarter = int(turns.argmax())
        turned = float(turns[quarter])
        inverted = inversion >= self.manifest.thresholds["inverted"] if toned else None
        rotation = (90 * quarter if turned >= self.manifest.thresholds["rotation"] else 0) if upright else None
        cut: tuple[str, ...] = ()
        if category == "chest_frontal" and certain and self.finder is not None:
            upright_pixels = np.rot90(pixels, (rotation or 0) // 90)
            righted = (1 - upright_pixels if inverted else upright_pixels).astype(np.float32)
            cut = self.finder.find(np.ascontiguousarray(righted)).warnings
        measures = measure(pixels)
        return InputCheck(
            sop_instance_uid=shown.uid,
            category=category,
            probabilities={name: float(p) for name, p in zip(CATEGORIES, categories, strict=True)},
            certain=certain,
            claimed=claim.category if claim else None,
            inverted=inverted,
            inverted_probability=inversion,
            rotation=rotation,
            rotation_probability=turned,
            cut_off=cut,
            quality=measures,
            poor=poor(measures),
            mismatches=mismatches(claim, category, float(categories[best]), certain, inverted, rotation),
            function_id=self.manifest.id,
            version=self.manifest.version,
            weights_sha256=self.manifest.weights_sha256,
            code_version=__version__,
            warnings=shown.warnings,
        )


def mismatches(
    claim: Claim | None,
    category: Category,
    probability: float,
    certain: bool,
    inverted: bool | None,
    rotation: int | None,
) -> tuple[str, ...]:
    """Where picture and header disagree, in words. An uncertain category disagrees with nothing."""
    said = []
    if claim is not None and certain and not agrees(claim, category):
        said.append(f"the header says {claim.words}; the picture looks like {TITLES[category]} ({probability:.0%})")
    if inverted:
        header = f"; the header says {claim.photometric}" if claim and claim.photometric else ""
        said.append(f"the tones look inverted, what is dense is dark{header}")
    if rotation:
        said.append(f"the picture looks turned by {rotation} degrees clockwise")
    return tuple(said)


def load_checker(folder: Path | str = SHIPPED, finder: Path | str | None = None) -> InputChecker:
    """The check of a package whose hashes are checked, with the shipped region finder or another one.

    PackageError as `inference.package.load`.
    """
    folder = Path(folder)
    manifest, weights = verified(folder)
    if manifest.output_type != "category" or manifest.classes != CATEGORIES:
        raise BadManifest(f"{folder} is no input check ({manifest.output_type})")
    if missing := {"inverted", "rotation"} - set(manifest.thresholds):
        raise BadManifest(f"{folder}: no threshold for {', '.join(sorted(missing))}")
    network = fill(CheckNetwork(len(manifest.classes), **manifest.network), weights, folder)
    return InputChecker(network, manifest, load_finder(finder) if finder else load_finder())

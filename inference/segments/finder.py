"""The region finder: display values of a frontal chest x-ray → Regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from inference.networks.regions import RegionNetwork
from inference.package.errors import BadManifest
from inference.package.manifest import Manifest
from inference.package.verify import fill, verified
from inference.phantoms.chest_anatomy import REGIONS
from inference.preprocess.views import prepare_whole
from inference.segments.regions import Regions, from_probabilities
from inference.training.module import centred

Float = NDArray[np.float32]
SHIPPED = Path(__file__).parents[1] / "shipped" / "regions-chest-phantom"
GRID = 256  # side of the masks; the network's own grid is enlarged before the half is cut, for smooth outlines


class RegionFinder:
    """A trained network with what is needed around it. Not for use by several threads at once."""

    def __init__(self, network: nn.Module, side: int, manifest: Manifest | None = None) -> None:
        self.network, self.side, self.manifest = network.eval(), side, manifest

    @torch.inference_mode()
    def probabilities(self, pictures: Sequence[Float]) -> Float:
        """Display values (rows, columns) each → (B, R, GRID, GRID) over the whole pictures."""
        small = np.stack([prepare_whole(pixels, (self.side, self.side)).pixels for pixels in pictures])
        logits = self.network(centred(torch.from_numpy(small).unsqueeze(1)))
        larger = F.interpolate(logits, size=(GRID, GRID), mode="bilinear", align_corners=False)
        out: Float = torch.sigmoid(larger).numpy()
        return out

    def find(self, pixels: Float) -> Regions:
        """Regions of one picture of display values (rows, columns) in [0, 1], bright bone."""
        return from_probabilities(self.probabilities([pixels])[0], (pixels.shape[0], pixels.shape[1]))


def load_finder(folder: Path | str = SHIPPED) -> RegionFinder:
    """The finder of a package whose hashes are checked. PackageError as `inference.package.load`."""
    folder = Path(folder)
    manifest, weights = verified(folder)
    if manifest.output_type != "regions" or manifest.classes != REGIONS:
        raise BadManifest(f"{folder} finds no regions of a chest ({manifest.output_type})")
    network = RegionNetwork(len(manifest.classes), **manifest.network)
    return RegionFinder(fill(network, weights, folder), manifest.input_size[0], manifest)

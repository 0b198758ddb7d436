"""The region finder's training: drawn chests, cross-entropy and soft DICE of each region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference.networks.regions import RegionNetwork
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.examples import Changes, draw
from inference.training.module import centred
from inference.training.small import fit

FIRST = 300_000_000  # seeds of drawn chests; far from those of the phantoms that test


@dataclass(frozen=True)
class RegionTraining:
    """One training of the finder."""

    seed: int = 1
    count: int = 900  # drawn chests
    steps: int = 1500
    batch: int = 16
    side: int = 128
    width: int = 16
    rate: float = 3e-3
    threads: int = 1  # sums in another order round otherwise


def train_regions(config: RegionTraining, say: Callable[[str], None] = print) -> RegionNetwork:
    """A trained network; the same configuration gives the same weights on the same machine."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng([config.seed, 72])
    drawn = [draw(FIRST + config.seed * 1_000_000 + index, config.side) for index in range(config.count)]
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).unsqueeze(1)
    masks = torch.from_numpy(np.stack([mask for _, mask in drawn]))
    say(f"{len(images)} chests of {config.side}x{config.side} drawn")
    network = RegionNetwork(len(REGIONS), config.width)

    def loss_at(step: int) -> Tensor:
        rows = torch.from_numpy(rng.choice(config.count, config.batch, replace=False))
        x, truth = Changes(config.seed * 1_000_003 + step)(images[rows], masks[rows].float())
        return region_loss(network(centred(x)), truth)

    fit(network, loss_at, config.steps, config.rate, say)
    return network


def region_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus 1 − soft DICE, mean over images and regions; both (B, R, S, S)."""
    p = torch.sigmoid(logits)
    overlap = 2 * (p * truth).sum((2, 3)) + 1
    total = (p * p).sum((2, 3)) + (truth * truth).sum((2, 3)) + 1
    return F.binary_cross_entropy_with_logits(logits, truth) + (1 - overlap / total).mean()

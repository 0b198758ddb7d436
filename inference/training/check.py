"""The input check's training: category, quarter turns and inverted tones in one small network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.check.categories import CATEGORIES
from inference.check.examples import CheckBatch, batch_of, pool
from inference.networks.regions import CheckNetwork
from inference.training.module import centred
from inference.training.small import fit


@dataclass(frozen=True)
class CheckTraining:
    """One training of the check."""

    seed: int = 1
    count: int = 320  # phantoms of each category
    steps: int = 700
    each: int = 5  # of each category in a batch
    side: int = 128
    width: int = 12
    rate: float = 3e-3
    threads: int = 1


def train_check(config: CheckTraining, say: Callable[[str], None] = print) -> CheckNetwork:
    """A trained network; the same configuration gives the same weights on the same machine."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    known = pool(config.seed + 400, config.count, config.side)
    say(f"{len(known.images)} pictures, {int(known.real.sum())} of them real")
    network = CheckNetwork(len(CATEGORIES), width=config.width)

    def loss_at(step: int) -> Tensor:
        batch = batch_of(known, config.seed * 1_000_003 + step, config.each)
        return check_loss(network(centred(batch.images)), batch)

    fit(network, loss_at, config.steps, config.rate, say)
    return network


def check_loss(output: tuple[Tensor, Tensor, Tensor], batch: CheckBatch) -> Tensor:
    """Cross-entropies of category, turn (where up is up) and inversion (where tones have a meaning)."""
    categories, turns, inverted = output
    total = F.cross_entropy(categories, batch.category)
    turn = F.cross_entropy(turns, batch.turn, reduction="none")
    total = total + (turn * batch.upright).sum() / batch.upright.sum().clamp_min(1)
    tone = F.binary_cross_entropy_with_logits(inverted, batch.inverted, reduction="none")
    return total + (tone * batch.toned).sum() / batch.toned.sum().clamp_min(1)

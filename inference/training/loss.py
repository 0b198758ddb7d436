"""What training makes smaller."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.networks import HeatmapOutput

OTHER_ROWS = 0.3
REGION_POSITIVE = 6.0


def loss_of(
    output: HeatmapOutput, labels: Tensor, regions: Tensor | None, roi_weight: float, known: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the finest row's pooled probabilities, the other rows' at less weight, and, where
    regions are known, of the patches themselves with a soft DICE.

    labels (B, K), regions (B, K, h, w) or None; known (B,) 1 where an image's regions are known, None for all
    """
    finest = max(output.pooled)
    total = torch.zeros((), device=labels.device)
    for row, pooled in output.pooled.items():
        weight = 1.0 if row == finest else OTHER_ROWS / (len(output.pooled) - 1)
        # in full precision: half precision has no number between 1 - 1e-5 and 1
        total = total + weight * F.binary_cross_entropy(pooled.float().clamp(1e-5, 1 - 1e-5), labels)
    if regions is None or not roi_weight or finest < 2:
        return total
    logits = output.logits[finest].float()
    positive = torch.tensor(REGION_POSITIVE, device=labels.device)
    each = F.binary_cross_entropy_with_logits(logits, regions, pos_weight=positive, reduction="none").mean((1, 2, 3))
    weights = torch.ones_like(each) if known is None else known
    patches = (each * weights).sum() / weights.sum().clamp_min(1.0)
    s, g = torch.sigmoid(logits).flatten(2), regions.flatten(2)
    overlap = 1 - 2 * (s * g).sum(2) / ((s * s).sum(2) + (g * g).sum(2) + 1.0)
    present = g.amax(2) * weights[:, None]
    dice = (overlap * present).sum() / present.sum().clamp_min(1.0)
    return total + roi_weight * (patches + 0.3 * dice)

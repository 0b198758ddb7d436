"""Pooling of probability maps to one probability per class.

All functions take `saliency` (B, K, H, W), or (B, K, M, H, W) of a volume, in [0, 1] and return (B, K) in
[0, 1]; all are 0 for an all-zero map and 1 for an all-one map, and never fall when a value of the map rises.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6


def lse(saliency: Tensor, r: Tensor | float) -> Tensor:
    """Log-sum-exp pooling 1/r · log(mean(exp(r·S))): mean for r → 0, maximum for r → ∞.

    r  sharpness over 0, a number or (K,)
    The map's maximum is taken out first, so that no r·S overflows. What is left is ln(1 + m) with
    m = mean(exp(r·(S − max)) − 1): by log1p and expm1 near m = 0, where maps are near 0, even, or r is small and
    ln(mean(exp(…))) would lose every digit.
    """
    flat = saliency.flatten(2)  # (B, K, H·W)
    sharpness = torch.as_tensor(r, dtype=flat.dtype, device=flat.device)
    top = flat.amax(dim=2).detach()  # the result does not depend on what is taken out, so neither does its gradient
    scaled = (flat - top.unsqueeze(-1)) * sharpness.unsqueeze(-1)  # 0 or less
    less = torch.expm1(scaled).mean(dim=2)  # in (−1, 0]
    near = torch.log1p(less.clamp_min(-0.9))
    far = torch.log(torch.exp(scaled).mean(dim=2))
    return (top + torch.where(less > -0.5, near, far) / sharpness).clamp(0.0, 1.0)


def lse_lba(saliency: Tensor, r0: float, beta: Tensor) -> Tensor:
    """Log-sum-exp pooling with lower-bounded adaptation (seed 001, FIG. 14A; Yao et al. 2018).

    r0    lower bound of the sharpness, 0 or more
    beta  (K,) learnt; sharpness r = r0 + exp(beta)
    """
    return lse(saliency, r0 + torch.exp(beta))


def noisy_or(saliency: Tensor) -> Tensor:
    """1 − Π(1 − S), by sums of logarithms."""
    flat = saliency.flatten(2)
    one = flat >= 1.0
    log_absent = torch.log1p(-flat.masked_fill(one, 0.0)).sum(dim=2)
    return torch.where(one.any(dim=2), torch.ones_like(log_absent), -torch.expm1(log_absent))


def generalised_mean(saliency: Tensor, r: float = 4.0) -> Tensor:
    """(mean(S^r))^(1/r) with the maximum taken out first, so that small values do not underflow."""
    flat = saliency.flatten(2)
    top = flat.amax(dim=2, keepdim=True).clamp_min(EPS)
    pooled = top.squeeze(2) * ((flat / top).pow(r).mean(dim=2).clamp_min(EPS**2)).pow(1.0 / r)
    return torch.where(flat.amax(dim=2) > 0, pooled, torch.zeros_like(pooled)).clamp(0.0, 1.0)


def mean(saliency: Tensor) -> Tensor:
    """Arithmetic mean."""
    return saliency.flatten(2).mean(dim=2)


def maximum(saliency: Tensor) -> Tensor:
    """Maximum."""
    return saliency.flatten(2).amax(dim=2)


def low_pass(saliency: Tensor, side: int = 3) -> Tensor:
    """Maximum of the map after a moving mean of side×side places: one bright place alone weighs little."""
    planes = saliency if saliency.dim() == 4 else saliency.flatten(1, 2)
    smooth = F.avg_pool2d(planes, side, stride=1, padding=side // 2, count_include_pad=False)
    return smooth.reshape(saliency.shape).flatten(2).amax(dim=2)


def log_sum_exp(saliency: Tensor) -> Tensor:
    """`lse` with the sharpness 10 of a fixed r, for comparison with the learnt one."""
    return lse(saliency, 10.0)


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "lse": log_sum_exp,
    "nor": noisy_or,
    "gm": generalised_mean,
    "mean": mean,
    "max": maximum,
    "low_pass": low_pass,
}


class Pooling(nn.Module):
    """One of POOLINGS as a module. ValueError for a name that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in POOLINGS:
            raise ValueError(f"pooling {name!r} is none of lse_lba, {', '.join(POOLINGS)}")
        self.name = name

    def forward(self, saliency: Tensor) -> Tensor:
        """(B, K, H, W) → (B, K)."""
        return POOLINGS[self.name](saliency.float())


class LseLba(nn.Module):
    """LSE-LBA with one learnt beta per class."""

    def __init__(self, classes: int, r0: float = 5.0, beta: float = 1.0) -> None:
        """r0 in {0, 5, 10} in the seed; beta is the start value. ValueError for a negative r0."""
        super().__init__()
        if r0 < 0:
            raise ValueError(f"r0 is {r0}, it must be 0 or more")
        self.r0 = r0
        self.beta = nn.Parameter(torch.full((classes,), float(beta)))

    def forward(self, saliency: Tensor) -> Tensor:
        """(B, K, H, W) → (B, K)."""
        # The sums over thousands of places need more digits than half precision has.
        return lse_lba(saliency.float(), self.r0, self.beta.float())

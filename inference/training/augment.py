"""Random changes of a batch, the same for the images and their regions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.training.config import Augmentation


def augment(
    images: Tensor, regions: Tensor | None, ranges: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """images (B, 1, H, W) in [0, 1]; regions (B, K, h, w) or None; one draw per image."""
    batch = images.shape[0]

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator, device=generator.device)

    if ranges.zoom != (1.0, 1.0) or ranges.shift or ranges.rotation:
        zoom, turn = draw(*ranges.zoom), draw(-1, 1) * math.radians(ranges.rotation)
        dx, dy = draw(-1, 1) * 2 * ranges.shift, draw(-1, 1) * 2 * ranges.shift
        flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0) if ranges.flip else torch.ones_like(zoom)
        aspect = images.shape[3] / images.shape[2]
        cos, sin = zoom * torch.cos(turn), zoom * torch.sin(turn)
        first = torch.stack([cos, -sin * flip / aspect, dx], 1)
        second = torch.stack([sin * aspect, cos * flip, dy], 1)
        theta = torch.stack([first, second], 1)  # (B, 2, 3)
        images = _warp(images, theta)
        regions = (_warp(regions, theta) > 0.5).float() if regions is not None else None
    if ranges.tone:
        spread = ranges.tone
        normal = torch.randn(4, batch, 1, 1, 1, generator=generator, device=generator.device)
        air = images <= 0
        images = images.clamp(0, 1).pow(torch.exp(spread * normal[0]))
        images = (images - 0.5) * torch.exp(spread * normal[1]) + 0.5 + 0.4 * spread * normal[2]
        images = images + 0.12 * spread * normal[3].abs() * torch.randn(
            images.shape, generator=generator, device=generator.device
        )
        images = images.clamp(0, 1).masked_fill(air, 0.0)
    return images, regions


def _warp(values: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

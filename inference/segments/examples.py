"""What the region finder learns from: chest phantoms of more shapes and tones than `phantoms.chest` draws.

The phantoms are too clean and too alike for a network that is to find lungs in x-rays of people. So proportions
vary beyond healthy ones, and each batch changes tone by region, grey veils, noise, sharpness, position, bending,
collimation and things lying on the patient (domain randomisation, Tobin et al. 2017).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference.phantoms.chest import CHEST_CLASSES
from inference.phantoms.chest_anatomy import REGIONS, ChestPlan, draw_normal, region_masks, shapes
from inference.phantoms.chest_findings import PAINTERS
from inference.phantoms.texture import Bool, Float


def draw(seed: int, side: int) -> tuple[Float, Bool]:
    """Display values (side, side) and masks (len(REGIONS), side, side) of a seed; seeds are not those of `chest`."""
    rng = np.random.default_rng([seed, 71])
    plan = varied(rng)
    grid = shapes(plan, (side, side))
    image = draw_normal(plan, grid)
    count = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.35, 0.2, 0.1]))
    for name in rng.choice(CHEST_CLASSES, size=count, replace=False):
        image = image + PAINTERS[str(name)](rng, plan, grid)[0]
    masks = region_masks(plan, grid)
    return image.astype(np.float32), np.stack([masks[name] for name in REGIONS])


def varied(rng: np.random.Generator) -> ChestPlan:
    """Narrow and broad chests, shallow breath, large hearts, shifted midlines."""
    dome = float(rng.uniform(0.52, 0.80))
    return ChestPlan(
        axis=0.5 + float(rng.uniform(-0.03, 0.03)),
        half_width=float(rng.uniform(0.31, 0.42)),
        apex=float(rng.uniform(0.06, 0.18)),
        dome_right=dome,
        dome_left=dome + float(rng.uniform(-0.02, 0.06)),
        heart=float(rng.uniform(0.36, 0.70)),
        flatness=float(rng.uniform(0.4, 1.4)),
        air=float(rng.uniform(0.5, 1.15)),
        seed=int(rng.integers(2**31)),
    )


class Changes:
    """Random changes of a batch by one generator: the same seed gives the same changes."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int, low: float, high: float) -> Tensor:
        """(count, 1, 1, 1) evenly from [low, high]."""
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=self.generator)

    def veil(self, count: int, side: int, cells: int) -> Tensor:
        """(count, 1, side, side) smooth noise of deviation about 1 with `cells` cells along a side."""
        coarse = torch.randn(count, 1, cells + 3, cells + 3, generator=self.generator)
        return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)

    def some(self, count: int, share: float) -> Tensor:
        """(count, 1, 1, 1) of 1 with probability `share`, else 0."""
        return (torch.rand(count, 1, 1, 1, generator=self.generator) < share).float()

    def by_region(self, images: Tensor, masks: Tensor) -> Tensor:
        """Lungs lighter or darker, heart and belly nearer to each other; images (B, 1, S, S), masks (B, R, S, S)."""
        n, side = len(images), images.shape[2]
        soft = F.avg_pool2d(masks, 5, 1, 2)
        lungs, heart = soft[:, :2].amax(1, keepdim=True), soft[:, 2:3]
        haze = (self.veil(n, side, 3) * 0.5 + 0.6).clamp(0, 1.4)
        images = images + lungs * self.draw(n, -0.05, 0.24) * haze
        images = images + heart * self.draw(n, -0.14, 0.08)
        down = torch.linspace(-1, 1, side).reshape(1, 1, side, 1)
        rest = 1 - soft.amax(1, keepdim=True)
        images = images + rest * down.clamp(min=0) * self.draw(n, -0.15, 0.40)
        # gas in the bowel, air beside the arms: dark, and no lung
        images = images - rest * (self.veil(n, side, 5) - 0.7).clamp(0, 1) * self.draw(n, -0.08, 0.28)
        images = images + (down * self.draw(n, -0.12, 0.12) + down.transpose(2, 3) * self.draw(n, -0.12, 0.12))
        return images + self.veil(n, side, 3) * self.draw(n, 0, 0.10) + self.veil(n, side, 9) * self.draw(n, 0, 0.04)

    def place(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Zoom, shift, rotation, unequal sides and smooth bending, the same for both."""
        n, side = len(images), images.shape[2]
        zoom, turn = self.draw(n, 0.66, 1.12), self.draw(n, -14, 14) * math.pi / 180
        wide = self.draw(n, 0.86, 1.16)
        cos, sin = torch.cos(turn), torch.sin(turn)
        first = torch.cat([zoom * wide * cos, -zoom * sin, self.draw(n, -0.22, 0.22)], 3)
        second = torch.cat([zoom * wide * sin, zoom * cos, self.draw(n, -0.22, 0.22)], 3)
        theta = torch.cat([first, second], 2).squeeze(1)
        grid = F.affine_grid(theta, [n, 1, side, side], align_corners=False)
        bend = torch.cat([self.veil(n, side, 4), self.veil(n, side, 4)], 1) * self.draw(n, 0, 0.035)
        grid = grid + bend.permute(0, 2, 3, 1)
        both = F.grid_sample(torch.cat([images, masks], 1), grid, "bilinear", "border", align_corners=False)
        inside = (grid.abs() <= 1.0).all(3).unsqueeze(1).float()
        black = self.some(n, 0.5)
        return both[:, :1] * (1 - black * (1 - inside)), (both[:, 1:] * inside > 0.5).float()

    def detector(self, images: Tensor) -> Tensor:
        """Gamma, contrast, softness and noise of other machines; images in about [0, 1]."""
        n, side = len(images), images.shape[2]
        images = images.clamp(0, 1.3).pow(torch.exp(self.draw(n, -0.6, 0.5)))
        small = int(torch.randint(side // 4, side, (1,), generator=self.generator))
        soft = F.interpolate(images, size=(small, small), mode="area")
        soft = F.interpolate(soft, size=(side, side), mode="bicubic", align_corners=False)
        images = torch.lerp(images, soft, self.some(n, 0.45))
        noise = torch.randn(images.shape, generator=self.generator)
        return images + noise * self.draw(n, 0, 0.05) * self.some(n, 0.7)

    def on_top(self, images: Tensor) -> Tensor:
        """Collimated borders, bright or dark plates, markers and lines lying on the patient."""
        n, side = len(images), images.shape[2]
        at = torch.linspace(0, 1, side)
        x, y = at.reshape(1, 1, 1, side), at.reshape(1, 1, side, 1)
        frame = self.some(n, 0.3)
        edges = [self.draw(n, -0.06, 0.09) for _ in range(4)]
        inside = ((x > edges[0]) & (x < 1 - edges[1]) & (y > edges[2]) & (y < 1 - edges[3])).float()
        images = torch.lerp(images, self.some(n, 0.25).expand_as(images), frame * (1 - inside))
        for _ in range(3):
            cx, cy = self.draw(n, 0, 1), self.draw(n, 0, 1)
            w, h = self.draw(n, 0.01, 0.14), self.draw(n, 0.01, 0.14)
            plate = ((x - cx).abs() < w).float() * ((y - cy).abs() < h).float()
            images = images + plate * self.draw(n, -0.25, 0.45) * self.some(n, 0.35)
        for _ in range(2):
            slope, offset = self.draw(n, -2, 2), self.draw(n, -0.6, 1.6)
            line = torch.exp(-(((y - offset - slope * (x - 0.5)) / 0.012) ** 2))
            images = images + line * self.draw(n, 0.05, 0.3) * self.some(n, 0.3)
        return images

    def __call__(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 1, S, S), masks (B, R, S, S) of 0 and 1 → the same, the images spread over [0, 1]."""
        images, masks = self.place(self.by_region(images, masks), masks)
        return spread(self.on_top(self.detector(images))), masks


def spread(images: Tensor) -> Tensor:
    """0.5-99.5 % of each image over [0, 1], as `prepare_whole` does."""
    flat = images.flatten(1)
    limits = torch.quantile(flat, torch.tensor([0.005, 0.995]), dim=1)
    low, high = (limit.reshape(-1, 1, 1, 1) for limit in limits)
    return ((images - low) / (high - low).clamp_min(1e-3)).clamp(0, 1)

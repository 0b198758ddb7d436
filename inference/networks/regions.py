"""Small networks of the region finder and of the input check; both see a square of one channel."""

from __future__ import annotations

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.heatmap import DenseRow, Down, conv


class RegionNetwork(nn.Module):
    """(B, 1, S, S) → logits (B, R, S, S), one per region; S a multiple of 32.

    A U-Net (Ronneberger et al. 2015; MONAI's BasicUNet) on 2×2 blocks of pixels as channels: a quarter of the
    places for the same field of view, so that it trains and runs on a CPU.
    """

    def __init__(self, regions: int = 3, width: int = 16) -> None:
        super().__init__()
        features = (width, width * 3 // 2, width * 2, width * 3, width * 4, width)
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),
            BasicUNet(
                spatial_dims=2, in_channels=4, out_channels=4 * regions, features=features, norm="batch",
                act=("relu", {"inplace": True}),
            ),
            nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x normalised as `centred` does."""
        out: Tensor = self.body(x)
        return out


class CheckNetwork(nn.Module):
    """(B, 1, S, S) → logits (B, categories + turns + 1): what the picture shows, how far it is turned, whether its
    tones are inverted."""

    def __init__(self, categories: int = 5, turns: int = 4, width: int = 12) -> None:
        super().__init__()
        self.parts = (categories, turns, 1)
        self.body = nn.Sequential(conv(1, width, 5, 2), nn.ReLU(inplace=True))
        rows: list[nn.Module] = []
        inputs = width
        for level in range(3):
            rows += [Down(inputs, width << (level + 1)), DenseRow(width << (level + 1), width, 1)]
            inputs = (width << (level + 1)) + width
        self.rows = nn.Sequential(*rows)
        self.last = Down(inputs, 128)
        self.head = nn.Linear(2 * 128, sum(self.parts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, 1, S, S) normalised → (B, categories), (B, turns), (B,)."""
        feature = self.last(self.rows(self.body(x)))  # (B, 128, S/32, S/32)
        pooled = torch.cat([feature.mean((2, 3)), feature.amax((2, 3))], 1)
        pooled = F.dropout(pooled, 0.2, self.training)
        categories, turns, inverted = torch.split(self.head(pooled), list(self.parts), dim=1)
        return categories, turns, inverted.squeeze(1)

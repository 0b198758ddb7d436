"""Malignancy of one mammogram: a fully convolutional network whose map says where (seed 000, FIG. 6-7).

The last convolution gives a map of malignancy at 1/8 of the input's resolution; LSE-LBA pools it to the
image's score. Lesions are the places of the map over a threshold, so score and outlines agree.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.heatmap import DenseRow, Down, HeatmapOutput, Up, conv
from inference.networks.pooling import LseLba

STRIDE = 8


class MalignancyNetwork(nn.Module):
    """(B, 1, H, W) → one map (B, 1, H/8, W/8) and one score; H and W any multiples of 32."""

    def __init__(self, width: int = 16, growth: int = 12, depth: int = 2, r0: float = 5.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(1, width // 2, 5, 2),
            nn.ReLU(inplace=True),
            conv(width // 2, width // 2),
            nn.ReLU(inplace=True),
        )
        self.down1 = Down(width // 2, width)
        self.down2 = Down(width, 2 * width)
        self.row1 = DenseRow(2 * width, growth, depth)
        self.down3 = Down(2 * width, 4 * width)
        self.row2 = DenseRow(4 * width, growth, depth)
        self.down4 = Down(4 * width, 6 * width)
        self.row3 = DenseRow(6 * width, growth, depth)
        self.up2 = Up(self.row3.outputs, self.row2.outputs, 3 * width)
        self.up1 = Up(3 * width, self.row1.outputs, 2 * width)
        self.head = nn.Conv2d(2 * width, 1, 1)
        nn.init.constant_(self.head.bias, -4.0)  # type: ignore[arg-type]  # malignant places are rare
        self.pooling = LseLba(1, r0, beta=1.6)

    def forward(self, x: Tensor) -> HeatmapOutput:
        """The map is filed under its number of rows H/8."""
        feature = self.down2(self.down1(self.stem(x)))  # (B, 2W, H/8, W/8)
        fine = self.row1(feature)
        feature = self.down3(feature)  # (B, 4W, H/16, W/16)
        middle = self.row2(feature)
        coarse = self.row3(self.down4(feature))  # (B, 6W + …, H/32, W/32)
        fused = self.up1(self.up2(coarse, middle), fine)  # (B, 2W, H/8, W/8)
        fused = F.dropout2d(fused, 0.1, self.training)
        logits = self.head(fused)  # (B, 1, H/8, W/8)
        maps = torch.sigmoid(logits)
        row = maps.shape[2]
        return HeatmapOutput({row: maps}, {row: logits}, {row: self.pooling(maps)})

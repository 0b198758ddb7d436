"""ResNet-18 of the same input, as a baseline (He et al. 2016; MONAI's, for one-channel images)."""

from __future__ import annotations

import torch
from monai.networks.nets import resnet18
from torch import Tensor, nn

from inference.networks.heatmap import HeatmapOutput

ROW = 1  # it has no map: one place that is the whole image


class Baseline(nn.Module):
    """(B, 1, S, S) → K probabilities; its "map" is that one place, so that it trains by the same loop."""

    def __init__(self, classes: int, input_size: int = 64) -> None:
        super().__init__()
        # the paper's first stride of 2 is for images of 224²; at 64² it would leave a last map of 2²
        stride = 1 if input_size < 128 else 2
        self.body = resnet18(spatial_dims=2, n_input_channels=1, conv1_t_stride=stride, num_classes=classes)

    def forward(self, x: Tensor, patient: Tensor | None = None) -> HeatmapOutput:
        """x (B, 1, S, S); `patient` is not used."""
        logits = self.body(x)  # (B, K)
        pooled = torch.sigmoid(logits)
        places = logits[:, :, None, None]
        return HeatmapOutput({ROW: pooled[:, :, None, None]}, {ROW: places}, {ROW: pooled})

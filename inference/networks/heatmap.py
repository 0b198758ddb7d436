"""Multi-resolution network with probability maps (seed 001, FIG. 14A; Yao et al. 2018), for images and volumes.

    row   64          32          16          8
          F(1) ─down→ F(2) ─down→ F(3) ─down→ F(4)      Down: half the side, twice the channels
           │           │           │           │        DenseRow along each resolution
          ⊕ ←──up──── ⊕ ←──up──── ⊕ ←──up──── F         Up: nearest neighbour, concatenated, convolved
           │           │           │           │        head: 1×1 convolution, one W for all places
          map         map         map         map       sigmoid; LSE-LBA pools each to K probabilities

Shapes are written for images (B, C, N, N); a volume's tensors have its slices in front: (B, C, M, N, N).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.pooling import LseLba, Pooling

ROWS = (64, 32, 16, 8)
CONV = {2: nn.Conv2d, 3: nn.Conv3d}


class HeatmapOutput(NamedTuple):
    """`maps`: row N → (B, K, N, N), volumes (B, K, M, N, N); `logits`: the same before the sigmoid;
    `pooled`: row N → (B, K)."""

    maps: dict[int, Tensor]
    logits: dict[int, Tensor]
    pooled: dict[int, Tensor]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dims: int = 2, slices: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation, without the nonlinearity; `slices` is the stride across slices."""
    if dims == 2:
        flat = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(flat, nn.BatchNorm2d(outputs))
    deep = min(kernel, 3)  # slices lie further apart than pixels
    steps, pad = (slices, stride, stride), (deep // 2, kernel // 2, kernel // 2)
    volume = nn.Conv3d(inputs, outputs, (deep, kernel, kernel), steps, pad, bias=False)
    return nn.Sequential(volume, nn.BatchNorm3d(outputs))


class Down(nn.Module):
    """F(l+1) = σ(g(F(l)) + f(F(l))): half the resolution, f a strided 1×1 convolution, g two 3×3."""

    def __init__(self, inputs: int, outputs: int, dims: int = 2, slices: int = 1) -> None:
        super().__init__()
        self.g = nn.Sequential(
            conv(inputs, outputs, 3, 2, dims, slices), nn.ReLU(inplace=True), conv(outputs, outputs, dims=dims)
        )
        self.f = conv(inputs, outputs, 1, 2, dims, slices)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N, N) → (B, C', N/2, N/2)."""
        return F.relu(self.g(x) + self.f(x), inplace=True)


class DenseRow(nn.Module):
    """F(m+1) = σ(f(F1 ⊕ … ⊕ Fm)) along one resolution: every step must transform, none is skipped."""

    def __init__(self, inputs: int, growth: int, depth: int, dims: int = 2) -> None:
        super().__init__()
        self.steps = nn.ModuleList(conv(inputs + m * growth, growth, dims=dims) for m in range(depth))
        self.outputs = inputs + depth * growth

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N, N) → (B, C + depth·growth, N, N)."""
        for step in self.steps:
            x = torch.cat([x, F.relu(step(x), inplace=True)], dim=1)
        return x


class Up(nn.Module):
    """F(m, l) = f(U(F(n, l+1)) ⊕ F(m−1, l)) with U nearest neighbour."""

    def __init__(self, coarse: int, fine: int, outputs: int, dims: int = 2) -> None:
        super().__init__()
        self.f = conv(coarse + fine, outputs, dims=dims)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, C1, N, N), (B, C2, 2N, 2N) → (B, C', 2N, 2N)."""
        return F.relu(self.f(torch.cat([F.interpolate(coarse, size=fine.shape[2:], mode="nearest"), fine], 1)))


class HeatmapNetwork(nn.Module):
    """Scan → K probability maps at rows 8, 16, 32 and 64, and K pooled probabilities.

    The number of halvings before row 64 follows from the input size, so that the output stays 64×64:
    256² → patches of 4², 512² → 8², 1024² → 16² pixels.
    """

    def __init__(
        self,
        classes: int,
        input_size: int = 256,
        width: int = 16,
        growth: int = 12,
        depth: int = 2,
        r0: float = 5.0,
        channels: int = 1,
        pooling: str = "lse_lba",
        patient: int = 0,
        dims: int = 2,
        slice_strides: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        """ValueError unless input_size is 64 times a power of two.

        patient        length of the vector of patient inputs (age, sex, history …); 0 for none
        dims           2 for images, 3 for volumes of any number of slices M
        slice_strides  how much coarser in slices each row is than the one before it (volumes): (1, 1, 1)
                       keeps all M at every row, (1, 2, 2) gives M, M, M/2, M/4
        """
        super().__init__()
        halvings = math.log2(input_size / ROWS[0])
        if halvings < 0 or halvings != int(halvings):
            raise ValueError(f"input size {input_size} is not 64 times a power of two")
        if dims not in CONV:
            raise ValueError(f"dims is {dims}, it must be 2 or 3")
        stem: list[nn.Module] = []
        inputs = channels
        for step in range(int(halvings)):
            outputs = max(8, width >> (int(halvings) - 1 - step))
            stem += [conv(inputs, outputs, 5 if step == 0 else 3, 2, dims), nn.ReLU(inplace=True)]
            inputs = outputs
        if not stem:
            stem = [conv(inputs, width, dims=dims), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem)
        widths = [width << level for level in range(len(ROWS))]  # C, 2C, 4C, 8C for rows 64, 32, 16, 8
        self.downs = nn.ModuleList(Down(widths[i], widths[i + 1], dims, slice_strides[i]) for i in range(len(ROWS) - 1))
        rows = [DenseRow(c, growth << min(i, 1), depth, dims) for i, c in enumerate(widths)]
        self.dense = nn.ModuleList(rows)
        row_widths = [row.outputs for row in rows]
        fused = [max(24, width + growth)] * (len(ROWS) - 1) + [row_widths[-1]]
        self.ups = nn.ModuleList(Up(fused[i + 1], row_widths[i], fused[i], dims) for i in range(len(ROWS) - 1))
        self.heads = nn.ModuleList(CONV[dims](c, classes, 1) for c in fused)
        for head in self.heads:
            nn.init.constant_(head.bias, -4.0)  # type: ignore[arg-type]  # abnormal places are rare
        self.patient = nn.Linear(patient, widths[-1]) if patient else None
        self.pooling: nn.Module = LseLba(classes, r0) if pooling == "lse_lba" else Pooling(pooling)

    def forward(self, x: Tensor, patient: Tensor | None = None) -> HeatmapOutput:
        """x (B, C, S, S) or (B, C, M, S, S) normalised; patient (B, P) where the network has such inputs.

        ValueError when the patient's inputs are missing or not wanted.
        """
        if (patient is None) != (self.patient is None):
            raise ValueError("patient inputs are " + ("missing" if patient is None else "not for this network"))
        feature = self.stem(x)  # (B, W, 64, 64)
        rows = [self.dense[0](feature)]  # (B, W + depth·growth, 64, 64)
        for level, (down, dense) in enumerate(zip(self.downs, self.dense[1:], strict=True)):
            feature = down(feature)  # (B, 2W, 32, 32), (B, 4W, 16, 16), (B, 8W, 8, 8)
            if level == len(ROWS) - 2 and self.patient is not None and patient is not None:
                # what is known of the patient holds everywhere: added at the coarsest row, carried up from there
                told = self.patient(patient)
                feature = feature + told.reshape(*told.shape, *[1] * (feature.dim() - 2))
            rows.append(dense(feature))
        fused = rows[-1]
        logits = {ROWS[-1]: self.heads[-1](fused)}  # (B, K, 8, 8)
        for level in range(len(ROWS) - 2, -1, -1):
            fused = self.ups[level](fused, rows[level])  # (B, F, 16, 16), then 32, then 64
            logits[ROWS[level]] = self.heads[level](fused)  # W shared by all N² instances of the row
        maps = {row: torch.sigmoid(value) for row, value in logits.items()}
        return HeatmapOutput(maps, logits, {row: self.pooling(value) for row, value in maps.items()})

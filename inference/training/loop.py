"""The training loop: Adam, multi-label cross-entropy on pooled probabilities, early stopping on mean AUC."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from inference.evaluation.roc import mean_auc
from inference.networks import HeatmapNetwork, HeatmapOutput, MalignancyNetwork
from inference.training import data
from inference.training.augment import augment
from inference.training.config import TrainConfig

OTHER_ROWS = 0.3
REGION_POSITIVE = 6.0


@dataclass(frozen=True)
class Predicted:
    """Network outputs over a set: `pooled` (n, K) and `maps` (n, K, h, w) uint8 of the finest row."""

    pooled: NDArray[np.float32]
    maps: NDArray[np.uint8]


def build(config: TrainConfig) -> nn.Module:
    """The untrained network of a configuration."""
    if config.family == "heatmap":
        return HeatmapNetwork(
            len(config.classes), config.input_size[0], config.width, config.growth, config.depth, config.r0
        )
    return MalignancyNetwork(config.width, config.growth, config.depth, config.r0)


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """(n, H, W) uint8 → (n, 1, H, W) float in [0, 1]."""
    return torch.from_numpy(images).unsqueeze(1).float() / 255


def centred(images: Tensor) -> Tensor:
    """[0, 1] → about zero mean and unit range; the last step before the network everywhere."""
    return (images - 0.5) * 4.0


def loss_of(output: HeatmapOutput, labels: Tensor, regions: Tensor | None, roi_weight: float) -> Tensor:
    """Cross-entropy of the finest row's pooled probabilities, the other rows' at less weight, and, where
    regions are known, of the patches themselves.

    labels (B, K), regions (B, K, h, w) or None
    """
    finest = max(output.pooled)
    total = torch.zeros((), device=labels.device)
    for row, pooled in output.pooled.items():
        weight = 1.0 if row == finest else OTHER_ROWS / (len(output.pooled) - 1)
        total = total + weight * F.binary_cross_entropy(pooled.clamp(1e-5, 1 - 1e-5), labels)
    if regions is not None and roi_weight:
        logits = output.logits[finest]
        positive = torch.tensor(REGION_POSITIVE, device=labels.device)
        patches = F.binary_cross_entropy_with_logits(logits, regions, pos_weight=positive)
        s, g = torch.sigmoid(logits).flatten(2), regions.flatten(2)
        overlap = 1 - 2 * (s * g).sum(2) / ((s * s).sum(2) + (g * g).sum(2) + 1.0)
        present = g.amax(2)
        dice = (overlap * present).sum() / present.sum().clamp_min(1.0)
        total = total + roi_weight * (patches + 0.3 * dice)
    return total


@torch.no_grad()
def predict(network: nn.Module, images: NDArray[np.uint8], batch: int = 16) -> Predicted:
    """Outputs over a set, in evaluation mode."""
    network.eval()
    pooled, maps = [], []
    for start in range(0, len(images), batch):
        output: HeatmapOutput = network(centred(to_input(images[start : start + batch])))
        finest = max(output.pooled)
        pooled.append(output.pooled[finest].numpy())
        maps.append((output.maps[finest].numpy() * 255).round().astype(np.uint8))
    return Predicted(np.concatenate(pooled), np.concatenate(maps))


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Train and write `config.out`: config.json, split.json, history.csv, weights.safetensors."""
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    config.save(out / "config.json")
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    started = time.monotonic()
    whole = data.load(config)
    parts = data.split(whole.patients, config.seed)
    names = {part: sorted(set(whole.patients[index].tolist())) for part, index in parts.items()}
    (out / "split.json").write_text(json.dumps(names))
    say(f"{len(whole)} images in {time.monotonic() - started:.0f} s; " + _sizes(parts))
    training, validation = whole.take(parts["train"]), whole.take(parts["validation"])
    # Not channels_last: on CPU (torch 2.13) its backward pass through MalignancyNetwork corrupts memory.
    network = build(config)
    steps = config.epochs * -(-len(training) // config.batch)
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * config.learning_rate, total_steps=steps)
    history: list[dict[str, float]] = []
    best, since, started = -1.0, 0, time.monotonic()
    for epoch in range(config.stop or config.epochs):
        loss = _epoch(network, training, config, optimiser, schedule, generator)
        score = mean_auc(validation.labels, predict(network, validation.images).pooled)
        minutes = (time.monotonic() - started) / 60
        history.append({"epoch": epoch, "loss": loss, "validation_auc": score, "minutes": minutes})
        say(f"epoch {epoch}: loss {loss:.4f}, validation AUC {score:.4f}, {minutes:.1f} min")
        if score > best:
            best, since = score, 0
            save_file(network.state_dict(), out / "weights.safetensors")
        else:
            since += 1
        if since >= config.patience or minutes > config.minutes:
            break
    with (out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    return out


def _sizes(parts: dict[str, NDArray[np.int64]]) -> str:
    return ", ".join(f"{part} {len(index)}" for part, index in parts.items())


def _epoch(
    network: nn.Module,
    training: data.TrainingSet,
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> float:
    network.train()
    order = torch.randperm(len(training), generator=generator).numpy()
    known = training.regions.shape[-1] > 0
    total, seen = 0.0, 0
    for start in range(0, len(order), config.batch):
        rows = order[start : start + config.batch]
        labels = torch.from_numpy(training.labels[rows]).float()
        regions = torch.from_numpy(training.regions[rows]).float() if known else None
        images, regions = augment(to_input(training.images[rows]), regions, config.augmentation, generator)
        loss = loss_of(network(centred(images)), labels, regions, config.roi_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
    return total / seen

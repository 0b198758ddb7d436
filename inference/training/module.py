"""The network, its loss and its plan as a Lightning module; batches of a ScanSet as a Lightning data module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from inference.datasets.base import ScanSet
from inference.evaluation.roc import mean_auc
from inference.networks import HeatmapNetwork, HeatmapOutput, MalignancyNetwork
from inference.networks.resnet import Baseline
from inference.preprocess.patient import LENGTH, patient_vector
from inference.training.augment import augment
from inference.training.config import TrainConfig
from inference.training.loss import loss_of

MONITOR = "validation_auc"
Batch = dict[str, Tensor]


def build(config: TrainConfig) -> nn.Module:
    """The untrained network of a configuration. ValueError for a network that is not known."""
    if config.network == "resnet18":
        return Baseline(len(config.classes), config.input_size[0])
    if config.network != "multiresolution":
        raise ValueError(f"network {config.network!r} is neither multiresolution nor resnet18")
    if config.family == "malignancy":
        return MalignancyNetwork(config.width, config.growth, config.depth, config.r0)
    return HeatmapNetwork(
        len(config.classes),
        config.input_size[0],
        config.width,
        config.growth,
        config.depth,
        config.r0,
        pooling=config.pooling,
        patient=LENGTH if config.patient_inputs else 0,
    )


def centred(images: Tensor) -> Tensor:
    """[0, 1] → about zero mean and unit range; the last step before the network everywhere."""
    return (images - 0.5) * 4.0


class Rows(Dataset[Batch]):
    """A ScanSet row by row."""

    def __init__(self, scans: ScanSet, config: TrainConfig) -> None:
        self.scans, self.config = scans, config
        self.with_regions = bool(scans.boxed.any()) and config.roi_weight > 0

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> Batch:
        """image (1, H, W) uint8, labels (K,), where known regions (K, h, w) and known, where wanted patient."""
        scans = self.scans
        row: Batch = {
            "image": torch.from_numpy(np.array(scans.image(index))).unsqueeze(0),
            "labels": torch.from_numpy(scans.labels[index]).float(),
        }
        if self.with_regions:
            region = scans.region(index)
            empty = np.zeros((len(scans.classes), *self.config.map_size), np.uint8)
            row["regions"] = torch.from_numpy(np.array(empty if region is None else region)).float()
            row["known"] = torch.tensor(float(region is not None))
        if self.config.patient_inputs:
            facts = patient_vector(float(scans.ages[index]), str(scans.sexes[index]), str(scans.views[index]))
            row["patient"] = torch.from_numpy(facts)
        return row


class Scans(LightningDataModule):
    """Training and validation batches."""

    def __init__(self, training: ScanSet, validation: ScanSet, config: TrainConfig) -> None:
        super().__init__()
        self.parts, self.config = (Rows(training, config), Rows(validation, config)), config

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled by the run's seed and the epoch's number, so that a resumed run sees the same order."""
        rows, trainer = self.parts[0], self.trainer
        assert trainer is not None
        order = DistributedSampler[Batch](rows, trainer.world_size, trainer.global_rank, seed=self.config.seed)
        return self._loader(rows, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """In order."""
        return self._loader(self.parts[1], None)

    def _loader(self, rows: Rows, order: DistributedSampler[Batch] | None) -> DataLoader[Batch]:
        workers = self.config.workers
        return DataLoader(
            rows,
            self.config.batch,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class Training(LightningModule):
    """Adam 1e-3 with weight decay 1e-5 (seed 001), augmentation on the device, mean AUC as the judge."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        # Not channels_last: on CPU (torch 2.13) its backward pass through MalignancyNetwork corrupts memory.
        self.network = build(config)
        if config.start:
            try:
                self.network.load_state_dict(load_file(config.start))
            except (OSError, SafetensorError, RuntimeError) as error:
                raise ValueError(f"{config.start} cannot be started from: {error}") from error
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, batch: Batch) -> HeatmapOutput:
        """Network outputs of a batch as it comes from Rows."""
        images = centred(batch["image"].float() / 255)
        output: HeatmapOutput = self.network(images, batch["patient"]) if "patient" in batch else self.network(images)
        return output

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One loss."""
        generator = torch.Generator(self.device)
        # its own stream for every step and process: the same run draws the same changes, also after a resume
        generator.manual_seed(self.config.seed * 1_000_003 + self.global_step * 64 + self.global_rank)
        images, regions = augment(
            batch["image"].float() / 255, batch.get("regions"), self.config.augmentation, generator
        )
        extra = (batch["patient"],) if "patient" in batch else ()
        output = self.network(centred(images), *extra)
        loss = loss_of(output, batch["labels"], regions, self.config.roi_weight, batch.get("known"))
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keep pooled probabilities and labels for the epoch's AUC."""
        output = self(batch)
        self.seen.append((output.pooled[max(output.pooled)].float(), batch["labels"]))

    def on_validation_epoch_end(self) -> None:
        """Mean AUC over all processes' images."""
        pooled, labels = (torch.cat(part) for part in zip(*self.seen, strict=True))
        self.seen.clear()
        if self.trainer.world_size > 1:
            gathered = (torch.as_tensor(self.all_gather(part)) for part in (pooled, labels))
            pooled, labels = (part.flatten(0, 1) for part in gathered)
        score = mean_auc(labels.cpu().numpy(), pooled.cpu().numpy())
        self.log(MONITOR, 0.0 if np.isnan(score) else score, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Adam with the configuration's plan of the learning rate. ValueError for an unknown plan."""
        config = self.config
        optimiser = torch.optim.Adam(self.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        if config.plan == "constant":
            return optimiser
        if config.plan == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, "max", 0.1, max(1, config.patience // 2))
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": plateau, "monitor": MONITOR}}
        if config.plan != "one-cycle":
            raise ValueError(f"plan {config.plan!r} is none of constant, plateau, one-cycle")
        steps = config.epochs * (int(self.trainer.estimated_stepping_batches) // max(self.trainer.max_epochs or 1, 1))
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * config.learning_rate, total_steps=steps + 1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


@torch.inference_mode()
def predict(
    network: nn.Module, scans: ScanSet, config: TrainConfig, batch: int = 16
) -> tuple[NDArray[np.float32], dict[int, NDArray[np.uint8]]]:
    """Pooled probabilities (n, K) and, row by row, maps (n, K, h, w) as probability × 255, in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    pooled: list[NDArray[np.float32]] = []
    maps: dict[int, list[NDArray[np.uint8]]] = {}
    for part in DataLoader(Rows(scans, config), batch):
        images = centred(part["image"].to(device).float() / 255)
        extra = (part["patient"].to(device),) if config.patient_inputs else ()
        output: HeatmapOutput = network(images, *extra)
        pooled.append(output.pooled[max(output.pooled)].float().cpu().numpy())
        for row, grid in output.maps.items():
            maps.setdefault(row, []).append((grid.float().cpu().numpy() * 255).round().astype(np.uint8))
    return np.concatenate(pooled), {row: np.concatenate(parts) for row, parts in maps.items()}

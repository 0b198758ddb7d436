"""A training run in a folder: configuration, split, history, the best weights, and where to go on from."""

from __future__ import annotations

import csv
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import save_file

from inference.datasets import load
from inference.datasets.sources import split
from inference.training.config import TrainConfig
from inference.training.module import MONITOR, Scans, Training

CONFIG, SPLIT, HISTORY, WEIGHTS, LAST = "config.json", "split.json", "history.csv", "weights.safetensors", "last.ckpt"
COLUMNS = ("epoch", "loss", MONITOR, "learning_rate", "minutes")


def resume(run: Path, say: Callable[[str], None] = print, **changes: Any) -> Path:
    """Go on with a run that ended early, under its own configuration and split.

    changes  `stop`, `minutes`, `patience`, `devices`, `threads` or `workers`; all else would make it another run
    ValueError without last.ckpt.
    """
    if not (run / LAST).is_file():
        raise ValueError(f"{run} has no {LAST} to go on from")
    known = TrainConfig.load(run / CONFIG)
    return train(prepared(known, out=str(run), **changes), say, run / LAST)


def train(config: TrainConfig, say: Callable[[str], None] = print, last: Path | None = None) -> Path:
    """Train and write `config.out`: config.json, split.json, history.csv, weights.safetensors, last.ckpt.

    The weights are those of the best validation epoch, or of the last (`config.keep`).
    ValueError for a set or a setting that cannot be used.
    """
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    config.save(out / CONFIG)
    torch.set_num_threads(config.threads)
    seed_everything(config.seed, workers=True, verbose=False)
    started = time.monotonic()
    whole = load(config)
    parts = split(config, whole)
    training, validation = parts.of(whole, "train"), parts.of(whole, "validation")
    say(
        f"{len(whole)} images in {time.monotonic() - started:.0f} s; train {len(training)}, "
        f"validation {len(validation)}, test {len(parts.of(whole, 'test'))}"
    )
    if not len(training) or not len(validation):
        raise ValueError("too few patients for a training and a validation part")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")  # advice on loaders: sets here lie in memory
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = _trainer(config, out, say)
        if trainer.is_global_zero:
            parts.save(out / SPLIT)
        trainer.fit(
            Training(config),
            datamodule=Scans(training, validation, config),
            ckpt_path=str(last) if last else None,
            weights_only=True,
        )
    return out


def _trainer(config: TrainConfig, out: Path, say: Callable[[str], None]) -> Trainer:
    cpu = config.devices == "cpu" or not torch.cuda.is_available()
    callbacks = [
        ModelCheckpoint(out, "last", save_on_train_epoch_end=True, enable_version_counter=False),
        EarlyStopping(MONITOR, mode="max", patience=config.patience, verbose=False),
        Written(config, out, say),
    ]
    return Trainer(
        accelerator="cpu" if cpu else "gpu",
        devices=int(config.devices) if config.devices.isdigit() else (1 if cpu else "auto"),
        precision=config.precision,  # type: ignore[arg-type]
        max_epochs=config.stop or config.epochs,
        deterministic=config.deterministic,
        gradient_clip_val=5.0,
        callbacks=callbacks,
        logger=_logger(out) if config.tensorboard else False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _logger(out: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(out, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise ValueError("tensorboard is not installed: pip install 'concord[tensorboard]'") from error


class Written(Callback):
    """history.csv, a line said per epoch, the best weights as safetensors, and the limit of minutes."""

    def __init__(self, config: TrainConfig, out: Path, say: Callable[[str], None]) -> None:
        self.config, self.out, self.say = config, out, say
        self.best, self.spent = -1.0, 0.0
        self.started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self.best, "minutes": self._minutes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.best, self.spent = state_dict["best"], state_dict["minutes"]

    def _minutes(self) -> float:
        return self.spent + (time.monotonic() - self.started) / 60

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """One line of the history; runs after the validation of the epoch."""
        metrics = trainer.callback_metrics
        score, minutes = float(metrics[MONITOR]), self._minutes()
        better = score > self.best
        self.best = max(score, self.best)
        if (better or self.config.keep == "last") and trainer.is_global_zero:
            state = {name: value.detach().cpu().contiguous() for name, value in module.network.state_dict().items()}
            save_file(state, self.out / WEIGHTS)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = dict(zip(COLUMNS, (trainer.current_epoch, float(metrics["loss"]), score, rate, minutes), strict=True))
        if trainer.is_global_zero:
            self._append(row)
            self.say(f"epoch {row['epoch']}: loss {row['loss']:.4f}, validation AUC {score:.4f}, {minutes:.1f} min")
        if minutes > self.config.minutes:
            trainer.should_stop = True

    def _append(self, row: dict[str, float]) -> None:
        path = self.out / HISTORY
        kept = read_history(self.out) if row["epoch"] else []
        kept = [known for known in kept if float(known["epoch"]) < row["epoch"]]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows([*kept, row])


def read_history(run: Path) -> list[dict[str, Any]]:
    """Lines of history.csv; empty before the first epoch has ended."""
    path = run / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def prepared(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The configuration with some fields changed; unset ones (None) stay."""
    return replace(config, **{name: value for name, value in changes.items() if value is not None})

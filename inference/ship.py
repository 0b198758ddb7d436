"""What lies in inference/shipped/: how each function there is trained, and from training to package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file

from inference.package.build import build_package
from inference.training.config import AUGMENTATIONS, TrainConfig
from inference.training.run import WEIGHTS, train

SHIPPED = Path(__file__).parent / "shipped"
BASELINE = "resnet18"
Say = Callable[[str], None]


class Shipped(NamedTuple):
    """One function."""

    id: str
    config: TrainConfig
    version: str = "0.1.0"
    half: bool = False  # weights kept in half precision, and measured so
    trial: str = ""  # why it is registered but not put into service by itself


def ship_config(family: str, seed: int, out: str) -> TrainConfig:
    """The plain training of a family, as `python -m inference train` starts from: no limit by the clock."""
    if family == "heatmap":
        return TrainConfig(
            "heatmap", "phantoms", out, count=3000, epochs=16, stop=12, width=24, growth=16, roi_weight=2.0,
            patience=5, minutes=600, seed=seed,
        )  # fmt: skip
    return TrainConfig(
        "malignancy", "phantoms", out, count=450, epochs=12, input_size=(512, 384), classes=("malignancy",),
        batch=8, roi_weight=8.0, patience=5, minutes=600, seed=seed,
        augmentation=replace(AUGMENTATIONS["mild"], flip=True),
    )  # fmt: skip


def shipped(name: str, seed: int, root: str = "") -> Shipped:
    """A function of `NAMES`. ValueError where it needs the folder of a set and none is given."""
    plain = ship_config("malignancy" if name == "malignancy" else "heatmap", seed, "")
    if name == "heatmap":
        return Shipped("heatmap-chest-phantom", replace(plain, precision="bf16-mixed", threads=1), "0.2.0")
    if name == "malignancy":
        return Shipped("malignancy-mammo-phantom", plain)
    if not root:
        raise ValueError(f"{name} is trained on real scans: --root names their folder")
    config = replace(
        plain, data="nih64", root=root, shares=(0.45, 0.1), input_size=(64, 64), width=48, growth=24, r0=0.0,
        roi_weight=0.0, epochs=30, stop=0, patience=30, keep="last", precision="bf16-mixed", threads=1,
    )  # fmt: skip
    return Shipped("heatmap-chest-nih64", config, half=True, trial="It is weak: trained on few images of 64×64 pixels")


NAMES = ("heatmap", "malignancy", "nih64")


def ship(
    name: str, seed: int, runs: Path, out: Path | None, root: str = "", cache: str = "", baseline: bool = False,
    say: Say = print,
) -> Path:  # fmt: skip
    """Train what `name` stands for below `runs` and write its package; returns the package's folder.

    baseline  also train ResNet-18 the same way on the same parts, for the card
    """
    wanted = shipped(name, seed, root)
    run = _train(wanted, runs / wanted.id, "multiresolution", cache, say)
    beside = _train(wanted, runs / f"{wanted.id}-{BASELINE}", BASELINE, cache, say) if baseline else None
    words = f"python -m inference ship {name} --seed {seed}" + (" --root FOLDER" if wanted.config.root else "")
    words += " --baseline" if baseline else ""
    folder = out or SHIPPED / wanted.id
    return build_package(run, folder, wanted.id, wanted.version, words, beside, wanted.trial)


def _train(wanted: Shipped, out: Path, network: str, cache: str, say: Say) -> Path:
    run = train(replace(wanted.config, network=network, cache=cache, out=str(out)), say)
    if wanted.half:
        kept = load_file(run / WEIGHTS)
        kept = {name: value.half() if value.is_floating_point() else value for name, value in kept.items()}
        save_file(kept, run / WEIGHTS)
    return run

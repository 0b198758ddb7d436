"""The functions that are measured: the shipped ones, and a heat-map network of a size that a hospital would use."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from pathlib import Path

import torch
from safetensors.torch import save_file

from inference.networks import HeatmapNetwork
from inference.package.manifest import MANIFEST, WEIGHTS, to_toml

SHIPPED = Path(__file__).parents[2] / "inference" / "shipped"
CHEST, BREAST, LARGE = "heatmap-chest-phantom", "malignancy-mammo-phantom", "heatmap-large"
NAMES = (
    (CHEST, "float32"),
    (BREAST, "float32"),
    (LARGE, "float32"),
    (CHEST, "bfloat16"),
    (LARGE, "bfloat16"),
)


def write_packages(folder: Path) -> None:
    """Copies of the shipped functions, and the large network (512², width 48, untrained: speed does not depend on it).

    The large one's thresholds are 0, so that every scan has findings in every class: the most that can be to store.
    """
    for name in (CHEST, BREAST):
        shutil.copytree(SHIPPED / name, folder / name)
    large = folder / LARGE
    shutil.copytree(SHIPPED / CHEST, large)
    raw = tomllib.loads((large / MANIFEST).read_text())
    raw |= {"id": LARGE, "title": "Large", "input_size": [512, 512]}
    raw["network"] |= {"width": 48}
    raw["thresholds"] = dict.fromkeys(raw["thresholds"], 0.0)
    torch.manual_seed(1)
    save_file(HeatmapNetwork(len(raw["classes"]), 512, **raw["network"]).state_dict(), large / WEIGHTS)
    raw["files"] = {name: hashlib.sha256((large / name).read_bytes()).hexdigest() for name in raw["files"]}
    (large / MANIFEST).write_text(to_toml(raw))

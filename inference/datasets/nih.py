"""NIH ChestX-ray14 as distributed (Wang et al., ChestX-ray8, CVPR 2017), and the 64×64 part of it.

Data_Entry_2017*.csv   Image Index, Finding Labels ("A|B" or "No Finding"), Patient ID, Patient Age, …
BBox_List_2017.csv     Image Index, Finding Label, x, y, w, h in pixels of 1024×1024 (983 boxes and more)
train_val_list.txt, test_list.txt   the official parts: one file name a line
images/, images_001/images/ …       PNG files; those that are not there are left out, and that is said
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from inference.datasets.base import Box, Bytes, LeakageError, ScanSet, SetError, in_memory
from inference.datasets.files import reader
from inference.training.config import TrainConfig

NONE = "No Finding"
ALIASES = {"Infiltrate": "Infiltration", "Pleural Thickening": "Pleural_Thickening"}
ORIGINAL = 1024.0  # side of every distributed PNG, in whose pixels the boxes are


def nih(config: TrainConfig, only: Collection[str] | None) -> ScanSet:
    """The folder `config.root`. SetError names what is missing or what no class list knows."""
    root = Path(config.root)
    table = _rows(_needed(root, "Data_Entry_2017*.csv*"))
    found = {path.name: path for path in root.rglob("*.png")}
    rows = [row for row in table if row["Image Index"] in found and (only is None or row["Patient ID"] in only)]
    if not rows:
        raise SetError(f"{root}: none of the {len(table)} images that the table names is there")
    index = {name: k for k, name in enumerate(config.classes)}
    labels = np.zeros((len(rows), len(index)), np.uint8)
    for i, row in enumerate(rows):
        for name in row["Finding Labels"].split("|"):
            name = ALIASES.get(name, name)
            if name == NONE:
                continue
            if name not in index:
                raise SetError(f"{row['Image Index']}: {name!r} is no class of this run")
            labels[i, index[name]] = 1
    names = [row["Image Index"] for row in rows]
    boxes = read_boxes(_one(root, "BBox_List_2017*.csv*"))
    height, width = config.map_size

    def regions(row: int) -> Bytes | None:
        known = boxes.get(names[row])
        if not known:
            return None if labels[row].any() else np.zeros((len(index), height, width), np.uint8)
        return boxes_to_grid(known, index, (height, width))

    boxed = np.zeros_like(labels)
    for i, name in enumerate(names):
        for finding, _ in boxes.get(name, ()):
            boxed[i, index[finding]] = 1
    return ScanSet(
        classes=config.classes,
        labels=labels,
        patients=np.array([row["Patient ID"] for row in rows], dtype=np.str_),
        views=np.array([row.get("View Position", "") for row in rows], dtype=np.str_),
        ages=np.array([years(row.get("Patient Age", "")) for row in rows], dtype=np.float32),
        sexes=np.array([row.get("Patient Gender", row.get("Patient Sex", "")) for row in rows], dtype=np.str_),
        names=np.array(names, dtype=np.str_),
        read=reader([found[name] for name in names], config),
        regions=regions,
        boxed=boxed,
    )


def official_test(root: Path, known: ScanSet) -> frozenset[str] | None:
    """Patients of test_list.txt, or None where there is no list.

    LeakageError when a patient has images in both official lists.
    """
    lists = [root / "train_val_list.txt", root / "test_list.txt"]
    if not all(path.is_file() for path in lists):
        return None
    owner = dict(zip(known.names.tolist(), known.patients.tolist(), strict=True))
    first, second = (frozenset(owner[name] for name in path.read_text().split() if name in owner) for path in lists)
    if both := first & second:
        raise LeakageError(f"{len(both)} patients are in both official lists, {sorted(both)[0]} among them")
    return second


def read_boxes(path: Path | None) -> dict[str, list[tuple[str, Box]]]:
    """File name → (class, (x, y, w, h) in pixels of the original) of each box."""
    boxes: dict[str, list[tuple[str, Box]]] = {}
    if path is None:
        return boxes
    with _open(path) as file:
        lines = csv.reader(file)
        next(lines)
        for line in lines:
            x, y, w, h = (float(value) for value in line[2:6])
            boxes.setdefault(line[0], []).append((ALIASES.get(line[1], line[1]), (x, y, w, h)))
    return boxes


def boxes_to_grid(boxes: list[tuple[str, Box]], index: dict[str, int], size: tuple[int, int]) -> Bytes:
    """(K, h, w): 1 where a patch's centre lies in a box of the class; a box smaller than a patch marks one."""
    height, width = size
    out = np.zeros((len(index), height, width), np.uint8)
    for name, (x, y, w, h) in boxes:
        if name not in index:
            raise SetError(f"{name!r} of the box list is no class of this run")
        u0, u1 = x / ORIGINAL * width, (x + w) / ORIGINAL * width
        v0, v1 = y / ORIGINAL * height, (y + h) / ORIGINAL * height
        us, vs = np.arange(width) + 0.5, np.arange(height) + 0.5
        inside = np.outer((vs >= v0) & (vs < v1), (us >= u0) & (us < u1))
        if not inside.any():
            inside[min(int((v0 + v1) / 2), height - 1), min(int((u0 + u1) / 2), width - 1)] = True
        out[index[name]] |= inside.astype(np.uint8)
    return out


def nih64(config: TrainConfig, only: Collection[str] | None) -> ScanSet:
    """images.npz (`images`, n×64×64 uint8) and labels.csv (image, patient, age, sex, view, one column a class)."""
    root = Path(config.root)
    images = np.load(_needed(root, "images.npz"))["images"]
    table = _rows(_needed(root, "labels.csv"))
    if len(images) != len(table):
        raise SetError(f"{root}: {len(images)} images, {len(table)} lines of labels")
    if missing := [name for name in config.classes if name not in table[0]]:
        raise SetError(f"{root / 'labels.csv'}: no column {', '.join(missing)}")
    labels = np.array([[int(float(row[name])) for name in config.classes] for row in table], dtype=np.uint8)
    prepared = [config.prepare(image.astype(np.float32) / 255).pixels for image in images]
    whole = in_memory(
        np.round(np.stack(prepared) * 255).astype(np.uint8),
        labels,
        config.classes,
        [row["patient"] for row in table],
        views=np.array([row["view"] for row in table]),
        ages=np.array([years(row["age"]) for row in table], dtype=np.float32),
        sexes=np.array([row["sex"] for row in table]),
        names=np.array([row["image"] for row in table]),
    )
    return whole if only is None else whole.of(set(only))


def _one(root: Path, pattern: str) -> Path | None:
    return next(iter(sorted(root.glob(pattern))), None)


def _needed(root: Path, pattern: str) -> Path:
    found = _one(root, pattern)
    if found is None:
        raise SetError(f"{root}: no {pattern}")
    return found


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")


def _rows(path: Path) -> list[dict[str, str]]:
    with _open(path) as file:
        return list(csv.DictReader(file))


def years(text: str) -> float:
    """Years of "58", "058Y", "006M" or "": the distribution had all of these."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", text or "")
    if not match:
        return float("nan")
    return float(match[1]) / {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[match[2]]

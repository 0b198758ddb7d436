"""A folder of images with a CSV file of labels, and cohorts taken out of the archive.

labels.csv: `image` (path below the folder), `patient`, then optional `view`, `age`, `sex`, and one column of
0 and 1 for each class. A cohort is the same, written by the portal's data-set export beside DICOM files.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

import numpy as np

from inference.datasets.base import ScanSet, SetError
from inference.datasets.files import reader
from inference.datasets.nih import years
from inference.training.config import TrainConfig


def table(config: TrainConfig, only: Collection[str] | None) -> ScanSet:
    """The folder `config.root` with its labels.csv. SetError names the line and the column that is wrong."""
    root = Path(config.root).resolve()
    path = root / "labels.csv"
    if not path.is_file():
        raise SetError(f"{path} is missing")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {"image", "patient", *config.classes}
    if not rows or (missing := wanted - rows[0].keys()):
        raise SetError(f"{path}: no {'lines' if not rows else 'column ' + ', '.join(sorted(missing))}")
    rows = [row for row in rows if only is None or row["patient"] in only]
    files, labels = [], np.zeros((len(rows), len(config.classes)), np.uint8)
    for number, row in enumerate(rows):
        file_path = (root / row["image"]).resolve()
        if not file_path.is_relative_to(root) or not file_path.is_file():
            raise SetError(f"{path}, line {number + 2}: {row['image']} is not a file of this folder")
        if not row["patient"]:
            raise SetError(f"{path}, line {number + 2}: no patient; without one a split may leak")
        files.append(file_path)
        for k, name in enumerate(config.classes):
            if row[name] not in {"0", "1"}:
                raise SetError(f"{path}, line {number + 2}, {name}: {row[name]!r} is neither 0 nor 1")
            labels[number, k] = int(row[name])
    return ScanSet(
        classes=config.classes,
        labels=labels,
        patients=np.array([row["patient"] for row in rows], dtype=np.str_),
        views=np.array([row.get("view") or "" for row in rows], dtype=np.str_),
        ages=np.array([years(row.get("age") or "") for row in rows], dtype=np.float32),
        sexes=np.array([row.get("sex") or "" for row in rows], dtype=np.str_),
        names=np.array([row["image"] for row in rows], dtype=np.str_),
        read=reader(files, config),
    )

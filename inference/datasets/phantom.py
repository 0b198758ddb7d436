"""Phantoms: drawn from their seeds in memory, or read from the folders that `phantoms` writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference import phantoms
from inference.datasets.base import Bytes, ScanSet, SetError, in_memory
from inference.phantoms import ImageTruth, breast_case, chest
from inference.preprocess import Prepared
from inference.preprocess.read import read_image
from inference.training.config import TrainConfig

CHEST_SIZES = (256, 384, 512, 1024)
BREAST_SIZES = ((640, 520), (768, 624), (1024, 832), (2048, 1664))
Row = tuple[Bytes, Bytes, Bytes, str, str]


def drawn(config: TrainConfig, only: Collection[str] | None) -> ScanSet:
    """`config.count` phantoms (chests) or cases of four views (breasts), the same for the same seed.

    With `config.cache`, a whole set is kept in a file there: drawing takes a tenth of a second an image.
    """
    kept = _kept(config)
    if kept is not None and kept.is_file():
        return _of_patients(_read_kept(kept, config), only)
    first = config.seed * 1_000_000
    jobs = [(first + index, config) for index in range(config.count)]
    if only is not None:
        jobs = [job for job in jobs if _patient(job[0], config) in only]
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as pool:
        whole = _stacked([row for rows in pool.map(_phantom, jobs, chunksize=16) for row in rows])
    if kept is not None and only is None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.npz")
        np.savez(part, **whole)  # type: ignore[arg-type]  # a name of ours is none of its options
        part.replace(kept)
    return _set(whole, config)


def _kept(config: TrainConfig) -> Path | None:
    """The file of a drawn set: named by all that decides what is drawn, the drawing code included."""
    if not config.cache:
        return None
    drawing = sorted(Path(phantoms.__file__).parent.glob("*.py"))
    parts = [path.read_bytes() for path in (*drawing, Path(__file__))]
    parts.append(repr((config.family, config.count, config.seed, config.input_size, config.classes)).encode())
    return Path(config.cache) / f"phantoms-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.npz"


def _read_kept(path: Path, config: TrainConfig) -> ScanSet:
    with np.load(path) as file:
        return _set({name: file[name] for name in file.files}, config)


def _of_patients(whole: ScanSet, only: Collection[str] | None) -> ScanSet:
    return whole if only is None else whole.of(set(only))


def folder(config: TrainConfig, only: Collection[str] | None) -> ScanSet:
    """Folders with truth.json and DICOM files, as `python -m inference phantoms` writes them."""
    rows = []
    for truth_path in sorted(Path(config.root).rglob("truth.json")):
        known = json.loads(truth_path.read_text())
        patient = str(known["study_instance_uid"])
        if only is not None and patient not in only:
            continue
        entries = {entry["sop_instance_uid"]: entry for entry in known["images"]}
        for path in sorted(truth_path.parent.glob("*.dcm")):
            image = read_image(path)
            if entry := entries.get(image.sop_instance_uid):
                rows.append(_row(ImageTruth.from_dict(entry), image.pixels, patient, config))
    if not rows:
        raise SetError(f"{config.root}: no truth.json with images of its own was found")
    return _set(_stacked(rows), config)


def regions_of(
    truth: ImageTruth, prepared: Prepared, config: TrainConfig, wanted: Callable[[str, bool], int | None]
) -> Bytes:
    """(K, h, w): patches of which at least a quarter is covered by the mask, or the most covered one."""
    height, width = config.map_size
    out = np.zeros((len(config.classes), height, width), dtype=np.uint8)
    g, size = prepared.geometry, config.input_size
    for lesion in truth.lesions:
        index = wanted(lesion.kind, lesion.malignant)
        if index is None:
            continue
        mask = lesion.mask[:, ::-1] if g.mirrored else lesion.mask
        box = (g.left, g.top, g.left + g.step * size[1], g.top + g.step_y * size[0])
        covered = _area(mask, box, (height, width))
        if covered.max() > 0:
            out[index] |= (covered >= min(0.25, float(covered.max()))).astype(np.uint8)
    return out


def _area(
    mask: NDArray[np.bool_], box: tuple[float, float, float, float], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Covered part of each cell of a grid laid over `box`, which may reach beyond the mask."""
    pad = int(max(0, -box[0], -box[1], box[2] - mask.shape[1], box[3] - mask.shape[0])) + 1
    padded = np.pad(mask.astype(np.float32), pad)
    shifted = (box[0] + pad, box[1] + pad, box[2] + pad, box[3] + pad)
    picture = Image.fromarray(padded).resize((size[1], size[0]), Image.Resampling.BOX, box=shifted)
    return np.asarray(picture, dtype=np.float32)


def _row(truth: ImageTruth, pixels: NDArray[np.float32], patient: str, config: TrainConfig) -> Row:
    prepared = config.prepare(pixels)
    if config.family == "heatmap":
        names = {name: index for index, name in enumerate(config.classes)}
        labels = np.array([name in truth.classes for name in config.classes], dtype=np.uint8)
        regions = regions_of(truth, prepared, config, lambda kind, _: names.get(kind))
    else:
        labels = np.array([truth.malignant], dtype=np.uint8)
        regions = regions_of(truth, prepared, config, lambda _, malignant: 0 if malignant else None)
    view = f"{truth.laterality}-{truth.view}" if truth.laterality else ""
    return np.round(prepared.pixels * 255).astype(np.uint8), labels, regions, patient, view


def _phantom(job: tuple[int, TrainConfig]) -> list[Row]:
    seed, config = job
    if config.family == "heatmap":
        side = CHEST_SIZES[seed % 3 if seed % 16 else 3]
        made = chest(seed, size=(side, side))
        return [_row(made.truth, _shown(made.pixels, made.dataset), _patient(seed, config), config)]
    case = breast_case(seed, size=BREAST_SIZES[seed % 3 if seed % 20 else 3])
    return [_row(i.truth, _shown(i.pixels, i.dataset), _patient(seed, config), config) for i in case.images]


def _patient(seed: int, config: TrainConfig) -> str:
    return f"{'chest' if config.family == 'heatmap' else 'breast'}-{seed}"


def _shown(pixels: NDArray[np.uint16], ds: object) -> NDArray[np.float32]:
    """Display values by the phantom's own window, as read_image gives them for its file."""
    centre, width = float(ds.WindowCenter), float(ds.WindowWidth)  # type: ignore[attr-defined]
    shown = (pixels.astype(np.float32) - (centre - 0.5)) / (width - 1) + 0.5
    return np.clip(shown, 0, 1).astype(np.float32)


def _stacked(rows: list[Row]) -> dict[str, NDArray[Any]]:
    images, labels, regions, patients, views = zip(*rows, strict=True)
    return {
        "images": np.stack(images),
        "labels": np.stack(labels),
        "regions": np.stack(regions),
        "patients": np.array(patients),
        "views": np.array(views),
    }


def _set(whole: dict[str, NDArray[Any]], config: TrainConfig) -> ScanSet:
    return in_memory(
        whole["images"], whole["labels"], config.classes, whole["patients"].tolist(), whole["regions"],
        views=whole["views"],
    )  # fmt: skip

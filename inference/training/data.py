"""Training sets in memory: images, labels, regions, and which patient each belongs to.

Images pass through the same preparation as at run time. They are kept as uint8, so that a few thousand fit.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.phantoms import ImageTruth, breast_case, chest
from inference.preprocess import Prepared, prepare_breast, prepare_whole
from inference.preprocess.read import read_image
from inference.training.config import TrainConfig

Bytes = NDArray[np.uint8]
MALIGNANT_CLASS = "malignancy"
CHEST_SIZES = (256, 384, 512, 1024)
BREAST_SIZES = ((640, 520), (768, 624), (1024, 832), (2048, 1664))


@dataclass(frozen=True)
class TrainingSet:
    """n images with what is known of them.

    images    (n, H, W) uint8
    labels    (n, K) uint8, 1 = present
    regions   (n, K, h, w) uint8, 1 = abnormal patch; h = w = 0 where no regions are known
    patients  (n,) one name per patient, the unit of splitting
    views     (n,) "L-CC" and so on, "" where it means nothing
    """

    images: Bytes
    labels: Bytes
    regions: Bytes
    patients: NDArray[np.str_]
    views: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: NDArray[np.int64]) -> TrainingSet:
        """The chosen rows."""
        return TrainingSet(
            self.images[index],
            self.labels[index],
            self.regions[index],
            self.patients[index],
            self.views[index],
        )


def load(config: TrainConfig, only: Collection[str] | None = None) -> TrainingSet:
    """The training set that a configuration names, or the part of it of the patients in `only`.

    ValueError for an unknown combination.
    """
    makers: dict[tuple[str, str], Callable[[TrainConfig, Collection[str] | None], TrainingSet]] = {
        ("heatmap", "phantoms"): _phantoms,
        ("malignancy", "phantoms"): _phantoms,
        ("heatmap", "nih64"): _nih64,
        ("heatmap", "folder"): _folder,
        ("malignancy", "folder"): _folder,
    }
    maker = makers.get((config.family, config.data))
    if maker is None:
        raise ValueError(f"no training set {config.data!r} for {config.family!r}")
    return maker(config, only)


def split(
    patients: NDArray[np.str_], seed: int, parts: tuple[float, float] = (0.7, 0.15)
) -> dict[str, NDArray[np.int64]]:
    """Row numbers of train, validation and test; no patient is in two of them."""
    names = np.unique(patients)
    np.random.default_rng([seed, 5]).shuffle(names)
    first, second = int(parts[0] * len(names)), int((parts[0] + parts[1]) * len(names))
    chosen = {"train": names[:first], "validation": names[first:second], "test": names[second:]}
    return {part: np.flatnonzero(np.isin(patients, who)) for part, who in chosen.items()}


def map_size(config: TrainConfig) -> tuple[int, int]:
    """Rows and columns of the network's output map."""
    if config.family == "heatmap":
        return 64, 64
    return config.input_size[0] // 8, config.input_size[1] // 8


def regions_of(
    truth: ImageTruth, prepared: Prepared, config: TrainConfig, wanted: Callable[[str, bool], int | None]
) -> Bytes:
    """(K, h, w): patches of which at least a quarter is covered by the mask, or the most covered one."""
    height, width = map_size(config)
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


def prepare(pixels: NDArray[np.float32], config: TrainConfig) -> Prepared:
    """The preparation of the family."""
    return (prepare_whole if config.family == "heatmap" else prepare_breast)(pixels, config.input_size)


Row = tuple[Bytes, Bytes, Bytes, str, str]


def _row(truth: ImageTruth, pixels: NDArray[np.float32], patient: str, config: TrainConfig) -> Row:
    prepared = prepare(pixels, config)
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


def _phantoms(config: TrainConfig, only: Collection[str] | None) -> TrainingSet:
    first = config.seed * 1_000_000
    jobs = [(first + index, config) for index in range(config.count)]
    if only is not None:
        jobs = [job for job in jobs if _patient(job[0], config) in only]
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as pool:
        return _stack([row for rows in pool.map(_phantom, jobs, chunksize=16) for row in rows])


def _stack(rows: list[Row]) -> TrainingSet:
    images, labels, regions, patients, views = zip(*rows, strict=True)
    return TrainingSet(np.stack(images), np.stack(labels), np.stack(regions), np.array(patients), np.array(views))


def _part(whole: TrainingSet, only: Collection[str] | None) -> TrainingSet:
    if only is None:
        return whole
    return whole.take(np.flatnonzero(np.isin(whole.patients, sorted(only))))


def _nih64(config: TrainConfig, only: Collection[str] | None) -> TrainingSet:
    """The 64×64 part of NIH ChestX-ray14: images.npz (`images`) and labels.csv with one column per class."""
    root = Path(config.root)
    images = np.load(root / "images.npz")["images"]
    with (root / "labels.csv").open() as file:
        table = list(csv.DictReader(file))
    labels = np.array([[int(float(row[name])) for name in config.classes] for row in table], dtype=np.uint8)
    size = config.input_size
    prepared = [prepare_whole(image.astype(np.float32) / 255, size).pixels for image in images]
    whole = TrainingSet(
        np.round(np.stack(prepared) * 255).astype(np.uint8),
        labels,
        np.zeros((len(images), len(config.classes), 0, 0), dtype=np.uint8),
        np.array([row["patient"] for row in table]),
        np.array([""] * len(images)),
    )
    return _part(whole, only)


def _folder(config: TrainConfig, only: Collection[str] | None) -> TrainingSet:
    """Folders with truth.json and DICOM files, as `python -m inference phantoms` writes them."""
    rows = []
    for truth_path in sorted(Path(config.root).rglob("truth.json")):
        known = json.loads(truth_path.read_text())
        entries = {entry["sop_instance_uid"]: entry for entry in known["images"]}
        for path in sorted(truth_path.parent.glob("*.dcm")):
            image = read_image(path)
            if entry := entries.get(image.sop_instance_uid):
                truth = ImageTruth.from_dict(entry)
                rows.append(_row(truth, image.pixels, str(known["study_instance_uid"]), config))
    if not rows:
        raise ValueError(f"{config.root}: no truth.json with images of its own was found")
    return _part(_stack(rows), only)

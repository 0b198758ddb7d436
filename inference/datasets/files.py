"""Sets whose images are files: read when asked for, kept prepared in memory or in one cache file.

Formats: DICOM (by the portal's own reader) and pictures (PNG, JPEG, TIFF: grey, or colour made grey).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.datasets.base import Bytes, SetError
from inference.preprocess.read import read_image
from inference.training.config import TrainConfig

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
MOST_PIXELS = 100_000_000


def display_values(path: Path, least: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """(rows, columns) float32 in [0, 1]; `least` as for read_image. SetError names a file that cannot be read."""
    if path.suffix.lower() not in PICTURES:
        return read_image(path, least=least).pixels
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise SetError(f"{path}: {picture.width} x {picture.height} pixels are too many")
            wide = picture.mode in {"I", "I;16", "I;16B", "F"}
            values = np.asarray(picture if wide else picture.convert("L"), dtype=np.float32)
    except (OSError, Image.DecompressionBombError) as error:
        raise SetError(f"{path}: {error}") from error
    top = 255.0 if not wide else max(float(values.max()), 1.0)
    return values / top


def reader(paths: list[Path], config: TrainConfig) -> Callable[[int], Bytes]:
    """Row number → prepared image; each file is read and prepared once.

    Up to config.memory_mb they are kept in memory, beyond that in a file below config.cache (by default beside
    the run), so that NIH ChestX-ray14 (112,120 images) trains on a machine of ordinary memory.
    """
    height, width = config.input_size
    shape = (len(paths), height, width)
    if np.prod(shape, dtype=np.int64) <= config.memory_mb << 20:
        kept: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        done: NDArray[np.uint8] = np.zeros(len(paths), np.uint8)
    else:
        key = hashlib.sha256(repr((config.family, config.input_size, [str(p) for p in paths])).encode()).hexdigest()
        cache = Path(config.cache or Path(config.out) / "cache")
        cache.mkdir(parents=True, exist_ok=True)
        mode: Literal["r+", "w+"] = "r+" if (cache / f"{key[:16]}.done").exists() else "w+"
        kept = np.memmap(cache / f"{key[:16]}.images", np.uint8, mode, shape=shape)
        done = np.memmap(cache / f"{key[:16]}.done", np.uint8, mode, shape=(len(paths),))

    def read(row: int) -> Bytes:
        if not done[row]:
            kept[row] = np.round(config.prepare(display_values(paths[row], config.input_size)).pixels * 255).astype(
                np.uint8
            )
            done[row] = 1
        return kept[row]

    return read

"""One file → one network input, and the same input as a few kB that can be kept.

A kept input is a safetensors file: the pixels as uint16 (probability scale × 65535, an error of at most 7.7e-6) and,
as metadata, the way back to the image and what its header says. It needs neither the file nor PyTorch to be read.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import zlib
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from inference.preprocess import read as reading
from inference.preprocess import views
from inference.preprocess.read import Limits, ScanImage, ViewHint, read_image
from inference.preprocess.views import Geometry, Prepared, prepare_breast, prepare_whole

PREPARATIONS = {"whole": prepare_whole, "breast": prepare_breast}
LIBRARIES = ("numpy", "pillow", "scipy", "pydicom")
TOP = 65535


class Damaged(ValueError):
    """A kept input that is not whole; it is made again from the image."""


@dataclass(frozen=True)
class Read:
    """One image without its full-size pixels, and how it was prepared."""

    source: ScanImage
    shape: tuple[int, int]
    prepared: Prepared

    def hinted(self, hint: ViewHint | None) -> Read:
        """The same with side and view from elsewhere, where they are known there."""
        if hint is None:
            return self
        laterality, view = hint.laterality or self.source.laterality, hint.view or self.source.view
        return replace(self, source=replace(self.source, laterality=laterality, view=view))


@dataclass(frozen=True)
class Preparation:
    """What a function wants of an image: `name` of PREPARATIONS, `size` (height, width) of the input."""

    name: str
    size: tuple[int, int]

    def read(self, path: Path, limits: Limits | None = None) -> Read:
        """Read and prepare one file. Raises ImageError."""
        image = read_image(path, limits, None, self.size)
        prepared = PREPARATIONS[self.name](image.pixels, self.size)
        prepared = replace(prepared, geometry=prepared.geometry.of_larger(image.factor, image.rows, image.columns))
        empty = np.zeros((0, 0), dtype=np.float32)  # full-size pixels would fill the memory of a long run
        return Read(replace(image, pixels=empty), (image.rows, image.columns), prepared)

    def key(self, sha256: str) -> str:
        """Name under which the input made of a file with this content is kept; another preparation, another name."""
        return hashlib.sha256(f"{sha256} {self.name} {self.size} {code()}".encode()).hexdigest()


@cache
def code() -> str:
    """Digest of the code that reads and prepares, with the libraries that it rests on."""
    text = "".join(inspect.getsource(module) for module in (reading, views))
    return hashlib.sha256((text + " ".join(version(name) for name in LIBRARIES)).encode()).hexdigest()


def pack(read: Read) -> bytes:
    """A prepared input as the bytes of a safetensors file."""
    pixels = np.round(read.prepared.pixels * TOP).astype(np.uint16)
    told = asdict(replace(read, prepared=replace(read.prepared, pixels=None)))  # type: ignore[arg-type]
    del told["source"]["pixels"], told["prepared"]["pixels"]
    words = json.dumps(told)
    return save_arrays({"pixels": pixels}, {"read": f"{_sum(words, pixels)} {words}"})


def unpack(data: bytes) -> Read:
    """Inverse of pack, but for the rounding of the pixels. Raises Damaged."""
    try:
        pixels = load_arrays(data)["pixels"]
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        total, _, words = head["__metadata__"]["read"].partition(" ")
        if int(total) != _sum(words, pixels):
            raise Damaged("the checksum is wrong")
        told = json.loads(words)
        shown = pixels.astype(np.float32) * np.float32(1 / TOP)
        prepared = Prepared(pixels=shown, geometry=Geometry(**told["prepared"].pop("geometry")), **told["prepared"])
        return Read(_source(told["source"]), tuple(told["shape"]), replace(prepared, warnings=tuple(prepared.warnings)))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"a kept input cannot be read: {error}") from error


def _source(told: dict[str, Any]) -> ScanImage:
    spacing = told.pop("spacing_mm")
    warnings = tuple(told.pop("warnings"))
    empty = np.zeros((0, 0), dtype=np.float32)
    return ScanImage(pixels=empty, spacing_mm=tuple(spacing) if spacing else None, warnings=warnings, **told)


def _sum(words: str, pixels: NDArray[np.uint16]) -> int:
    return zlib.crc32(words.encode(), zlib.crc32(np.ascontiguousarray(pixels).data))

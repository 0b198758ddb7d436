"""Picture quality by measures that can be read off: pure, no network.

resolution  shorter side in pixels
contrast    1st to 99th percentile of display values, over the part that is not black
burnt       part of the picture that is white without a trace of structure
noise       standard deviation of pixel noise by Immerkær's mask (Computer Vision and Image Understanding 64, 1996),
            in parts of the contrast, on a picture of WORK pixels
detail      mean difference between the picture and itself at half the resolution, in parts of the contrast: small
            where a picture was enlarged or is out of focus
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Float = NDArray[np.float32]
WORK = 512
IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# (at least, at most) of each measure, and what is said of a picture beyond it
LIMITS: dict[str, tuple[float, float, str]] = {
    "resolution": (256.0, np.inf, "low resolution: {value:.0f} pixels on the shorter side"),
    "contrast": (0.2, np.inf, "little contrast: grey values span {value:.0%} of the display"),
    "burnt": (0.0, 0.4, "burnt out: {value:.0%} of the picture is plain white"),
    "noise": (0.0, 0.03, "noisy: the grain is {value:.0%} of the contrast"),
    "detail": (0.001, np.inf, "blurred: detail of {value:.2%} of the contrast"),
}


def measure(pixels: Float) -> dict[str, float]:
    """Measures of display values (rows, columns) in [0, 1]."""
    rows, columns = pixels.shape
    seen = pixels[pixels > 0.02]
    low, high = np.percentile(seen, [1, 99]) if seen.size > 100 else (0.0, 0.0)
    contrast = float(high - low)
    scale = WORK / max(rows, columns)
    size = (max(8, round(columns * scale)), max(8, round(rows * scale)))
    work = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.float32)
    inner = ndimage.binary_erosion((work > 0.02) & (work < 0.995), iterations=2)
    noise = detail = 0.0
    if inner.sum() > 100 and contrast > 0:
        mask = np.abs(ndimage.convolve(work, IMMERKAER))[inner]
        # the median leaves out edges, which the mask's mean would take for noise
        noise = float(np.median(mask) / 0.6745 / 6.0 / contrast)
        half = Image.fromarray(work).resize((size[0] // 2, size[1] // 2), Image.Resampling.BOX)
        again = np.asarray(half.resize(size, Image.Resampling.BICUBIC), np.float32)
        detail = float(np.abs(work - again)[inner].mean() / contrast)
    white = pixels >= 0.995
    flat = white & ndimage.binary_erosion(white, iterations=3)
    return {
        "resolution": float(min(rows, columns)),
        "contrast": contrast,
        "burnt": float(flat.mean()),
        "noise": noise,
        "detail": detail,
    }


def poor(measures: Mapping[str, float]) -> tuple[str, ...]:
    """What is past its limit, in words."""
    said = []
    for name, (low, high, words) in LIMITS.items():
        value = measures[name]
        if not low <= value <= high:
            said.append(words.format(value=value))
    return tuple(said)

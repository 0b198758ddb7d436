"""Frames of an instance as 8-bit grey pictures in which burnt-in text can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.pixels.processing import apply_color_lut

Grey = NDArray[np.uint8]
BULK = (0.5, 99.5)  # percentiles between which the scan itself lies
COLOURED = 16  # levels between the channels of a pixel, from which on it is no grey
SAMPLES = 1 << 18  # of which the percentiles are taken


class NotShown(Exception):
    """The pixels cannot be decoded; the words name the kind of error, never a value."""


def frames(stream: BinaryIO, palette: Dataset | None = None) -> Iterator[NDArray[Any]]:
    """Yield the frames of an instance one by one, (rows, columns) or (rows, columns, 3), as stored or in RGB.

    palette  the data set of an instance in palette colour
    Raises NotShown.
    """
    stream.seek(0)
    try:
        for frame in iter_pixels(stream):
            yield apply_color_lut(frame, palette) if palette is not None else frame
    except (MemoryError, OSError):
        raise
    except Exception as error:  # decoders raise what they like; all of it means the same here
        raise NotShown(type(error).__name__) from error


def planes(frame: NDArray[Any]) -> list[Grey]:
    """A frame as one grey picture, or in colour as several: the grey one, then red, green and blue.

    Letters and ground of different colours can have one grey.
    """
    shown = [grey(frame)]
    if frame.ndim == 3 and int(np.ptp(frame, axis=2).max(initial=0)) >= COLOURED:
        shown += [grey(np.ascontiguousarray(frame[..., n])) for n in range(3)]
    return shown


def grey(frame: NDArray[Any]) -> Grey:
    """A frame as 0 … 255, whatever its bits and its window.

    Burnt-in text often has a value that the scan has nowhere else, so what lies outside of the bulk of the values is
    not cut off with the brightest anatomy: the bulk and what is below and above it get bands of grey by the root of
    their widths, so that neither a far text nor a wide scan leaves the other without contrast. Colours become the mean
    of luminance (ITU-R BT.601) and the strongest channel: blue on black is as legible as white on red.
    """
    values = frame.astype(np.float32)
    if values.ndim == 3:
        luminance = values @ np.array([0.299, 0.587, 0.114], np.float32)
        values = (luminance + values.max(2)) / 2
    step = max(1, int(np.sqrt(values.size / SAMPLES)))
    low, high = _rounded(*(float(v) for v in np.percentile(values[::step, ::step], BULK)))
    least, most = float(values.min()), float(values.max())
    low, high = max(low, least), min(high, most)
    if most <= least:
        return np.zeros(values.shape, np.uint8)
    bands = np.sqrt([low - least, high - low, most - high])
    at, to = [least, low, high, most], [0.0, *(255 * np.cumsum(bands) / bands.sum())]
    kept = [i for i in range(4) if i == 0 or at[i] > at[i - 1]]
    if frame.dtype.kind in "ui" and frame.ndim == 2 and most - least < 1 << 16:
        table = np.interp(np.arange(least, most + 1), [at[i] for i in kept], [to[i] for i in kept])
        return table.astype(np.uint8)[frame.astype(np.int64) - int(least)]
    return np.interp(values, [at[i] for i in kept], [to[i] for i in kept]).astype(np.uint8)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """A bulk made wider, by a quarter at either end at most: in a series most banners keep their greys."""
    if high <= low:
        return low, high
    step = 2.0 ** np.ceil(np.log2(high - low)) / 8
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)

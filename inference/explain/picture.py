"""Heat maps as pictures: one class over the scan, or a table of classes, with a colour bar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from inference.explain.maps import NOTICE, MapSet
from inference.explain.source import on_pixels

Grey = NDArray[np.float32]
Colour = NDArray[np.uint8]

# Maps whose lightness rises all the way, so that they read the same with any colour vision, and in grey.
COLOURS = ("inferno", "viridis", "cividis", "magma")
FAINT = 0.1  # below this probability the colour fades out, so that the scan is seen where nothing is found
INK, PAPER = (235, 235, 235), (16, 16, 18)
MARGIN = 10


@dataclass(frozen=True)
class Look:
    """How a map is drawn.

    colours  one of COLOURS
    smooth   False: one flat colour for each cell; True: linear between the centres of cells
    outline  a line around the places that reach the class's threshold on the map
    opacity  of the colour over the scan, 0 to 1
    side     longest side of the scan in the picture, pixels
    """

    colours: str = "inferno"
    smooth: bool = False
    outline: bool = True
    opacity: float = 0.55
    side: int = 768

    def __post_init__(self) -> None:
        """ValueError for values that cannot be drawn."""
        if self.colours not in COLOURS:
            raise ValueError(f"colours {self.colours!r} are none of {', '.join(COLOURS)}")
        if not 0 <= self.opacity <= 1 or not 64 <= self.side <= 4096:
            raise ValueError(f"opacity {self.opacity} is not in [0, 1] or side {self.side} not in [64, 4096]")


@dataclass(frozen=True)
class Picture:
    """`pixels` (height, width, 3) uint8; `scan` where the scan lies in them: left, top, width, height."""

    pixels: Colour
    scan: tuple[int, int, int, int]


@cache
def table_of(colours: str) -> Colour:
    """(256, 3) uint8: the colour of each probability × 255."""
    from matplotlib import colormaps  # heavy; not for those who only ask for objects

    table: Colour = colormaps[colours](np.arange(256), bytes=True)[:, :3]
    table.setflags(write=False)
    return table


def fitted(pixels: Grey, side: int) -> Grey:
    """The scan (rows, columns) scaled so that its longer side has `side` pixels."""
    rows, columns = pixels.shape
    scale = side / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32)).resize(size, kind), np.float32)


def spread(grid: NDArray[np.uint8], rows: int, columns: int, smooth: bool) -> Grey:
    """(N, N) × 255 → (rows, columns) probabilities: flat cells, or linear between their centres."""
    if not smooth:
        return on_pixels(grid, rows, columns).astype(np.float32) / np.float32(255)
    small = Image.fromarray(grid.astype(np.float32) / np.float32(255))
    return np.asarray(small.resize((columns, rows), Image.Resampling.BILINEAR), np.float32)


def overlay(scan: Grey, grid: NDArray[np.uint8], threshold: float, look: Look) -> Colour:
    """Colour over the scan: (1 − a)·scan + a·colour(p), a = opacity · min(1, p / 0.1).

    scan  (rows, columns) in [0, 1];  grid  (N, N) uint8, probability × 255;  returns (rows, columns, 3)
    """
    probability = np.clip(spread(grid, scan.shape[0], scan.shape[1], look.smooth), 0, 1)
    alpha = (look.opacity * np.minimum(1, probability / FAINT))[..., None]
    colour = table_of(look.colours)[np.round(probability * 255).astype(np.intp)]
    out: Colour = np.round((1 - alpha) * scan[..., None] * 255 + alpha * colour).astype(np.uint8)
    if look.outline:
        _outline(out, probability >= threshold)
    return out


def _outline(picture: Colour, inside: NDArray[np.bool_]) -> None:
    """A white line inside the border and a black one outside: seen on any colour."""
    if not inside.any():
        return
    width = 1 if max(inside.shape) < 384 else 2
    inner = inside & ~ndimage.binary_erosion(inside, iterations=width, border_value=0)
    outer = ndimage.binary_dilation(inside, iterations=1) & ~inside
    picture[outer], picture[inner] = 0, 255


def one(maps: MapSet, name: str, scan: Grey, look: Look) -> Picture:
    """One class over the scan with name, probability, colour bar, function and notice.

    scan  (rows, columns) in [0, 1] at its own size
    """
    small = fitted(scan, look.side)
    height, width = small.shape
    text = max(12, look.side // 40)
    top, bottom, right = 2 * text, 3 * text, 4 * text + MARGIN
    across = max(width + right, 24 * text)
    canvas = Image.new("RGB", (across, top + height + bottom), PAPER)
    canvas.paste(Image.fromarray(overlay(small, maps.of(name), maps.thresholds[name], look)), (0, top))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    draw.text((MARGIN, text // 2), caption(maps, name), INK, font)
    _bar(canvas, (width + MARGIN, top + text, text, height - 2 * text), look, maps.thresholds[name], font)
    _foot(draw, maps, (MARGIN, top + height + text // 3), font, text)
    return Picture(np.asarray(canvas), (0, top, width, height))


def table(maps: MapSet, scan: Grey, look: Look, across: int = 4) -> Picture:
    """All classes of the maps over the scan, the most probable first, row by row; `look.side` is of one panel.

    `scan` of the result is where the first panel's scan lies.
    """
    small = fitted(scan, look.side)
    height, width = small.shape
    text = max(11, look.side // 20)
    names = maps.order()
    across = min(across, len(names))
    step_x, step_y = width + MARGIN, height + 2 * text
    rows = -(-len(names) // across)
    size = max(across * step_x + MARGIN + 4 * text, 24 * text), rows * step_y + 4 * text
    canvas = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(text)
    for index, name in enumerate(names):
        left, top = MARGIN + index % across * step_x, index // across * step_y + 2 * text
        canvas.paste(Image.fromarray(overlay(small, maps.of(name), maps.thresholds[name], look)), (left, top))
        draw.text((left, top - text - text // 3), caption(maps, name), INK, font)
    _bar(canvas, (across * step_x + MARGIN, 2 * text, text, height), look, None, font)
    _foot(draw, maps, (MARGIN, rows * step_y + text), font, text)
    return Picture(np.asarray(canvas), (MARGIN, 2 * text, width, height))


def caption(maps: MapSet, name: str) -> str:
    """Class, probability of the whole image and whether it counts as present."""
    present = ", present" if maps.present[name] else ""
    return f"{name.replace('_', ' ')} {maps.probabilities[name]:.2f}{present}"


def _bar(
    canvas: Image.Image, box: tuple[int, int, int, int], look: Look, threshold: float | None, font: object
) -> None:
    """The colour bar: probability 1 at the top, 0 at the bottom; the threshold is a line across."""
    left, top, width, height = box
    values = np.linspace(255, 0, height).round().astype(np.intp)
    strip = np.repeat(table_of(look.colours)[values][:, None], width, axis=1)
    canvas.paste(Image.fromarray(strip), (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, left + width, top + height), outline=INK)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + round((1 - value) * (height - 1))
        draw.line((left + width, y, left + width + 4, y), INK)
        draw.text((left + width + 7, y), f"{value:g}", INK, font, anchor="lm")  # type: ignore[arg-type]
    if threshold is not None:
        y = top + round((1 - threshold) * (height - 1))
        draw.line((left - 5, y, left + width + 4, y), (255, 255, 255), 2)


def _foot(draw: ImageDraw.ImageDraw, maps: MapSet, at: tuple[int, int], font: object, text: int) -> None:
    draw.text(at, f"{maps.function_id} {maps.version}", INK, font)  # type: ignore[arg-type]
    draw.text((at[0], at[1] + text + text // 4), NOTICE.upper(), INK, font)  # type: ignore[arg-type]

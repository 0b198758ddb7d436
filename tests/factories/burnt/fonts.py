"""Text as ink: (rows, columns) of coverage from 0 to 1, in fonts that packages ship."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
OUTLINED = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf",
    "STIXGeneral.ttf", "STIXGeneralBol.ttf", "cmss10.ttf", "DejaVuSans-Oblique.ttf", "pillow",
)  # fmt: skip
HERSHEY = {
    "simplex": cv2.FONT_HERSHEY_SIMPLEX,
    "plain": cv2.FONT_HERSHEY_PLAIN,
    "duplex": cv2.FONT_HERSHEY_DUPLEX,
    "complex": cv2.FONT_HERSHEY_COMPLEX,
    "triplex": cv2.FONT_HERSHEY_TRIPLEX,
}
BITMAP = "bitmap"  # Pillow's old 11 pixel bitmap font: what small consoles look like
NAMES = (*OUTLINED, *HERSHEY, BITMAP)


@cache
def font_of(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == BITMAP:
        return ImageFont.load_default_imagefont()
    if name == "pillow":
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(str(FOLDER / name), size)


def ink(text: str, name: str, size: int) -> NDArray[np.float32]:
    """Coverage of a line of text, cut to its ink; `size` is the font's size in pixels (the bitmap font has its own)."""
    if name in HERSHEY:
        scale = cv2.getFontScaleFromHeight(HERSHEY[name], max(8, round(size * 0.72)), 1)
        thickness = max(1, round(size / 16))
        (width, height), below = cv2.getTextSize(text, HERSHEY[name], scale, thickness)
        plate = np.zeros((height + below + 2 * thickness + 8, width + 2 * thickness + 8), np.uint8)
        at = (thickness + 4, height + thickness + 4)
        cv2.putText(plate, text, at, HERSHEY[name], scale, 255, thickness, cv2.LINE_AA)
        return _cut(plate)
    font = font_of(name, size)
    box = font.getbbox(text)
    plate_image = Image.new("L", (int(box[2]) + 8, int(box[3]) + 8), 0)
    ImageDraw.Draw(plate_image).text((2, 2), text, fill=255, font=font)
    return _cut(np.asarray(plate_image))


def _cut(plate: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows, columns = np.nonzero(plate.max(1))[0], np.nonzero(plate.max(0))[0]
    return (plate[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / 255).astype(np.float32)

"""Pieces of a picture side by side on sheets, so that the detector looks at little more than what is marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels.shown import Grey

WIDTH, HEIGHT = 640, 640  # of a sheet; a larger piece has one for itself
STEP = 32  # sides of sheets are multiples of it, as the detector's grid is
GAP = 16  # pixels between pieces, so that no line runs from one into the next
TURN = 1.5  # a piece that is taller than this times its width is laid down
LEAST = 6  # pixels: of a line that touches two pieces the shorter part is no part of it
Quad = NDArray[np.float64]  # (4, 2) corners x, y


@dataclass(frozen=True)
class Piece:
    """A part of a picture as it is looked at.

    picture  what the detector sees, reduced or enlarged by `scale`
    at       x, y of its corner in the whole picture
    turned   it was laid down by a quarter turn against the clock
    """

    picture: Grey
    at: tuple[int, int]
    scale: float = 1.0
    turned: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.picture.shape[0], self.picture.shape[1]

    def back(self, quad: Quad) -> Quad:
        """Corners in this piece as corners in the whole picture."""
        if self.turned:  # the last column became the first row
            quad = np.stack([self.size[0] - quad[:, 1], quad[:, 0]], 1)
        return quad / self.scale + self.at


@dataclass(frozen=True)
class Sheet:
    """A canvas and which piece lies where (x, y)."""

    canvas: Grey
    placed: tuple[tuple[int, int, Piece], ...]

    def back(self, quad: Quad) -> Iterator[tuple[int, Quad]]:
        """(which of the placed pieces, corners in it) for each piece that corners on the sheet lie on."""
        (x0, y0), (x1, y1) = quad.min(0), quad.max(0)
        for n, (x, y, piece) in enumerate(self.placed):
            rows, columns = piece.size
            across = min(x1, x + columns) - max(x0, x)
            down = min(y1, y + rows) - max(y0, y)
            whole = across >= x1 - x0 - LEAST and down >= y1 - y0 - LEAST
            if whole or (across >= LEAST and down >= LEAST and across * down >= 0.1 * (x1 - x0) * (y1 - y0)):
                yield n, np.clip(quad - (x, y), 0, (columns, rows))


def piece(picture: Grey, at: tuple[int, int], scale: float = 1.0) -> Piece:
    """A part of a picture, scaled and lying."""
    if scale != 1:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how), np.uint8)
    if picture.shape[0] > TURN * picture.shape[1]:
        return Piece(np.ascontiguousarray(np.rot90(picture)), at, scale, True)
    return Piece(picture, at, scale)


def sheets(pieces: Iterable[Piece]) -> Iterator[Sheet]:
    """Lay pieces on sheets, in rows, the tallest first."""
    placed: list[tuple[int, int, Piece]] = []
    x = y = tall = 0
    for one in sorted(pieces, key=lambda p: (-p.size[0], -p.size[1])):
        rows, columns = one.size
        if x and x + columns > WIDTH:  # the next row
            x, y, tall = 0, y + tall + GAP, 0
        if placed and y + rows > HEIGHT:
            yield _sheet(placed)
            placed, x, y, tall = [], 0, 0, 0
        placed.append((x, y, one))
        x, tall = x + columns + GAP, max(tall, rows)
    if placed:
        yield _sheet(placed)


def _sheet(placed: list[tuple[int, int, Piece]]) -> Sheet:
    rows = max(y + piece.size[0] for _, y, piece in placed)
    columns = max(x + piece.size[1] for x, _, piece in placed)
    canvas = np.zeros((-(-rows // STEP) * STEP, -(-columns // STEP) * STEP), np.uint8)
    for x, y, one in placed:
        canvas[y : y + one.size[0], x : x + one.size[1]] = one.picture
    return Sheet(canvas, tuple(placed))

"""Scanned documents: a page that is a picture is read by OCR, so that a report on paper is a report too.

Seed 001, FIG. 10A: of a report that is a digitized page the text is extracted first, then searched for identifiers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portal.deidentify import pdf
from portal.deidentify.pixels import engine

SURE = 0.5  # a line that the reader doubts more is a stain
STEP = 32  # the detector wants sides that are multiples of it


def text(raw: bytes) -> str:
    """The text of a PDF whose pages are pictures, row by row, pages apart by an empty line.

    Reading a page takes about 2 seconds. Raises Damaged as pdf.pages does.
    """
    return "\n\n".join("\n".join(rows(page)) for page in pdf.pages(raw))


def rows(page: NDArray[np.uint8]) -> list[str]:
    """The lines of a page from the top, what stands in one row joined from the left."""
    height, width = page.shape
    whole = np.pad(page, ((0, -height % STEP), (0, -width % STEP)), constant_values=255)
    quads = [quad for quad, _ in engine.detect(whole)]
    found = [
        (float(quad[:, 1].mean()), float(np.ptp(quad[:, 1])), float(quad[:, 0].min()), one.text)
        for quad, one in zip(quads, engine.recognise(whole, quads), strict=True)
        if one.sure >= SURE and one.text
    ]
    out: list[list[tuple[float, float, float, str]]] = []
    for line in sorted(found):
        if out and line[0] - out[-1][0][0] < 0.5 * min(line[1], out[-1][0][1]):
            out[-1].append(line)
        else:
            out.append([line])
    return ["  ".join(part[3] for part in sorted(row, key=lambda part: part[2])) for row in out]

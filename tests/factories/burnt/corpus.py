"""Cases of the planted corpus: one image with lines of text burnt in, from a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels import pixel_array
from scipy.ndimage import binary_dilation, black_tophat, white_tophat

from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import GROUNDS
from tests.factories.burnt.people import CLINICAL, Person, person

SIZES = (11, 12, 14, 16, 18, 20, 24, 28, 34)  # pixels, before large images are allowed for
LOW_CONTRAST = 0.25  # of the image's range
LEGIBLE = 0.25  # of the image's range, between nearly all of a line's ink and what it stands on
CROWDED = 0.10  # of a line's ink and of what lies close around it: as much may have letters, or look like ink, before
ROWS = 7  # pixels of height: letters of a 5 × 7 matrix are the smallest that are read
THIN = 9  # pixels: strokes of letters are thinner


@dataclass(frozen=True)
class Planted:
    """One line of text in an image.

    kind   name, id, date, doctor, stranger, hospital; or laterality, technical, which must stay
    where  rows and columns of its ink
    """

    kind: str
    text: str
    turned: int
    low_contrast: bool
    over_anatomy: bool
    font: str
    size: int
    where: tuple[NDArray[np.intp], NDArray[np.intp]]

    @property
    def clinical(self) -> bool:
        return self.kind in CLINICAL

    def covered(self, mask: NDArray[np.bool_]) -> float:
        """Share of the ink that lies in a mask (rows, columns)."""
        return float(mask[self.where].mean())


@dataclass
class Case:
    """An image, whose it is, and what was planted."""

    ground: str
    person: Person
    dataset: Dataset
    planted: list[Planted] = field(default_factory=list)

    def encoded(self) -> bytes:
        out = io.BytesIO()
        dcmwrite(out, self.dataset, enforce_file_format=True)
        return out.getvalue()


def cases(seed: int, count: int, grounds: tuple[str, ...] = tuple(GROUNDS)) -> Iterator[Case]:
    """`count` cases, ground after ground."""
    for n in range(count):
        yield case(seed * 100_003 + n, grounds[n % len(grounds)])


def case(seed: int, ground: str | Dataset, lines: int = 9) -> Case:
    """The case of a seed on a named ground, or on a data set of your own (uncompressed grey or RGB)."""
    rng = np.random.default_rng([seed, 500])
    who = person(seed)
    ds = GROUNDS[ground](rng) if isinstance(ground, str) else ground
    for keyword, value in who.header.items():
        setattr(ds, keyword, value)
    pixels = np.array(pixel_array(ds, raw=True))
    made = Case(ground if isinstance(ground, str) else "real", who, ds)
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    plane = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    free = np.ones(plane, bool)
    if isinstance(ground, str) and ground == "breast":  # the phantom has letters of its own there
        edge = plane[0] // 8
        free[:edge] = False
    top = float(2**ds.BitsStored - 1)
    low, high = (float(v) for v in np.percentile(pixels, [1, 99]))
    inverted = ds.PhotometricInterpretation == "MONOCHROME2" and rng.random() < 0.15
    if inverted:
        pixels = (top - pixels).clip(0, top).astype(pixels.dtype)
        ds.PhotometricInterpretation = "MONOCHROME1"
        low, high = top - high, top - low
    grow = max(1.0, min(plane) / 1024)
    wanted = who.written(rng)[: lines // 2 + 1]
    for kind in rng.choice(["laterality", "technical", "technical"], lines - len(wanted)):
        wanted.append((str(kind), str(rng.choice(CLINICAL[str(kind)]))))
    for kind, text in wanted:
        turned = int(rng.choice([0, 90, 180, 270], p=[0.82, 0.07, 0.04, 0.07]))
        font, size = str(rng.choice(fonts.NAMES)), round(float(rng.choice(SIZES)) * float(rng.choice([1, grow])))
        ink = np.rot90(fonts.ink(text, font, size), turned // 90)
        at = _place(rng, free, ink.shape)
        if at is None or min(ink.shape) < ROWS:
            continue
        window = np.s_[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]]
        faint = rng.random() < 0.15
        under = pixels[..., window[0], window[1], :].mean(-1) if colour else pixels[..., window[0], window[1]]
        under = under.reshape(-1, *ink.shape)[0]
        level = _level(rng, under, ink > 0.3, low, high, top, faint)
        if level is None:
            continue
        strength = ink[..., None] if colour else ink
        index = (..., *window, slice(None)) if colour else (..., *window)
        pixels[index] = np.rint(pixels[index] * (1 - strength) + level * strength).clip(0, top).astype(pixels.dtype)
        rows, columns = np.nonzero(ink > 0.3)
        over = float(np.std(under)) > 0.02 * max(high - low, 1)
        where = (rows + at[0], columns + at[1])
        made.planted.append(Planted(kind, text, turned, bool(faint), over, font, size, where))
    if colour:
        ds.PlanarConfiguration = 0  # as they were decoded
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    return made


def _level(
    rng: np.random.Generator,
    ground: NDArray[np.floating],
    ink: NDArray[np.bool_],
    low: float,
    high: float,
    top: float,
    faint: bool,
) -> float | None:
    """The value of the ink: an extreme one, or, where faint, a quarter of the range from what it stands on.

    ground  (rows, columns) what the line's box shows without it
    None where parts of the line could not be read with any, where its ink lies on the strokes of letters that were
    there before, or where what lies between its letters looks like its ink: a line that nobody can read names nobody.
    None of it asks the reader that is measured.
    """
    under = ground[ink]
    close = max(2, min(ink.shape) // 6)
    ring = binary_dilation(ink, iterations=close) & ~ink
    span = max(high - low, 0.2 * top)
    usual = float(np.median(under))
    if faint:
        wanted = [usual + LOW_CONTRAST * span, usual - LOW_CONTRAST * span]
    else:
        wanted = [top if rng.random() < 0.5 else min(top, high + 0.1 * span), max(0.0, low - 0.1 * span)]
    wanted = [level for level in wanted if 0 <= level <= top]
    clear = [float(np.percentile(np.abs(under - level), 2)) / span for level in wanted]
    least = LEGIBLE * (0.7 if faint else 1)
    if not clear or max(clear) < least:
        return None
    level = wanted[int(np.argmax(clear))]
    alike = np.abs(ground[ring] - level) < least * span
    thin = np.maximum(white_tophat(ground, THIN), black_tophat(ground, THIN))[ink] > LEGIBLE * span
    return level if max(float(alike.mean()), float(thin.mean())) <= CROWDED else None


def _place(rng: np.random.Generator, free: NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """A free place for `shape`, in the corners as often as anywhere; None when there is none."""
    height, width = shape
    pad = 10 + height // 2
    room = (free.shape[0] - height - 8, free.shape[1] - width - 8)
    if min(room) < 8:
        return None
    for _ in range(60):
        at = [int(rng.integers(8, room[0])), int(rng.integers(8, room[1]))]
        if rng.random() < 0.5:  # consoles write along the borders
            at[1] = int(rng.choice([8, room[1]]))
        around = free[max(0, at[0] - pad) : at[0] + height + pad, max(0, at[1] - pad) : at[1] + width + pad]
        if around.all():
            free[at[0] : at[0] + height, at[1] : at[1] + width] = False
            return at[0], at[1]
    return None

"""What of a picture is looked at for text: thin strokes, laid side by side, each once."""

from __future__ import annotations

import io
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.deidentify.pixels import engine, instance, reader, where
from portal.deidentify.pixels.clean import weigh
from portal.deidentify.pixels.match import judge_parts
from portal.deidentify.pixels.memory import Memory
from portal.deidentify.pixels.sheets import Piece, piece, sheets
from portal.deidentify.pixels.shown import planes
from portal.deidentify.text import Lists, judge
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare, fan

SC = "1.2.840.10008.5.1.4.1.1.7"


def burn(plane: NDArray[np.generic], text: str, at: tuple[int, int], value: object, size: int = 22) -> None:
    ink = fonts.ink(text, "DejaVuSans.ttf", size) > 0.5
    plane[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]][ink] = value


def read(pixels: NDArray[np.generic]) -> instance.Read:
    ds = bare(SC, "OT", pixels, 8)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return instance.read(out, ds)


def test_the_edge_of_an_organ_is_no_stroke() -> None:
    y, x = np.mgrid[:400, :400]
    disk = np.where(np.hypot(y - 200, x - 200) < 140, 180, 20).astype(np.uint8)
    assert not where.cells(where.strokes(disk)).any()
    burn(disk, "L CC", (190, 180), 250, 16)
    marked = where.cells(where.strokes(disk))
    assert marked.any() and marked[10:14, 10:16].sum() == marked.sum()


def test_grain_is_no_stroke_and_letters_on_it_are() -> None:
    grain = np.random.default_rng(2).normal(100, 12, (640, 640)).clip(0, 255).astype(np.uint8)
    assert where.cells(where.strokes(grain)).mean() < 0.02
    burn(grain, "77120934", (300, 200), 200)
    assert where.cells(where.strokes(grain))[19, 13:19].mean() > 0.8


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (90, 100), (700, 900)])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.8])
def test_a_place_on_a_sheet_is_a_place_in_the_picture(shape: tuple[int, int], scale: float) -> None:
    """One bright square in each of three parts: where it lies on the sheet leads back to where it lay."""
    pieces, squares = [], []
    for n in range(3):
        part = np.full(shape, 10, np.uint8)
        top, left = shape[0] // 3 + 2 * n, shape[1] // 4
        part[top : top + 8, left : left + 12] = 240
        pieces.append(piece(part, (1000 * n, 70), scale))
        squares.append((1000 * n + left, 70 + top, 1000 * n + left + 12, 70 + top + 8))
    back = []
    for sheet in sheets(pieces):
        assert not any(side % 32 for side in sheet.canvas.shape)
        for x, y, one in sheet.placed:
            rows, columns = one.size
            bright = np.argwhere(sheet.canvas[y : y + rows, x : x + columns] > 125)
            (y0, x0), (y1, x1) = bright.min(0), bright.max(0) + 1
            quad = np.array([(x0 + x, y0 + y), (x1 + x, y0 + y), (x1 + x, y1 + y), (x0 + x, y1 + y)], float)
            found = [sheet.placed[n][2].back(part) for n, part in sheet.back(quad)]
            assert len(found) == 1
            back.append((*found[0].min(0), *found[0].max(0)))
    assert np.abs(np.array(sorted(back)) - np.array(squares)).max() <= 1 / scale


def test_a_line_over_two_pieces_is_cut_between_them() -> None:
    one, other = (Piece(np.zeros((40, 200), np.uint8), (x, 0)) for x in (0, 5000))
    (sheet,) = sheets([one, other])
    quad = np.array([(150, 10), (300, 10), (300, 30), (150, 30)], float)
    parts = [sheet.placed[n][2].back(part) for n, part in sheet.back(quad)]
    spans = sorted((part[:, 0].min(), part[:, 0].max()) for part in parts)
    assert spans == [(150, 200), (5000, 5084)]  # 300 − 200 − the gap of 16


def test_letters_whose_grey_is_their_grounds_are_read() -> None:
    pixels = np.full((300, 400, 3), (200, 50, 50), np.uint8)
    burn(pixels, "L CC", (20, 300), 255)
    burn(pixels, "kVp 28", (20, 20), 0)
    burn(pixels, "77120934", (100, 100), 147)  # the mean of luminance and the strongest channel of the ground
    shown = planes(pixels)
    assert len(shown) == 4 and np.ptp(shown[0][95:130, 90:220]) < where.EDGE
    assert "77120934" in {line.text for line in read(pixels).lines}
    flat = np.repeat(pixels[..., :1], 3, axis=2)
    assert len(planes(flat)) == 1


def test_faint_letters_on_grain_are_read() -> None:
    pixels = np.random.default_rng(5).normal(90, 3, (500, 500)).clip(0, 255).astype(np.uint8)
    pixels[:80, :80], pixels[-80:, -80:] = 0, 255
    burn(pixels, "Rosa Quillfeather", (200, 150), 126, 14)
    assert any("uillfeath" in line.text for line in read(pixels).lines)


def test_a_box_ends_where_another_line_begins() -> None:
    pixels = np.full((120, 500), 20, np.uint8)
    burn(pixels, "77120934", (50, 40), 250, 20)
    burn(pixels, "120 kV", (50, 175), 250, 20)
    boxes = sorted(line.box for line in read(pixels).lines)
    for one, other in pairwise(boxes):
        assert one[2] <= other[0]


def test_what_stands_still_in_a_loop_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.full((8, 400, 640), 30, np.uint8)
    for frame in frames:
        burn(frame, "77120934", (20, 20), 250)
    for frame in frames[4:]:
        burn(frame, "Rosa Quillfeather", (340, 300), 250)
    looked: list[int] = []
    real = engine.detect

    def counted(canvas: NDArray[np.uint8], faint: bool = False) -> object:
        looked.append(canvas.size)
        return real(canvas, faint)

    monkeypatch.setattr(reader.engine, "detect", counted)
    monkeypatch.setattr(reader, "LOOKED", Memory(0))
    lines = read(frames)
    assert {"77120934", "Rosa Quillfeather"} <= {line.text for line in lines.lines}
    once = sum(looked)
    looked.clear()
    monkeypatch.setattr(instance, "changed", lambda plane, _: np.ones_like(where.cells(plane)))
    read(frames)
    assert once < 0.7 * sum(looked)


def test_a_banner_is_read_once_in_a_series_and_anew_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = engine._read

    def recorded(strips: list[NDArray[np.uint8]]) -> list[engine.Reading]:
        out = real(strips)
        said.extend(one.text for one in out)
        return out

    def texts(turned: int, number: str) -> set[str]:
        said.clear()
        smooth = np.tile(np.linspace(20, 120, 640), (400, 1)).astype(np.uint8)  # another picture, without strokes
        pixels = np.pad(smooth, ((80, 0), (0, 0)))[:, ::turned].copy()
        burn(pixels, number, (10, 20), 250)
        burn(pixels, "Rosa Quillfeather", (10, 300), 250)
        return {line.text for line in read(pixels).lines}

    engine.READ.forget()
    monkeypatch.setattr(engine, "_read", recorded)
    assert {"77120934", "Rosa Quillfeather"} <= texts(1, "77120934") & set(said)
    assert {"77120934", "Rosa Quillfeather"} <= texts(-1, "77120934") - set(said)
    assert {"77120935", "Rosa Quillfeather"} <= texts(-1, "77120935") and "77120935" in said


def test_what_was_read_before_changes_nothing_of_what_is_read() -> None:
    """A file that is cleaned again, by another worker or after others, must be cleaned alike, box by box."""

    def drawn(seed: int) -> NDArray[np.uint8]:
        pixels = np.pad(fan(np.random.default_rng(seed), (400, 640)), ((80, 0), (0, 0)))
        burn(pixels, "Rosa Quillfeather", (10, 300), 250)
        burn(pixels, f"Xqvzzt {seed}", (40, 20 + 9 * seed), 90, 18)
        burn(pixels, "LT BREAST 2 OCLOCK", (300 - 20 * seed, 150), 200, 14)
        return pixels

    def fresh() -> None:
        engine.READ.forget()
        reader.LOOKED.forget()

    alone = []
    for seed in (1, 2, 3):
        fresh()
        alone.append(read(drawn(seed)).lines)
    fresh()
    assert [read(drawn(seed)).lines for seed in (1, 2, 3)] == alone
    assert [read(drawn(seed)).lines for seed in (3, 1, 2)] == [alone[2], alone[0], alone[1]]


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_technique_beside_an_identity_stays(turned: int) -> None:
    pixels = np.full((400, 400), 20, np.uint8)
    burn(pixels, "ID: 77120934  120 kV", (190, 60), 250, 22)
    burn(pixels, "ID: 77120934", (300, 60), 250, 22)
    wide = int(np.nonzero((pixels[300:330] == 250).any(0))[0].max())  # where the number ends
    pixels[300:330] = 20
    name = np.zeros((400, 400), bool)
    name[180:220, : wide + 1] = pixels[180:220, : wide + 1] == 250
    rest = (pixels == 250) & ~name
    pixels, name, rest = (np.rot90(plane, turned // 90).copy() for plane in (pixels, name, rest))
    looked = weigh(SimpleNamespace(dataset=bare(SC, "OT", pixels, 8)), read(pixels), Lists(), judge)  # type: ignore[arg-type]
    mask = np.zeros(pixels.shape, bool)
    for x0, y0, x1, y1 in (region.box for region in looked.regions(-1)):
        mask[y0:y1, x0:x1] = True
    assert mask[name].mean() > 0.99 and mask[rest].mean() < 0.1


@pytest.mark.parametrize(
    "text", ["Gaines, Long AP", "Maria Long 28", "12.03.1954 14:33", "Acc A1234567", "Dr. Stone 120"]
)
def test_only_values_with_their_units_are_taken_off_a_line(text: str) -> None:
    words = len(text.split())
    line = reader.Line(0, (0, 0, 100 * words, 20), text, 0.99, tuple(range(0, 100 * words + 1, 100)))
    (one,) = judge_parts(line, (400, 900), Lists(), judge)
    assert one.covered and one.line == line

"""Outlines, masks and contours of marks and maps: numbers worked out by hand or by another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image, ImageDraw

from portal.export.shapes import Shape, contours, in_dicom, mask, of_mark, outline


def shape(tool: str, *points: tuple[float, float]) -> Shape:
    return Shape("1.2", 1, tool, points, "Mass", "READER 1", "a")


def test_a_rectangle_counts_from_the_corner_of_the_first_pixel_in_dicom() -> None:
    points = in_dicom(outline(shape("rectangle", (3, 4), (10, 12))), 32, 40)
    assert points.tolist() == [[3.5, 4.5], [10.5, 4.5], [10.5, 12.5], [3.5, 12.5], [3.5, 4.5]]


def test_a_freehand_line_is_closed_once_and_a_length_is_not() -> None:
    assert outline(shape("freehand", (1, 1), (5, 1), (5, 5))).tolist()[-1] == [1, 1]
    assert len(outline(shape("freehand", (1, 1), (5, 1), (5, 5), (1, 1)))) == 4
    assert outline(shape("length", (1, 1), (5, 1))).tolist() == [[1, 1], [5, 1]]


def test_an_ellipse_lies_in_its_box() -> None:
    ring = outline(shape("ellipse", (30, 40), (60, 52)))
    assert ring.min(axis=0).tolist() == [30, 40] and ring.max(axis=0).tolist() == [60, 52]
    # (x − 45)² / 15² + (y − 46)² / 6² = 1
    np.testing.assert_allclose(((ring - [45, 46]) ** 2 / [15**2, 6**2]).sum(axis=1), 1)


def test_a_box_encloses_the_centres_on_its_sides() -> None:
    full = mask(shape("rectangle", (3, 4), (10, 12)), 32, 40)
    assert full.sum() == 8 * 9 and full[4:13, 3:11].all()
    assert mask(shape("rectangle", (2.5, 4), (4.4, 4.9)), 32, 40).sum() == 2  # centres 3 and 4 of row 4


def test_masks_as_pillow_and_matplotlib_fill_them() -> None:
    points = ((30.0, 40.0), (60.0, 52.0), (40.5, 80.25), (20.0, 60.0))
    full = mask(shape("freehand", *points), 100, 90)
    drawn = Image.new("1", (100, 90))
    ImageDraw.Draw(drawn).polygon(points, fill=1)
    # Pillow also takes pixels that the line only touches
    assert full.sum() == pytest.approx(np.asarray(drawn).sum(), rel=0.08)
    y, x = np.mgrid[:90, :100]
    inside = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(90, 100)
    assert (full != inside).sum() <= 4  # centres that lie on the line itself
    ellipse = mask(shape("ellipse", (30, 40), (60, 52)), 100, 90)
    assert ellipse.sum() == pytest.approx(np.pi * 15 * 6, rel=0.03)


def test_what_lies_outside_the_image_has_no_pixels() -> None:
    assert mask(shape("rectangle", (-20, -20), (-5, -5)), 32, 40).sum() == 0
    assert mask(shape("rectangle", (28, 36), (90, 90)), 32, 40).sum() == 4 * 4
    assert not shape("rectangle", (5, 5), (5, 9)).has_area and not shape("length", (1, 1), (9, 9)).has_area


@given(st.lists(st.integers(0, 255), min_size=64, max_size=64), st.floats(0.05, 0.95))
def test_contours_part_the_cells_that_reach_the_threshold_from_the_others(values: list[int], threshold: float) -> None:
    matrix = np.array(values, np.uint8).reshape(8, 8)
    found = contours(matrix, threshold, 80, 160)
    assert bool(found) == bool((matrix / 255 >= threshold).any())
    # the centre of cell (i, j) of 8 over 160 rows and 80 columns: even-odd over all contours
    for i in range(8):
        for j in range(8):
            centre = (j * 10 + 4.5, i * 20 + 9.5)
            crossings = sum(Outline(line).contains_point(centre) for line in found)
            assert (crossings % 2 == 1) == (matrix[i, j] / 255 >= threshold), (i, j)


def test_a_mark_as_it_is_stored() -> None:
    stored = {"id": "m1", "sop_uid": "1.2", "frame": 2, "tool": "length", "points_px": [[1, 2], [3, 4]],
              "label": "mass", "rating": 70, "text": "spiculated", "measurements": {"length_mm": 12.34}}  # fmt: skip
    made = of_mark(stored, {"mass": "Mass"}, "READER 2")
    assert (made.label, made.words, made.rating, made.frame) == ("Mass", "Mass, spiculated, 12.34 mm", 70.0, 2)
    assert of_mark({**stored, "label": None, "text": "", "measurements": {}}, {}, "R").words == ""

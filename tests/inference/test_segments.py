"""The rules of seed 002 for segments, cutting, and the way back to the scan."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.findings import Region
from inference.phantoms import chest
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.cut import cut, merge_maps, merge_regions, patches
from inference.segments.lay import lay
from inference.segments.regions import Regions, from_probabilities
from inference.segments.rules import Plan, Segment, allowed, box_of, broken, plan, windows
from inference.segments.table import CLASS_REGIONS, class_masks

Box = tuple[int, int, int, int]


def ellipse(shape: tuple[int, int], box: Box) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    cx, cy, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return ((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 <= 1


@st.composite
def chests(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Masks of lungs and heart of many sizes, the boxes of the lungs overlapping now and then."""
    rows, columns = draw(st.integers(90, 500)), draw(st.integers(90, 500))
    middle = draw(st.integers(columns * 2 // 5, columns * 3 // 5))
    masks = {}
    for name, low, high in (("lung_right", 2, middle + 4), ("lung_left", middle - 4, columns - 2)):
        x0 = draw(st.integers(low, max(low, high - 24)))
        x1 = draw(st.integers(min(x0 + 16, high), high))
        y0 = draw(st.integers(0, rows // 3))
        masks[name] = ellipse((rows, columns), (x0, y0, max(x1, x0 + 16), draw(st.integers(y0 + 40, rows))))
    masks["lung_left"] &= ~masks["lung_right"]
    masks["heart"] = ellipse((rows, columns), (middle - 16, rows // 2, middle + 24, rows * 9 // 10))
    return masks


def shared(a: Box, b: Box) -> Box | None:
    out = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return out if out[0] < out[2] and out[1] < out[3] else None


@given(st.integers(8, 3000), st.integers(12, 900), st.integers(1, 3), st.floats(0.05, 0.5))
def test_windows_cover_and_overlap(extent: int, most: int, least: int, overlap: float) -> None:
    found = windows(extent, most, least, overlap)
    assert len(found) >= least and found[0][0] == 0 and found[-1][1] == extent
    assert all(0 < b - a <= most for a, b in found)
    for (a0, a1), (b0, _) in pairwise(found):
        assert b0 >= a0 and a1 - b0 >= overlap * (a1 - a0 - 2) - 1e-6
    # one fewer would not do: n windows that overlap by this share reach most·(n − (n − 1)·overlap) at most
    if (n := len(found)) > least:
        assert most * ((n - 1) - (n - 2) * overlap) < extent + 2 * n


def test_windows_by_hand() -> None:
    # 1000 pixels, 640 at most, a quarter shared: two of 1000/1.75 = 571.4 pixels do
    assert windows(1000, 640, 2, 0.25) == ((0, 573), (427, 1000))
    assert windows(500, 640) == ((0, 500),)
    with pytest.raises(ValueError, match="windows"):
        windows(2, 640, 2)


@settings(deadline=None, max_examples=60)
@given(chests(), st.sampled_from([64, 128, 256]), st.data())
def test_the_rules_hold(masks: dict[str, np.ndarray], side: int, data: st.DataObject) -> None:
    shape = masks["heart"].shape
    boxes = {name: box for name, mask in masks.items() if (box := box_of(mask, 0.03)) is not None}
    name = data.draw(st.sampled_from(sorted(boxes)))
    x0, y0, x1, y1 = boxes[name]
    left, top = data.draw(st.integers(x0, x1 - 2)), data.draw(st.integers(y0, y1 - 2))
    odd = (left, top, data.draw(st.integers(left + 1, x1)), data.draw(st.integers(top + 1, y1)))
    made = plan(boxes, side, shape, {name: [odd]})
    assert broken(made, masks) == []  # R1-R3
    assert {s.region for s in made.segments} == set(boxes)  # R5: the heart has its own
    for segment in made.segments:
        assert segment.scale >= 0.8 and segment.scale == made.segments[0].scale
        width, height = segment.box[2] - segment.box[0], segment.box[3] - segment.box[1]
        assert max(width, height) * segment.scale <= side + 1e-6  # it fits the input
        shown = allowed(segment, masks, 5)
        assert not (shown & masks["lung_right"]).any() or not (shown & masks["lung_left"]).any()
    own = [s.box for s in made.segments if s.region == name]
    whole = any(b[0] <= odd[0] and b[1] <= odd[1] and b[2] >= odd[2] and b[3] >= odd[3] for b in own)
    lapped = any((c := shared(a, b)) and shared(c, odd) for a, b in combinations(own, 2))
    fits = max(odd[2] - odd[0], odd[3] - odd[1]) <= int(side / 0.8)
    assert (whole and lapped) if fits else made.unmet  # R4


def test_a_broken_plan_is_named() -> None:
    masks = {"lung_right": np.zeros((100, 100), bool), "lung_left": np.zeros((100, 100), bool)}
    masks["lung_right"][10:90, 10:45] = True
    masks["lung_left"][10:90, 55:90] = True
    one = Segment("lung_right", (10, 10, 45, 90), 0.7)
    both = [Segment("lung_left", (55, 10, 90, 60), 1.0), Segment("lung_left", (55, 50, 90, 80), 1.0)]
    said = " ".join(broken(Plan((one, *both)), masks))
    assert "R1: lung_right at 0.70" in said and "R2: lung_right has 1" in said
    assert "R2: 350 pixels of lung_left are in no segment" in said  # rows 80-89, 35 columns
    masks["lung_left"][20:30, 10:20] = True  # a mask that lies in both
    assert not any(text.startswith("R3") for text in broken(Plan((one, *both)), masks))  # the other lung is replaced
    with pytest.raises(ValueError, match="lung_right is 5 x 80"):
        plan({"lung_right": (10, 10, 15, 90)}, 64, (100, 100))


def test_pixels_outside_the_region_are_replaced() -> None:
    pixels = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    segment = Segment("lung_right", (20, 30, 60, 70), 1.6)
    shown = np.zeros((40, 40), bool)
    shown[:, :20] = True
    out = cut(pixels, segment, shown, 64)
    mean = pixels[30:70, 20:40].mean()
    assert out.shape == (64, 64) and np.allclose(out[:, 40:], mean, atol=2e-3)
    assert np.abs(out[8:56, 2:30] - mean).max() > 0.05


@settings(deadline=None, max_examples=40)
@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from([64, 128]), st.data())
def test_coordinates_go_there_and_back(rows: int, columns: int, side: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, columns - 10)), data.draw(st.integers(0, rows - 10))
    segment = Segment("heart", (x0, y0, columns, rows), side / max(columns - x0, rows - y0))
    points = np.array(data.draw(st.lists(st.tuples(st.floats(0, side), st.floats(0, side)), min_size=1)))
    assert np.allclose(segment.to_input(segment.to_scan(points)), points, atol=1e-9)
    assert np.allclose(segment.to_scan(np.zeros((1, 2))), [[x0, y0]])


def test_maps_of_segments_come_back_as_the_scans_map() -> None:
    """A plane is its own bilinear interpolation: cut into overlapping segments it must come back exactly."""
    rows, columns, side, n, h = 480, 400, 128, 80, 16
    boxes = {"lung_right": (20, 30, 180, 400), "lung_left": (210, 40, 390, 420)}
    made = plan(boxes, side, (rows, columns))

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([x / columns * 0.6 + y / rows * 0.3, 1 - y / rows])

    grids = []
    for segment in made.segments:
        at = (np.arange(h) + 0.5) * side / h
        u, v = np.meshgrid(at, at)
        scan = segment.to_scan(np.stack([u.ravel(), v.ravel()], 1))
        grids.append((segment, plane(scan[:, 0], scan[:, 1]).reshape(2, h, h).astype(np.float32)))
    out = merge_maps(grids, None, (rows, columns), side, n)
    y, x = np.mgrid[:n, :n] + 0.5
    x, y = x * columns / n, y * rows / n
    wanted = plane(x, y)
    inner = np.zeros((n, n), bool)
    edge = side / h / made.segments[0].scale / 2  # between a segment's border and its first patch's centre it is flat
    covered = np.zeros((n, n), bool)
    for x0, y0, x1, y1 in boxes.values():
        inner |= (x > x0 + edge) & (x < x1 - edge) & (y > y0 + edge) & (y < y1 - edge)
        covered |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    reach = side / h / made.segments[0].scale
    assert inner.sum() > 500
    # the maximum of overlapping segments may exceed the plane by one patch's flat border, never fall short of it
    assert (out[:, inner] >= wanted[:, inner] - 1e-5).all()
    assert (out[:, inner] - wanted[:, inner]).max() < reach / rows + 0.6 * reach / columns
    exact = np.abs(out - wanted).max(axis=0) < 1e-5
    assert exact[inner].mean() > 0.8
    assert (out[:, ~covered] == 0).all()
    one = merge_maps(grids[:1], [np.zeros((n, n), bool)], (rows, columns), side, n)
    assert (one == 0).all()  # a segment speaks only for what it shows
    with pytest.raises(ValueError, match="no segments"):
        merge_maps([], None, (rows, columns), side, n)


def test_patches_of_a_segment_lie_where_the_scan_has_them() -> None:
    whole = np.zeros((1, 64, 64), np.uint8)
    whole[0, 20:24, 10:12] = 1  # rows 200-240, columns 100-120 of 640²
    segment = Segment("lung_right", (60, 160, 220, 320), 0.8)
    out = patches(whole, segment, (640, 640), 128, 64)
    # input = (scan − corner)·0.8, two input pixels a patch: columns 16-24, rows 16-32
    wanted = np.zeros((1, 64, 64), np.uint8)
    wanted[0, 16:32, 16:24] = 1
    assert (out == wanted).all()


def test_parts_of_one_finding_become_one() -> None:
    upper = Region("Mass", (10.0, 10.0, 50.0, 60.0), 0.7)
    lower = Region("Mass", (12.0, 30.0, 50.0, 90.0), 0.9)
    other = Region("Mass", (200.0, 10.0, 240.0, 50.0), 0.8)
    nodule = Region("Nodule", (10.0, 10.0, 50.0, 60.0), 0.6)
    wanted = (Region("Mass", (10.0, 10.0, 50.0, 90.0), 0.9), other, nodule)
    for order in ([upper, lower, other, nodule], [nodule, lower, other, upper]):
        assert merge_regions(order) == wanted
    assert merge_regions([]) == ()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(2, 40), st.integers(2, 40)), max_size=8))
def test_merging_loses_no_place_and_ends(boxes: list[tuple[int, int, int, int]]) -> None:
    found = [Region("Mass", (float(x), float(y), float(x + w), float(y + h)), 0.5) for x, y, w, h in boxes]
    merged = merge_regions(found)
    assert merge_regions(merged) == merged
    for region in found:
        x0, y0, x1, y1 = region.box
        assert any(m.box[0] <= x0 and m.box[1] <= y0 and m.box[2] >= x1 and m.box[3] >= y1 for m in merged)


@pytest.fixture(scope="module")
def seen() -> Regions:
    """The true regions of a phantom as a finder would give them."""
    made = chest(7, classes=("Mass",), size=(256, 256))
    return from_probabilities(np.stack([made.regions[name] for name in REGIONS]).astype(np.float32), (1024, 1280))


def test_regions_and_segments_of_a_chest(seen: Regions) -> None:
    assert seen.missing == () and seen.warnings == ()
    box = seen.box("lung_right", 0.0)
    assert box is not None and box[2] < 640 < 1280 and box[3] <= 1024
    laid = lay(seen, 256)
    assert laid is not None and {s.region for s in laid.plan.segments} == set(REGIONS)
    native = {name: seen.mask(name) for name in REGIONS}
    assert not [text for text in broken(laid.plan, native) if text.startswith(("R1", "R3"))]
    pixels = np.random.default_rng(1).random((1024, 1280), np.float32)
    inputs = laid.inputs(pixels)
    assert inputs.shape == (len(laid.plan.segments), 256, 256) and np.isfinite(inputs).all()
    for name in ("lung_right", "lung_left"):
        shown = np.logical_or.reduce(
            [c for s, c in zip(laid.plan.segments, laid.cells(64), strict=True) if s.region == name]
        )
        assert (shown | ~seen.mask(name, (64, 64))).all()
    drawn = seen.to_dict()["outlines"]["lung_right"][0]
    xs = [x for x, _ in drawn]
    assert abs(min(xs) - box[0]) < 12 and abs(max(xs) - box[2]) < 12


def test_an_empty_picture_has_no_segments() -> None:
    nothing = from_probabilities(np.zeros((3, 64, 64), np.float32), (512, 512))
    assert nothing.missing == REGIONS and len(nothing.warnings) == 3 and lay(nothing, 256) is None
    assert class_masks(nothing, ["Mass"], 16).all()  # what is missing must not hide a finding


def test_swapped_and_cut_lungs_are_said() -> None:
    p = np.zeros((3, 64, 64), np.float32)
    p[0, :40, 40:60], p[1, 5:40, 5:25] = 1, 1
    said = " ".join(from_probabilities(p, (64, 64)).warnings)
    assert "mirrored" in said and "right lung reaches the border" in said and "left lung reaches" not in said


def test_each_class_has_its_place(seen: Regions) -> None:
    masks = dict(zip(CLASS_REGIONS, class_masks(seen, list(CLASS_REGIONS), 64), strict=True))
    heart, lungs = seen.mask("heart", (64, 64)), seen.mask("lung_right", (64, 64)) | seen.mask("lung_left", (64, 64))
    assert masks["Cardiomegaly"][heart].all() and masks["Nodule"][lungs].all()
    assert masks["Cardiomegaly"][lungs].mean() < 0.25 < masks["Edema"][lungs].mean()
    assert not masks["Nodule"][:4].any() and (class_masks(seen, ["unknown"], 64)[0] >= masks["Mass"]).all()

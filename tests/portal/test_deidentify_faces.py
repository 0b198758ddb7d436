"""Faces of made heads: found, made generic by a key, and nothing else touched (portal/deidentify/faces)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.transform import Rotation

from portal.deidentify.faces import NoFace, NoVolume, Plane, apply, generic_face, geometry
from portal.deidentify.faces.geometry import chosen
from portal.deidentify.faces.surface import _without_holes
from portal.deidentify.faces.whole import Face, Slice, look, packed, unpacked
from tests.factories import heads
from tests.factories.faces_apart import found_again, generic, relief
from tests.factories.heads import AIR, BONE, BONE_LESION, BRAIN, BRAIN_LESION, SOFT, Head

KEY = bytes(range(32))


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(
    ("spacing", "turned"),
    [
        ((2.0, 2.0, 2.0), None),
        ((4.0, 1.5, 1.5), Rotation.from_euler("x", 15, degrees=True)),  # as brains are scanned: along the skull's base
        ((3.0, 1.5, 2.0), Rotation.from_matrix([[0, 0, -1], [1, 0, 0], [0, -1, 0]])),  # sagittal
        ((2.5, 2.0, 2.0), Rotation.from_euler("zx", [180, 8], degrees=True)),  # rows and columns the other way round
        (
            (3.0, 2.0, 2.0),
            Rotation.from_euler("x", 180, degrees=True),
        ),  # slices from the head to the feet, mirrored rows
    ],
)
def test_the_face_goes_and_brain_skull_and_lesions_stay_to_the_bit(modality, spacing, turned) -> None:
    head = heads.scan(3, modality, spacing, turned)
    _, new, where = generic(head, KEY)
    old, labels = np.stack(head.slices), np.stack(head.labels)
    points = np.stack([plane.points() for plane in head.planes])
    assert np.array_equal(new[~where], old[~where])
    kept = np.isin(labels, [BRAIN, BRAIN_LESION, BONE_LESION])
    # MR shows no bone: the cranium is promised there, of the jaws and the rims of the orbits a little may go
    kept |= (labels == BONE) & ((modality == "CT") | (points[..., 2] > -20))
    assert kept.sum() > 1000 and not (where & kept).any()
    assert where[labels == BONE].mean() < 0.02
    behind = points[..., 1] > 0
    assert not (where & behind).any()
    nose = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -100) & (labels == SOFT) & (points[..., 2] < -45)
    assert nose.sum() > 20 and where[nose].mean() > 0.99


@pytest.mark.parametrize(("number", "modality"), [(15, "CT"), (22, "CT"), (10, "MR"), (22, "MR")])
def test_a_chin_that_stands_out_more_is_not_taken_for_the_nose(number: int, modality: str) -> None:
    """Beside a long chin there is nothing but the neck; lips may reach farther out than a short nose."""
    head = heads.scan(number, modality, (4.0, 3.0, 3.0), span=(-150.0, 100.0))
    _, _, where = generic(head, KEY)
    points, labels = np.stack([p.points() for p in head.planes]), np.stack(head.labels)
    middle = -58 + 2.5 * heads.traits(number)["nose_high"]
    near = (np.abs(points[..., 2] - middle) < 8) & (np.abs(points[..., 0]) < 8) & (points[..., 1] < -108)
    assert near.sum() > 10 and where[near & (labels == SOFT)].mean() > 0.99


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_holes_are_those_that_scipy_fills(plane: np.ndarray) -> None:
    assert np.array_equal(_without_holes(plane), ndimage.binary_fill_holes(plane))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_twenty_faces_cannot_be_told_apart_any_more(modality: str) -> None:
    """Nearest neighbour among 20 results, a scan of the original face as the probe (a photograph gives no more)."""
    count = 20
    scans = [heads.scan(number, modality, (3.0, 2.5, 2.5), same_size=True) for number in range(count)]
    faces = np.stack([relief(head, np.stack(head.slices)) for head in scans])
    again = (heads.scan(number, modality, (2.0, 2.0, 2.0), same_size=True) for number in range(count))
    probes = np.stack([relief(head, np.stack(head.slices)) for head in again])
    assert found_again(probes, faces) >= 19  # the probes are good ones
    made = np.stack([relief(h, generic(h, np.random.default_rng(n).bytes(32))[1]) for n, h in enumerate(scans)])
    # 4 of 20 and fewer is what chance gives in 99.7 % (binomial, p = 1/20)
    assert found_again(probes, made) <= 4
    assert found_again(probes - np.nanmean(probes, 0), made - np.nanmean(made, 0)) <= 4


def test_the_key_alone_decides_and_slices_may_come_one_by_one() -> None:
    head = heads.scan(5, "CT", (3.0, 2.0, 2.0))
    made, new, where = generic(head, KEY)
    assert np.array_equal(generic(head, KEY)[1], new)
    other = generic(head, bytes(32))[1]
    assert (other != new)[where].mean() > 0.5
    for n in np.random.default_rng(0).permutation(len(new)):
        assert np.array_equal(apply(made, head.slices[n], head.planes[n])[0], new[n])


def test_nothing_of_the_face_is_left_for_who_has_result_and_key() -> None:
    """Known plaintext: with the key known, other faces on the same head must give (nearly) the same result."""
    first, second = (heads.scan(n, "CT", (3.0, 2.0, 2.0), same_size=True) for n in (7, 8))
    made, new, where = generic(first, KEY)
    # one plan, two originals: what is drawn does not depend on what was there
    both = np.zeros_like(where)
    again = np.zeros_like(new)
    for n, (values, plane) in enumerate(zip(second.slices, second.planes, strict=True)):
        again[n], there = apply(made, values, plane)
        both[n] = where[n] & there
    assert (both.sum() / where.sum()) > 0.99
    assert np.array_equal(new[both], again[both])
    # regression: original values explain nothing of the new ones within the new surface
    deep = both & (new > -200)
    kind = np.corrcoef(np.stack(first.slices)[deep], new[deep])[0, 1]
    print("correlation", kind, "original air in it", (np.stack(first.labels)[deep] == AIR).mean())
    assert abs(kind) < 0.3


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_what_shows_no_face_is_left_alone_and_said_why(modality) -> None:
    head = heads.scan(4, modality, (3.0, 2.0, 2.0), span=(-15.0, 100.0))
    with pytest.raises(NoFace) as without:
        generic(head, KEY)
    assert without.value.reason == "no_face"
    whole = heads.scan(4, modality, (3.0, 2.0, 2.0))
    nothing = heads.CT[AIR] if modality == "CT" else 0
    cut = [
        np.where(np.isin(label, [BRAIN, BRAIN_LESION]), values, nothing).astype(np.float32)
        for label, values in zip(whole.labels, whole.slices, strict=True)
    ]
    with pytest.raises(NoFace) as bare:
        generic(Head(modality, whole.planes, cut, []), KEY)
    assert bare.value.reason == "not_head"
    for half, deep in ((170.0, 110.0), (60.0, 60.0)):  # a trunk, a knee
        values = []
        for plane in head.planes:
            p = plane.points()
            inside = (p[..., 0] / half) ** 2 + (p[..., 1] / deep) ** 2 < 1
            bone = (np.hypot(p[..., 0], p[..., 1] - deep / 3) < 18) & inside
            table = heads.CT if modality == "CT" else heads.MR
            values.append(np.select([bone, inside], [table[BONE], table[SOFT]], table[AIR]).astype(np.float32))
        with pytest.raises(NoFace) as other:
            generic(Head(modality, head.planes, values, []), KEY, said=None)
        assert other.value.reason == "not_head"


def test_slices_that_make_no_volume() -> None:
    head = heads.scan(4, "CT", (3.0, 4.0, 4.0))
    with pytest.raises(NoVolume, match="few_slices"):
        generic_face(head.planes[:2], head.slices[:2], "CT", True, KEY)
    with pytest.raises(NoVolume, match="wide_gaps"):
        generic_face(head.planes[::6], head.slices[::6], "CT", True, KEY)
    turned = heads.scan(4, "CT", (3.0, 4.0, 4.0), Rotation.from_euler("x", 90, degrees=True))
    with pytest.raises(NoVolume, match="not_parallel"):
        generic_face([*head.planes, turned.planes[0]], [*head.slices, turned.slices[0]], "CT", True, KEY)


def test_only_what_a_look_needs_is_read() -> None:
    def plane(z: float) -> Plane:
        return Plane((0.0, 0.0, z), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0), (4, 4))

    body = [plane(z) for z in np.arange(0, 1800, 0.5)][::-1]
    places = [body[n].place for n in chosen(body)]
    assert (min(places), max(places)) == (1000.0, 1799.5) and np.diff(places).max() == 2.0
    thick = [plane(z) for z in np.arange(0, 300, 5.0)]
    assert chosen(thick) == list(range(60))


def test_what_is_too_large_is_said_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "MOST", 10_000)
    head = heads.scan(4, "CT", (3.0, 4.0, 4.0))
    with pytest.raises(NoVolume, match="too_large"):
        generic_face(head.planes, head.slices, "CT", True, KEY)


def test_a_plan_that_was_kept_gives_the_same_values() -> None:
    head = heads.scan(4, "CT", (4.0, 2.0, 2.0))
    made, new, _ = generic(head, KEY)
    again = unpacked(packed(made))
    assert Face(made).same(Face(again)) and not Face(made).same(Face()) and not Face().same(Face(open=True))
    n = int(np.argmax([(a != b).sum() for a, b in zip(new, head.slices, strict=True)]))
    assert np.array_equal(apply(again, head.slices[n], head.planes[n])[0], new[n])


def test_slices_that_cannot_be_read_are_left_away_a_few_of_them() -> None:
    head = heads.scan(4, "CT", (4.0, 2.0, 2.0))

    def broken() -> np.ndarray:
        raise ValueError("no such slice")

    slices = [Slice(plane, "CT", lambda v=values: v) for plane, values in zip(head.planes, head.slices, strict=True)]
    slices[20] = Slice(slices[20].plane, "CT", broken)
    assert look(slices, True, KEY).plan is not None
    assert look([slices[2], *slices[8:]], True, KEY).plan is not None  # one lies 24 mm apart from the others
    none = look([Slice(one.plane, "CT", broken) for one in slices], True, KEY)
    assert none == Face(reason="not_read: ValueError", open=True)

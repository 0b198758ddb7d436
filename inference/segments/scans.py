"""A set of scans as a set of their segments, for training (seed 002, claim 1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.datasets.base import Bytes, ScanSet, SetError
from inference.segments.cut import patches
from inference.segments.finder import RegionFinder
from inference.segments.lay import Laid, lay
from inference.segments.regions import Regions
from inference.segments.rules import PixelBox
from inference.segments.table import regions_of

KEPT = 64  # scans whose segments stay in memory between reads of the same scan
LEAST_PATCHES = 1  # abnormal patches in a segment from which the class is present there


def segmented(
    scans: ScanSet, finder: RegionFinder, side: int, n: int = 64, say: Callable[[str], None] = print
) -> ScanSet:
    """Segments of every scan as scans of their own: same patients, view = region, names "scan/region-number".

    side  of the square inputs; n  patches along a side of their abnormal regions
    Where a scan's abnormal places are known they decide the segments (R4) and the labels. Where they are not, a
    segment of a region that the class belongs to has the scan's label: a weak label, as the finding may lie in
    another segment. Scans without lungs are left out, and that is said. SetError when none is left.
    """
    laid: list[Laid] = []
    kept: list[int] = []
    lost: list[str] = []
    unmet = 0
    for index in range(len(scans)):
        found = finder.find(_shown(scans, index))
        own = lay(found, side, known_places(scans, index, found))
        if own is None:
            lost.append(str(scans.names[index]))
            continue
        unmet += len(own.plan.unmet)
        kept.append(index)
        laid.append(own)
    if lost:
        say(f"{len(lost)} of {len(scans)} scans are left out, no lungs were found: {', '.join(lost[:5])}")
    if unmet:
        say(f"{unmet} findings are larger than a segment shows at 80 % of the resolution; they are cut")
    if not kept:
        raise SetError("lungs were found in no scan")
    rows = [(at, number) for at, own in enumerate(laid) for number in range(len(own.plan.segments))]
    cuts: OrderedDict[int, Bytes] = OrderedDict()

    def read(row: int) -> Bytes:
        at, number = rows[row]
        if at not in cuts:
            cuts[at] = np.round(laid[at].inputs(_shown(scans, kept[at])) * 255).astype(np.uint8)
            while len(cuts) > KEPT:
                cuts.popitem(last=False)
        return cuts[at][number]

    def regions(row: int) -> Bytes | None:
        at, number = rows[row]
        whole = scans.region(kept[at])
        if whole is None:
            return None
        own = laid[at]
        n_y, n_x = (np.arange(m) * own.shown[number].shape[0] // m for m in whole.shape[1:])
        visible = own.shown[number][np.ix_(n_y, n_x)]
        return patches(whole * visible, own.plan.segments[number], own.shape, side, n)

    labels = np.stack(
        [_labels(scans, kept[at], laid[at], number, regions(row)) for row, (at, number) in enumerate(rows)]
    )
    boxed = np.zeros_like(labels)
    if len(scans.boxed):
        boxed = np.stack([scans.boxed[kept[at]] for at, _ in rows]) & labels
    source = np.array([kept[at] for at, _ in rows])
    named = [f"{scans.names[kept[at]]}/{laid[at].plan.segments[i].region}-{i}" for at, i in rows]
    table: dict[str, Any] = {
        "labels": labels,
        "patients": scans.patients[source],
        "views": np.array([laid[at].plan.segments[i].region for at, i in rows]),
        "ages": scans.ages[source],
        "sexes": scans.sexes[source],
        "names": np.array(named),
    }
    return ScanSet(scans.classes, read=read, regions=regions, boxed=boxed, **table)


def _shown(scans: ScanSet, index: int) -> NDArray[np.float32]:
    return (scans.image(index) / np.float32(255)).astype(np.float32)


def known_places(scans: ScanSet, index: int, found: Regions) -> dict[str, list[PixelBox]]:
    """Region → boxes in scan pixels of the abnormal patches known there, one for each connected part."""
    whole = scans.region(index)
    out: dict[str, list[PixelBox]] = {}
    if whole is None:
        return out
    rows, columns = found.shape
    height, width = whole.shape[1:]
    for k, name in enumerate(scans.classes):
        for region in regions_of(name):
            inside = found.mask(region, (height, width)) if found.masks[region].any() else None
            if inside is None:
                continue
            labels, _ = ndimage.label((whole[k] > 0) & inside, structure=np.ones((3, 3)))
            for vs, us in ndimage.find_objects(labels):
                box = (us.start * columns // width, vs.start * rows // height,
                       -(-us.stop * columns // width), -(-vs.stop * rows // height))  # fmt: skip
                out.setdefault(region, []).append(box)
    return out


def _labels(scans: ScanSet, index: int, own: Laid, number: int, region: Bytes | None) -> NDArray[np.uint8]:
    labels = scans.labels[index].copy()
    segment = own.plan.segments[number]
    belongs = np.array([segment.region in regions_of(name) for name in scans.classes], np.uint8)
    if region is None:
        return labels * belongs
    known = scans.boxed[index] if len(scans.boxed) else np.zeros_like(labels)
    here = (region.sum(axis=(1, 2)) >= LEAST_PATCHES).astype(np.uint8)
    # a class that has drawn places goes by them, one without goes by its regions
    return np.where(known > 0, labels * here, labels * belongs).astype(np.uint8)

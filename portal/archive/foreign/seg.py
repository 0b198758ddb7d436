"""Segmentations as outlines on the images that they were made of (PS3.3 A.51, A.101)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from inference.outlines import rings
from portal.archive.foreign import ROUND, Item, Layer, Unreadable, meaning

TOLERANCE = 0.25  # pixels by which an outline may leave the mask's edge
MOST_FRAMES = 4000


def read(ds: Dataset, sizes: Mapping[str, tuple[int, int]]) -> Layer:
    """A mask for each segment on each frame that holds some of it.

    sizes  SOP Instance UID → (rows, columns) of the images that can be shown; masks on another grid are left out
    Of a fractional segmentation what reaches half of its maximum counts.
    """
    title = str(ds.get("ContentDescription") or ds.get("ContentLabel") or ds.get("SeriesDescription") or "")
    layer = Layer("segmentation", title, str(ds.get("Manufacturer") or ""))
    segments = {int(item.SegmentNumber): item for item in ds.get("SegmentSequence") or []}
    count = int(ds.get("NumberOfFrames") or 1)
    if not segments or count > MOST_FRAMES:
        raise Unreadable("The segmentation has no segments, or too many frames.")
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    if len(groups) < count:
        raise Unreadable("The segmentation does not say what its frames are.")
    shared = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for index, group in enumerate(groups[:count]):
        source = _source(group) or _source(shared) or _only(ds)
        if source is None:
            layer.miss("masks that name no image")
        elif sizes.get(source[0]) != (int(ds.Rows), int(ds.Columns)):
            layer.miss("masks on another grid, or of an image that is not here")
        else:
            for number, mask in _masks(ds, index, group, shared):
                outlines = rings(mask, TOLERANCE, ROUND)
                if outlines and number in segments:
                    layer.add(_item(segments[number], source, outlines, int(mask.sum())))
    return layer


def _masks(ds: Dataset, index: int, group: Dataset, shared: Dataset) -> list[tuple[int, NDArray[np.bool_]]]:
    frame = pixel_array(ds, index=index)
    kind = str(ds.get("SegmentationType") or "")
    if kind == "LABELMAP":
        return [(int(value), frame == value) for value in np.unique(frame) if value]
    about = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
    if not about:
        raise Unreadable("A frame does not say which segment it is of.")
    limit = float(ds.get("MaximumFractionalValue") or 1) / 2 if kind == "FRACTIONAL" else 0.5
    return [(int(about[0].ReferencedSegmentNumber), frame >= limit)]


def _source(group: Dataset) -> tuple[str, int] | None:
    for derivation in group.get("DerivationImageSequence") or []:
        for item in derivation.get("SourceImageSequence") or []:
            frames: Any = item.get("ReferencedFrameNumber") or 1
            return str(item.ReferencedSOPInstanceUID), int(frames if isinstance(frames, int) else frames[0])
    return None


def _only(ds: Dataset) -> tuple[str, int] | None:
    """The image when the object refers to one alone."""
    named = [item for series in ds.get("ReferencedSeriesSequence") or []
             for item in series.get("ReferencedInstanceSequence") or []]  # fmt: skip
    return (str(named[0].ReferencedSOPInstanceUID), 1) if len(named) == 1 else None


def _item(segment: Dataset, source: tuple[str, int], outlines: list[list[list[float]]], pixels: int) -> Item:
    kind = meaning(segment.get("SegmentedPropertyTypeCodeSequence"))
    maker = str(segment.get("SegmentAlgorithmType") or "")
    return Item(
        "mask",
        source[0],
        source[1],
        outlines,
        label=str(segment.get("SegmentLabel") or kind),
        tracking_id=str(segment.get("TrackingID") or ""),
        tracking_uid=str(segment.get("TrackingUID") or ""),
        measurements=[{"name": "Area", "value": pixels, "unit": "{pixels}"}],
        evaluations=[{"name": "Type", "value": kind}, {"name": "Made", "value": maker.lower()}],
    )

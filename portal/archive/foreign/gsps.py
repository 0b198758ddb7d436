"""Presentation states: graphics, words and windows (PS3.3 C.10.5, C.11.8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

from portal.archive.foreign import Item, Layer, Unreadable, drawn, placed


def read(ds: Dataset) -> Layer:
    """Graphics and words on images, and the windows to show them under."""
    title = str(ds.get("ContentDescription") or ds.get("ContentLabel") or "")
    layer = Layer("presentation", title, str(ds.get("Manufacturer") or ""))
    for annotation in ds.get("GraphicAnnotationSequence") or []:
        images = list(_images(annotation)) or list(_all(ds))
        name = str(annotation.get("GraphicLayer") or "")
        for graphic in annotation.get("GraphicObjectSequence") or []:
            _graphic(graphic, images, name, layer)
        for text in annotation.get("TextObjectSequence") or []:
            _text(text, images, name, layer)
        for _ in annotation.get("CompoundGraphicSequence") or []:
            layer.miss("compound graphics")
    for item in ds.get("SoftcopyVOILUTSequence") or []:
        centre, width = _first(item.get("WindowCenter")), _first(item.get("WindowWidth"))
        if centre is None or width is None or width <= 0:
            layer.miss("windows as tables")
            continue
        for sop_uid, _ in list(_images(item)) or list(_all(ds)):
            layer.windows[sop_uid] = {"centre": centre, "width": width}
    return layer


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value[0])
    except (TypeError, IndexError):
        return float(value)


def _images(item: Dataset) -> Iterator[tuple[str, int]]:
    for image in item.get("ReferencedImageSequence") or []:
        frames: Any = image.get("ReferencedFrameNumber") or 1
        for frame in [frames] if isinstance(frames, int) else frames:
            yield str(image.ReferencedSOPInstanceUID), int(frame)


def _all(ds: Dataset) -> Iterator[tuple[str, int]]:
    """Without images of its own an annotation is of all that the state refers to."""
    for series in ds.get("ReferencedSeriesSequence") or []:
        yield from _images(series)


def _graphic(graphic: Dataset, images: list[tuple[str, int]], name: str, layer: Layer) -> None:
    if graphic.get("GraphicAnnotationUnits") != "PIXEL":
        layer.miss("graphics that lie on the screen, not on the image")
        return
    kind, points = drawn(str(graphic.get("GraphicType") or ""), [float(v) for v in graphic.GraphicData])
    for sop_uid, frame in images:
        layer.add(
            Item(
                kind,
                sop_uid,
                frame,
                [points],
                layer=name,
                tracking_id=str(graphic.get("TrackingID") or ""),
                tracking_uid=str(graphic.get("TrackingUID") or ""),
            )
        )


def _text(text: Dataset, images: list[tuple[str, int]], name: str, layer: Layer) -> None:
    words, at = str(text.get("UnformattedTextValue") or ""), text.get("AnchorPoint")
    units = text.get("AnchorPointAnnotationUnits")
    if at is None:
        at, units = text.get("BoundingBoxTopLeftHandCorner"), text.get("BoundingBoxAnnotationUnits")
    if at is None or units != "PIXEL":
        layer.miss("words that lie on the screen, not on the image")
        return
    if len(at) != 2:
        raise Unreadable("Words have half a place.")
    for sop_uid, frame in images:
        layer.add(Item("text", sop_uid, frame, [placed([list(map(float, at))])], layer=name, text=words))

"""Structured reports: TID 1500 and others alike, by their content tree (PS3.3 C.17.3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from portal.archive.foreign import Item, Layer, Unreadable, drawn, meaning
from portal.archive.foreign.space import Plane, met

TRACKING_ID, TRACKING_UID, FINDING = "112039", "112040", "121071"
MOST_DEPTH = 40


@dataclass(frozen=True)
class _Tree:
    """The whole report, and the images on which places in patient coordinates may lie."""

    root: Dataset
    planes: Callable[[], Sequence[Plane]]


def read(ds: Dataset, planes: Callable[[], Sequence[Plane]] = tuple) -> Layer:
    """Places with what is measured and said of them; what is said without a place is a statement.

    planes  the images of the study in space, asked for where the report needs them
    """
    layer = Layer("report", meaning(ds.get("ConceptNameCodeSequence")), str(ds.get("Manufacturer") or ""))
    _group(ds, _Tree(ds, functools.cache(planes)), layer, 0)
    return layer


def _children(node: Dataset) -> list[Dataset]:
    return list(node.get("ContentSequence") or [])


def _group(node: Dataset, tree: _Tree, layer: Layer, depth: int) -> None:
    """A container: what stands in it directly belongs together."""
    if depth > MOST_DEPTH:
        raise Unreadable("The report is nested too deeply.")
    about = Item("statement", label=meaning(node.get("ConceptNameCodeSequence")))
    places: list[Item] = []
    images: list[tuple[str, int]] = []
    for child in _children(node):
        kind = str(child.get("ValueType") or "")
        if kind == "CONTAINER":
            _group(child, tree, layer, depth + 1)
        else:
            _said(child, about)
            places += _places(child, tree, layer, depth + 1)
            images += _images(child)
    if not (places or about.measurements or about.evaluations or about.text or about.tracking_id):
        return
    about.text = about.text.strip()
    for place in places:
        place.label, place.tracking_id, place.tracking_uid = about.label, about.tracking_id, about.tracking_uid
        place.measurements += about.measurements
        place.evaluations += about.evaluations
        place.text = about.text
        layer.add(place)
    if not places:
        sources = dict.fromkeys(images)
        if len(sources) == 1:
            about.sop_uid, about.frame = next(iter(sources))
        layer.add(about)


def _said(node: Dataset, about: Item) -> None:
    """Measurements, codes and text of one item, and what follows from it."""
    kind, name = str(node.get("ValueType") or ""), meaning(node.get("ConceptNameCodeSequence"))
    code = str((node.get("ConceptNameCodeSequence") or [Dataset()])[0].get("CodeValue") or "")
    if kind == "NUM":
        for value in node.get("MeasuredValueSequence") or []:
            unit = (value.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
            about.measurements.append(
                {"name": name, "value": float(value.NumericValue), "unit": str(unit.get("CodeValue") or "")}
            )
    elif kind == "CODE":
        said = meaning(node.get("ConceptCodeSequence"))
        if code == FINDING:
            about.label = said
        elif said:
            about.evaluations.append({"name": name, "value": said})
    elif kind == "UIDREF" and code == TRACKING_UID:
        about.tracking_uid = str(node.get("UID") or "")
    elif kind == "TEXT":
        words = str(node.get("TextValue") or "")
        if code == TRACKING_ID:
            about.tracking_id = words
        else:
            about.text += f"{name}: {words}\n" if name else f"{words}\n"


def _places(node: Dataset, tree: _Tree, layer: Layer, depth: int) -> list[Item]:
    """Places that an item is, or is inferred from."""
    if depth > MOST_DEPTH:
        raise Unreadable("The report is nested too deeply.")
    kind = str(node.get("ValueType") or "")
    if kind == "SCOORD3D":
        frame_uid = str(node.get("ReferencedFrameOfReferenceUID") or "")
        there = met(tree.planes(), frame_uid, str(node.get("GraphicType") or ""), [float(v) for v in node.GraphicData])
        if not there:
            layer.miss("places in patient coordinates that lie in no image")
        outlines = [(uid, drawn(graphic, data)) for uid, graphic, data in there]
        return [Item(graphic, uid, 1, [points]) for uid, (graphic, points) in outlines]
    if kind != "SCOORD":
        found: list[Item] = []
        for child in _children(node):
            if child.get("ValueType") == "CONTAINER":
                _group(child, tree, layer, depth + 1)
            elif child.get("ValueType") in {"SCOORD", "SCOORD3D"} or kind in {"NUM", "CODE"}:
                found += _places(child, tree, layer, depth + 1)
        return found
    images = [place for child in _children(node) for place in _images(_meant(child, tree.root))]
    if not images:
        layer.miss("places without an image")
        return []
    graphic, points = drawn(str(node.get("GraphicType") or ""), [float(v) for v in node.GraphicData])
    return [Item(graphic, sop_uid, frame, [points]) for sop_uid, frame in images]


def _meant(node: Dataset, root: Dataset) -> Dataset:
    """The item itself, or the one that it names by its place in the tree (PS3.3 C.17.3.2.5)."""
    path = node.get("ReferencedContentItemIdentifier")
    if path is None:
        return node
    steps = [int(path)] if isinstance(path, int) else [int(step) for step in path]
    found = root
    for step in steps[1:]:
        children = _children(found)
        if not 1 <= step <= len(children):
            raise Unreadable("A reference within the report leads nowhere.")
        found = children[step - 1]
    return found


def _images(node: Dataset) -> Iterator[tuple[str, int]]:
    if node.get("ValueType") != "IMAGE":
        return
    for item in node.get("ReferencedSOPSequence") or []:
        frames: Any = item.get("ReferencedFrameNumber") or 1
        for frame in [frames] if isinstance(frames, int) else frames:
            yield str(item.ReferencedSOPInstanceUID), int(frame)

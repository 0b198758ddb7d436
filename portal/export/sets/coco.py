"""COCO (cocodataset.org, data format): PNG images with boxes and outlines of truth, of each reader, and of models.

COCO counts from the corner of the first pixel, so 0.5 is added to pixel centres.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.archive.render import Look, picture
from portal.core import storage
from portal.core.errors import Refused
from portal.export.scope import Scope
from portal.export.sets.common import cases, images, labels_of
from portal.export.shapes import Shape, outline

PNG = Look(kind="image/png")


def files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """images/*.png, annotations/truth.json, annotations/readers.json (each with `reader`), annotations/model.json
    (detections with scores, as pycocotools' loadRes takes them), left_out.json of images that make no picture."""
    categories: dict[str, int] = {name: number for number, name in enumerate(labels_of(scope).values(), 1)}
    listed: list[dict[str, Any]] = []
    found: dict[str, list[dict[str, Any]]] = {"truth": [], "readers": [], "model": []}
    left_out = []
    for one in cases(scope):
        drawn = {"truth": one.decided, "readers": [s for shapes in one.readers.values() for s in shapes],
                 "model": [s for shapes in one.model.values() for s in shapes]}  # fmt: skip
        every = [shape for shapes in drawn.values() for shape in shapes]
        for n, instance in enumerate(images(one.case), 1):
            for frame in sorted({1, *(s.frame for s in every if s.sop_uid == instance.sop_uid)}):
                name = f"images/{one.name}-{n:04d}" + (f"-{frame:04d}" if instance.frames > 1 else "") + ".png"
                try:
                    data = _png(instance, frame)
                except (Refused, FileNotFoundError) as error:
                    left_out.append({"file_name": name, "why": str(error)})
                    continue
                yield name, iter([data])
                listed.append({
                    "id": len(listed) + 1, "file_name": name.removeprefix("images/"), "width": instance.columns,
                    "height": instance.rows, "case": one.case.number, "laterality": instance.laterality,
                    "view": instance.view, "frame": frame,
                })  # fmt: skip
                for kind, shapes in drawn.items():
                    here = [s for s in shapes if (s.sop_uid, s.frame) == (instance.sop_uid, frame) and s.has_area]
                    found[kind] += _annotations(here, listed[-1]["id"], categories, kind)
    for rows in found.values():
        for number, row in enumerate(rows, 1):
            row["id"] = number
    about = {
        "info": {"description": f"{scope.name}. Research use only.", "version": "1", "contributor": "Concord"},
        "licenses": [],
        "images": listed,
        "categories": [{"id": number, "name": name, "supercategory": "finding"} for name, number in categories.items()],
    }
    for kind in ("truth", "readers"):
        yield f"annotations/{kind}.json", iter([_json({**about, "annotations": found[kind]})])
    yield "annotations/model.json", iter([_json(found["model"])])
    if left_out:
        yield "left_out.json", iter([_json(left_out)])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _png(instance: Instance, frame: int) -> bytes:
    with local_copy(storage.archive(), instance.name) as path:
        return picture(path, [frame], PNG)


def _annotations(
    shapes: Iterable[Shape], image_id: int, categories: dict[str, int], kind: str
) -> Iterator[dict[str, Any]]:
    for shape in shapes:
        points = outline(shape)[:-1] + 0.5
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        number = categories.setdefault(shape.label, len(categories) + 1)
        made: dict[str, Any] = {
            "image_id": image_id,
            "category_id": number,
            "bbox": [round(float(v), 3) for v in (x0, y0, x1 - x0, y1 - y0)],
        }
        if kind == "model":
            yield {**made, "score": shape.rating or 0.0}
            continue
        x, y = points.T
        area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
        made |= {"area": round(area, 3), "iscrowd": 0, "segmentation": [[round(float(v), 3) for v in points.ravel()]]}
        if kind == "readers":
            made |= {"reader": shape.layer, "rating": shape.rating}
        yield made

"""Grayscale Softcopy Presentation States (PS3.3 A.33.1): outlines, words and windows over the images as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from pydicom.dataset import Dataset

from portal.export.common import finish, maker, whole
from portal.export.rules import derived_uid
from portal.export.shapes import Shape, in_dicom, layers, outline

PIXEL = AnnotationUnitsValues.PIXEL
WHAT_IS_SHOWN = ("Rows", "Columns", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "RescaleType")


@dataclass(frozen=True)
class Window:
    """A reader's window: centre and width in the image's values after rescale, and whether grey was turned over."""

    centre: float
    width: float
    inverted: bool = False


@dataclass(frozen=True)
class Overlay:
    """What is laid over images.

    windows  SOP Instance UID → window
    uid      of the content: equal contents give equal objects
    series   what the derived series' UID follows from
    """

    shapes: Sequence[Shape]
    windows: Mapping[str, Window]
    uid: str
    series: str
    at: datetime
    title: str
    device: str
    version: str
    serial: str


def build(images: Sequence[Dataset], overlay: Overlay) -> list[Dataset]:
    """Presentation states of the images that have something to show, one for each group that one state can speak of.

    images  headers, one study. A group has one series, size, grey scale and rescaling; a multi-frame image is alone.
    Returns [] when there is nothing to show. Shapes of other images are left out.
    """
    wanted = {shape.sop_uid for shape in overlay.shapes} | set(overlay.windows)
    groups: dict[tuple[str, ...], list[Dataset]] = {}
    for image in images:
        if str(image.SOPInstanceUID) in wanted and int(image.get("SamplesPerPixel") or 1) == 1:
            groups.setdefault(_group(image, overlay), []).append(whole(image))
    return [_state(group, overlay, number) for number, group in enumerate(groups.values(), 1)]


def _group(image: Dataset, overlay: Overlay) -> tuple[str, ...]:
    alone = str(image.SOPInstanceUID) if int(image.get("NumberOfFrames") or 1) > 1 else ""
    window = overlay.windows.get(str(image.SOPInstanceUID))
    shown = [str(image.get(keyword, "")) for keyword in WHAT_IS_SHOWN]
    return (str(image.SeriesInstanceUID), *shown, alone, str(bool(window and window.inverted)))


def _state(images: list[Dataset], overlay: Overlay, number: int) -> Dataset:
    uids = {str(image.SOPInstanceUID) for image in images}
    shapes = [shape for shape in overlay.shapes if shape.sop_uid in uids]
    by_name = {
        name: GraphicLayer(name, order, description=f"{overlay.title}: {name.capitalize()}"[:64])
        for order, name in enumerate(layers(shapes), 1)
    }
    first = images[0]
    turned = first.PhotometricInterpretation == "MONOCHROME1"
    window = overlay.windows.get(str(first.SOPInstanceUID))
    if window is not None and window.inverted:
        turned = not turned
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        series_instance_uid=derived_uid(overlay.series, "series"),
        series_number=904,
        sop_instance_uid=derived_uid(overlay.uid, number),
        instance_number=number,
        content_label="CONCORD",
        content_description=overlay.title[:64],
        graphic_annotations=_annotations(images, shapes, by_name, overlay) or None,
        graphic_layers=list(by_name.values()) or None,
        voi_lut_transformations=_windows(images, overlay.windows) or None,
        presentation_lut_transformation=hd.PresentationLUTTransformation("INVERSE" if turned else "IDENTITY"),
        **maker(overlay.device, overlay.version, overlay.serial),
    )
    state.PresentationCreationDate, state.PresentationCreationTime = f"{overlay.at:%Y%m%d}", f"{overlay.at:%H%M%S}"
    side = str(first.get("ImageLaterality") or first.get("Laterality") or "")
    state.Laterality = side if side in {"L", "R"} else ""  # type 2C: there, though it may be empty
    finish(state, f"{overlay.title} (research use only)", overlay.at)
    return state


def _annotations(
    images: Sequence[Dataset], shapes: Sequence[Shape], by_name: Mapping[str, GraphicLayer], overlay: Overlay
) -> list[GraphicAnnotation]:
    by_uid = {str(image.SOPInstanceUID): image for image in images}
    places: dict[tuple[str, int, str], list[Shape]] = {}
    for shape in shapes:
        places.setdefault((shape.sop_uid, shape.frame, shape.layer), []).append(shape)
    made = []
    for (sop_uid, frame, layer), here in places.items():
        image = by_uid[sop_uid]
        texts = [_text(shape, image, overlay) for shape in here if shape.words]
        made.append(
            GraphicAnnotation(
                referenced_images=[image],
                graphic_layer=by_name[layer],
                referenced_frame_number=frame if int(image.get("NumberOfFrames") or 1) > 1 else None,
                graphic_objects=[_graphic(shape, image, overlay) for shape in here],
                text_objects=texts or None,
            )
        )
    return made


def _tracking(shape: Shape, overlay: Overlay) -> dict[str, Any]:
    return {"tracking_id": shape.label[:64], "tracking_uid": derived_uid(overlay.series, shape.layer, shape.key)}


def _graphic(shape: Shape, image: Dataset, overlay: Overlay) -> GraphicObject:
    size = int(image.Columns), int(image.Rows)
    kind, points = GraphicTypeValues.POLYLINE, in_dicom(outline(shape), *size)
    if shape.tool == "ellipse" and shape.has_area:
        kind, points = GraphicTypeValues.ELLIPSE, in_dicom(_axes(shape), *size)
    elif len(np.unique(points, axis=0)) == 1:  # a line needs two places
        kind, points = GraphicTypeValues.POINT, points[:1]
    return GraphicObject(kind, points, PIXEL, **_tracking(shape, overlay))


def _axes(shape: Shape) -> Any:
    """Ends of the major axis, then of the minor one (PS3.3 C.10.5.1.2)."""
    (x0, y0), (x1, y1) = np.array(shape.points[:2])
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    along, down = [[x0, y], [x1, y]], [[x, y0], [x, y1]]
    return np.array(along + down if abs(x1 - x0) >= abs(y1 - y0) else down + along)


def _text(shape: Shape, image: Dataset, overlay: Overlay) -> TextObject:
    """Words at the shape's lower right end, where they cover least of it."""
    points = in_dicom(outline(shape), int(image.Columns), int(image.Rows))
    anchor = points[np.argmax(points.sum(axis=1))]
    return TextObject(
        shape.words[:1024], PIXEL, anchor_point=tuple(anchor), anchor_point_visible=False, **_tracking(shape, overlay)
    )


def _windows(images: Sequence[Dataset], windows: Mapping[str, Window]) -> list[SoftcopyVOILUTTransformation]:
    """One item for each window that was used; [] leaves every image the window of its own header."""
    groups: dict[tuple[float, float], list[Dataset]] = {}
    for image in images:
        if window := windows.get(str(image.SOPInstanceUID)):
            groups.setdefault((window.centre, window.width), []).append(image)
    return [
        SoftcopyVOILUTTransformation(centre, width, "As read", referenced_images=hd.ReferencedImageSequence(group))
        for (centre, width), group in groups.items()
    ]

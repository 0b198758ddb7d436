"""The objects of one image by kind: what the command line and portals write."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from inference.explain.maps import MapSet
from inference.explain.picture import Look
from inference.explain.source import read_header
from inference.preprocess.errors import Unsupported
from inference.preprocess.read import read_image

KINDS = {
    "seg": "Segmentation, fractional: every class, probability × 255",
    "seg-binary": "Segmentation, binary: every class, where it reaches its threshold",
    "pm": "Parametric Map: every class, 32-bit probabilities",
    "sc": "Secondary Capture: the present classes burnt into the scan",
}


def objects_of(
    maps: MapSet,
    path: Path,
    kind: str,
    when: dt.datetime,
    classes: Sequence[str] | None = None,
    look: Look | None = None,
    each: bool = False,
) -> Iterator[tuple[str, Dataset]]:
    """(name for a file without suffix, object) of one image.

    path     the source image; its identity, as it stands there, goes into the objects
    kind     one of KINDS
    classes  instead of all (SEG, PM) or the present ones (SC)
    each     PM: one object for each class
    Raises ImageError for a source that cannot be read, ValueError for a kind or class that is not there or maps of a
    volume (`objects_of_series`).
    """
    # highdicom takes a second to load; those who only ask for the kinds do without
    from inference.explain.pm import parametric_map
    from inference.explain.sc import secondary_capture
    from inference.explain.seg import segmentation

    if maps.slices is not None:
        raise ValueError("these are the maps of a volume")
    if kind not in KINDS:
        raise ValueError(f"format {kind!r} is none of {', '.join(KINDS)}")
    header = read_header(path)
    if str(header.SOPInstanceUID) != maps.sop_instance_uid:
        raise ValueError(f"the maps are of another image than {path.name}")
    if kind == "sc":
        scan = read_image(path).pixels
        for name in maps.select(classes).names if classes else maps.shown():
            yield f"sc-{name}", secondary_capture(maps, name, scan, header, when, look)
        return
    wanted = maps.select(classes) if classes else maps
    if kind == "pm" and each:
        for name in wanted.names:
            yield f"pm-{name}", parametric_map(wanted, header, when, name)
    elif kind == "pm":
        yield "pm", parametric_map(wanted, header, when)
    else:
        yield kind, segmentation(wanted, header, when, "binary" if kind == "seg-binary" else "fractional")


def objects_of_series(
    images: Sequence[MapSet], paths: Sequence[Path], kind: str, when: dt.datetime
) -> Iterator[tuple[int, str, Dataset]]:
    """(place of the image in `paths`, name for a file without suffix, object) of the images of one series.

    Parallel slices at even distances leave as one volume, and so do the maps of a file with several frames; anything
    else, and every Secondary Capture, image by image. Raises as `objects_of`.
    """
    from inference.explain.volume import KINDS as VOLUME_KINDS
    from inference.explain.volume import read_stack, volume_objects, volume_of

    if kind in VOLUME_KINDS and (len(images) > 1 or images[0].slices is not None):
        try:
            volume = images[0] if images[0].slices is not None else volume_of(images)
            stack = read_stack(paths)
        except (Unsupported, ValueError) as error:
            if images[0].slices is not None:
                raise Unsupported(f"the volume has no place: {error}") from error
        else:
            yield from ((0, stem, made) for stem, made in volume_objects(volume, stack, kind, when))
            return
    for place, (maps, path) in enumerate(zip(images, paths, strict=True)):
        yield from ((place, stem, made) for stem, made in objects_of(maps, path, kind, when))

"""`python -m inference explain`: maps of DICOM files as pictures or DICOM objects."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inference.explain.export import KINDS, objects_of
from inference.explain.maps import FINEST, NOTICE, MapSet, NoMaps, maps_of
from inference.explain.picture import COLOURS, Look, Picture, one, table
from inference.explain.source import read_header
from inference.preprocess.errors import ImageError
from inference.preprocess.read import read_image

PANEL = 256  # side of one scan in a table of classes


def add_arguments(commands: Any) -> None:
    """Add the subcommand to the parser of `python -m inference`."""
    explain = commands.add_parser("explain", help="heat maps of DICOM files as pictures or DICOM objects")
    explain.add_argument("package", type=Path)
    explain.add_argument("files", type=Path, nargs="+")
    explain.add_argument("--out", type=Path, required=True)
    explain.add_argument("--format", choices=("png", *KINDS), default="png")
    explain.add_argument("--classes", nargs="+", help="default: png and sc the present ones, else all")
    explain.add_argument("--each", action="store_true", help="pm: one file for each class")
    explain.add_argument("--row", type=int, default=FINEST, help="which resolution of the network: 8, 16, 32 or 64")
    explain.add_argument("--colours", choices=COLOURS, default=COLOURS[0])
    explain.add_argument("--smooth", action="store_true", help="linear between cells instead of flat cells")
    explain.add_argument("--no-outline", action="store_true", help="no line at the threshold")
    explain.add_argument("--opacity", type=float, default=Look.opacity)
    explain.add_argument("--side", type=int, default=Look.side, help="longest side of the scan in a picture, pixels")
    explain.add_argument("--device", default="auto")


def run(args: argparse.Namespace) -> int:
    """Run the function on the files as one case and write what was asked for; prints the paths.

    Images without maps (refused ones, a case that is not called malignant) are named on stderr.
    """
    from inference.explain.objects import save
    from inference.package import load

    look = Look(args.colours, args.smooth, not args.no_outline, args.opacity, args.side)
    found = load(args.package, args.device).run(args.files)
    for warning in found.warnings:
        print(warning, file=sys.stderr)
    images = {image.sop_instance_uid: image for image in found.images}
    when = dt.datetime.now()
    for stem, path in _stems(args.files):
        image = images.get(_uid(path))
        if image is None:
            continue  # among the warnings
        try:
            maps = maps_of(found, image, args.row)
        except NoMaps as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        if args.format == "png":
            for name, picture in _pictures(maps, path, args.classes, look):
                print(_save_png(picture, args.out / f"{stem}-{name}.png", maps))
            continue
        for name, ds in objects_of(maps, path, args.format, when, args.classes, look, args.each):
            print(save(ds, args.out / f"{stem}-{name}.dcm"))
    return 0


def _uid(path: Path) -> str:
    try:
        return str(read_header(path).SOPInstanceUID)
    except ImageError:
        return ""


def _stems(files: list[Path]) -> Iterator[tuple[str, Path]]:
    """Names of results: the file's, with its number where several files have the same."""
    stems = [path.stem for path in files]
    for index, path in enumerate(files):
        yield (path.stem if stems.count(path.stem) == 1 else f"{index + 1:03d}-{path.stem}"), path


def _pictures(maps: MapSet, path: Path, classes: list[str] | None, look: Look) -> Iterator[tuple[str, Picture]]:
    scan = read_image(path).pixels
    for name in maps.select(classes).names if classes else maps.shown():
        yield name, one(maps, name, scan, look)
    if len(maps.names) > 1:
        panel = Look(look.colours, look.smooth, look.outline, look.opacity, min(look.side, PANEL))
        yield "table", table(maps.select(classes) if classes else maps, scan, panel)


def _save_png(picture: Picture, path: Path, maps: MapSet) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngInfo()
    text.add_text("Comment", f"{NOTICE}. {maps.function_id} {maps.version}")
    Image.fromarray(picture.pixels).save(path, pnginfo=text, optimize=True)
    return path

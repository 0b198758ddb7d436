"""Subcommands of body regions and of the input check: `regions`, `check`, and shipping both."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELPERS = ("regions", "input-check")


def add(commands: Any) -> None:
    """Their parsers."""
    regions = commands.add_parser("regions", help="outlines of lungs and heart, drawn or as JSON")
    regions.add_argument("files", type=Path, nargs="*", help="DICOM files or pictures")
    regions.add_argument("--phantoms", type=int, default=0, help="draw this many held-out phantoms instead of files")
    regions.add_argument("--out", type=Path, help="picture (PNG, SVG) with the outlines; else JSON is printed")
    regions.add_argument("--package", type=Path, help="default: the shipped finder")

    check = commands.add_parser("check", help="what pictures show, against their headers")
    check.add_argument("files", type=Path, nargs="+")
    check.add_argument("--package", type=Path, help="default: the shipped check")


def regions(args: argparse.Namespace) -> int:
    """Draw or print the regions."""
    import numpy as np

    from inference.datasets.files import display_values
    from inference.evaluation.regions import HELD_OUT, panels
    from inference.phantoms import chest
    from inference.segments.finder import SHIPPED, load_finder

    finder = load_finder(args.package or SHIPPED)
    pictures = [(path.name, display_values(path)) for path in args.files]
    for index in range(args.phantoms):
        made = chest(HELD_OUT + index, size=(512, 512))
        pixels = (made.pixels / 4095).astype(np.float32)
        pictures.append((", ".join(made.truth.classes) or "no finding", pixels))
    if not pictures:
        raise ValueError("neither files nor --phantoms are given")
    if args.out:
        panels(pictures, finder.find).savefig(args.out, dpi=90)
        print(args.out)
    else:
        print(json.dumps({title: finder.find(pixels).to_dict() for title, pixels in pictures}, indent=1))
    return 0


def check(args: argparse.Namespace) -> int:
    """One line of words and one of JSON for each file; 1 when something speaks against one of them."""
    from inference.check.check import SHIPPED, load_checker
    from inference.preprocess.errors import ImageError

    checker = load_checker(args.package or SHIPPED)
    status = 0
    for path in args.files:
        try:
            found = checker.check(path)
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
            continue
        said = [*found.mismatches, *found.cut_off, *found.poor] or ["as its header says"]
        print(f"{path}: {'; '.join(said)}")
        print(json.dumps(found.to_dict()))
        status = status if found.fine else 1
    return status


def ship(family: str, seed: int, out: Path | None) -> Path:
    """Train and package a helper."""
    from inference.package.helpers import ship_check, ship_regions

    return (ship_regions if family == "regions" else ship_check)(seed, out)

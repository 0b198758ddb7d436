"""What was done to the files of a scan, put together: attributes, places in images, rules and versions; no values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import tag_for_keyword

from portal.deidentify.models import DeidentificationReport
from portal.deidentify.pixels.clean import LABELS

# action codes of PS3.15 table E.1-1a in words
ACTIONS = {"X": "Removed", "Z": "Emptied", "D": "Replaced", "C": "Cleaned", "U": "UIDs replaced", "K": "Kept"}
FACES = {"replaced": "Replaced by a generic one", "none": "None found", "open": "Could not be looked for"}
# reasons of faces.geometry, faces.surface and faces.whole in words
WHY = {
    "not_head": "what was scanned is no head",
    "no_face": "the head shows no nose",
    "few_slices": "fewer than three slices",
    "wide_gaps": "more than 12 mm between slices",
    "not_parallel": "the slices are not parallel",
    "beyond_plan": "the slice lies apart from those in which the face was found",
    "no_single_slices": "frames whose place is not known",
    "in_part": "a part of it lies beyond the slices in which the face was found; the rest was replaced",
    "projection": "a projection (scout, topogram), in which each pixel shows all along a ray",
    "from_series": "by another series of the study, in the same frame of reference",
    "too_large": "more than can be held in memory",
    "not_read": "the slices cannot be read",
    "not_renewed": "a face was found later, and the original had gone",
}
MOST_FRAMES = 24
_ITEM = re.compile(r"\[\d+\]")


def summary(reports: Iterable[DeidentificationReport]) -> dict[str, Any]:
    """JSON of what was done to some files.

    files                     how many
    profiles, header_rules    names; site_rules: numbers of the site's own rules
    counts                    [{"action", "word", "elements"}]
    attributes                [{"path", "tag", "action", "word", "rule", "files", "elements"}], items as one
    texts                     [{"kind", "rule", "times"}] of the text finder
    kept                      [{"path", "files"}], attributes left as they came
    images                    [{"shape": [rows, columns] or null, "places": [{"box", "kind", "word", "rule",
                              "certainty"}], "files"}], box as x0, y0, x1, y1 in pixels; alike ones as one, at most 24
    images_left_out           how many kinds of images are not listed
    faces                     [{"done", "word", "reason", "why", "files"}] of CT and MR; reason: a code, why: its words
    """
    files = 0
    profiles: set[str] = set()
    header_rules: set[str] = set()
    numbers: set[int] = set()
    counts: Counter[str] = Counter()
    lines: Counter[tuple[str, str, str]] = Counter()
    in_files: Counter[tuple[str, str, str]] = Counter()
    texts: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    images: Counter[tuple[Any, ...]] = Counter()
    faces: Counter[tuple[str, str]] = Counter()
    for report in reports:
        files += 1
        profiles.add(f"{report.profile} {report.version}")
        header_rules |= {report.header_rule} - {""}
        numbers |= {report.site_rules} - {None}  # type: ignore[arg-type]
        counts.update(report.counts)
        done = [(_ITEM.sub("[]", path), action, cited) for path, action, cited in report.actions]
        lines.update(done)
        in_files.update(set(done))
        texts.update(report.found)
        kept.update(report.kept)
        if report.pixels.get("covered"):
            images[_picture(report.pixels)] += 1
        if report.face:
            faces[report.face["done"], report.face.get("reason", "").partition(":")[0]] += 1
    return {
        "files": files,
        "profiles": sorted(profiles),
        "header_rules": sorted(header_rules),
        "site_rules": sorted(numbers),
        "counts": [{"action": a, "word": word, "elements": counts[a]} for a, word in ACTIONS.items() if counts[a]],
        "attributes": [
            {"path": path, "tag": _tag(path), "action": action, "word": ACTIONS.get(action, action), "rule": cited,
             "files": in_files[path, action, cited], "elements": number}
            for (path, action, cited), number in sorted(lines.items())
        ],
        "texts": [
            {"kind": text.partition(": ")[0], "rule": text.partition(": ")[2], "times": times}
            for text, times in sorted(texts.items())
        ],
        "kept": [{"path": path, "files": number} for path, number in sorted(kept.items())],
        "images": [_image(found, number) for found, number in images.most_common(MOST_FRAMES)],
        "images_left_out": max(0, len(images) - MOST_FRAMES),
        "faces": [
            {"done": done, "word": FACES[done], "reason": reason, "why": WHY.get(reason, ""), "files": number}
            for (done, reason), number in sorted(faces.items())
        ],
    }  # fmt: skip


def _tag(path: str) -> str:
    """(gggg,eeee) of a path's last attribute."""
    last = path.rsplit(".", 1)[-1].removesuffix("[]")
    tag = tag_for_keyword(last)
    word = f"{tag:08X}" if tag is not None else last
    return f"({word[:4]},{word[4:]})" if len(word) == 8 else ""


def _picture(pixels: dict[str, Any]) -> tuple[Any, ...]:
    places = [(tuple(p["box"]), p["kind"], p["rule"], p["certainty"]) for p in pixels["covered"]]
    return tuple(pixels.get("shape") or ()), tuple(sorted(places))


def _image(found: tuple[Any, ...], number: int) -> dict[str, Any]:
    shape, places = found
    return {
        "shape": list(shape) or None,
        "files": number,
        "places": [
            {"box": list(box), "kind": kind, "word": LABELS.get(kind, LABELS["text"]), "rule": rule,
             "certainty": certainty}
            for box, kind, rule, certainty in places
        ],
    }  # fmt: skip


def frames(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of a summary as empty frames to draw: size, and each place with its width and height."""
    out = []
    for image in images:
        places = [
            {**place, "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
            for place in image["places"]
            for x0, y0, x1, y1 in [place["box"]]
        ]
        # reports of before the size was kept: as large as the places need
        rows, columns = image["shape"] or (
            max(p["y"] + p["height"] for p in places),
            max(p["x"] + p["width"] for p in places),
        )
        out.append({"rows": rows, "columns": columns, "places": places, "files": image["files"]})
    return out

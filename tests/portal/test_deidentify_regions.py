"""deid's own list of where consoles write names (its recipe deid.dicom): nothing of an identity is left there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deid.config import DeidRecipe
from deid.dicom import DicomCleaner
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UltrasoundImageStorage

from portal.deidentify.files import write_instance
from portal.deidentify.headers import gather
from portal.deidentify.pixels import door as pixels
from portal.ingest.inspect import opened
from tests.factories.burnt import fonts, person
from tests.factories.burnt.grounds import bare, fan

EVERY = 6  # of the consoles that the recipe knows
CLINICAL = "MI 1.2 TIS 0.4"
Box = tuple[int, int, int, int]


def consoles() -> list[dict[str, str]]:
    """The attributes by which the recipe knows each console of which it says where it writes, in its order."""
    found = []
    for items in DeidRecipe().get_filters().values():
        for item in items:
            pairs = [
                (field, value.split("|")[0])
                for one in item["filters"]
                for field, action, value in zip(one["field"], one["action"], one["value"], strict=False)
                if action in {"contains", "equals"}
            ]
            wanted = dict(pairs)
            known = all(tag_for_keyword(field) for field in wanted) and len(wanted) == len({*pairs})
            if _wide(item["coordinates"]) and known and "Modality" in wanted and wanted not in found:
                found.append(wanted)
    return found


def _wide(coordinates: list[tuple[int, str]]) -> bool:
    """Whether a region is large enough for a name and a number."""
    boxes = [[int(v) for v in text.split(",")] for _, text in coordinates if text[0].isdigit()]
    return any(x1 - x0 >= 400 and y1 - y0 >= 30 for x0, y0, x1, y1 in boxes)


def image(wanted: dict[str, str], seed: int) -> Dataset:
    """An ultrasound fan under a console's attributes, without text."""
    rng = np.random.default_rng(seed)
    shape = (int(wanted.get("Rows", 768)), int(wanted.get("Columns", 1024)))
    plane = fan(rng, shape)
    ds = bare(UltrasoundImageStorage, "US", np.repeat(plane[..., None], 3, 2) if seed % 2 else plane, 8)
    for field, value in wanted.items():
        if field not in {"Rows", "Columns", "CodeMeaning", "WindowWidth"}:
            setattr(ds, field, value)
    for keyword, value in person(seed).header.items():
        setattr(ds, keyword, value)
    return ds


def regions(path: Path) -> list[Box]:
    """x0, y0, x1, y1 of what deid would black out in a file, cut to the image."""
    found: list[Box] = []
    header = dcmread(path)
    for result in DicomCleaner(output_folder=str(path.parent)).detect(str(path))["results"]:
        for _, text in result["coordinates"]:
            for one in [text] if isinstance(text, str) else text:
                x0, y0, x1, y1 = (int(v) for v in one.split(","))
                found.append((x0, y0, min(x1, header.Columns), min(y1, header.Rows)))
    return found


def banner(ds: Dataset, box: Box, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Write who it is into a region and a value of technique under it; returns where the ink of either is."""
    who, plane = person(seed), np.array(pixel_array(ds))
    identity, technique = (np.zeros(plane.shape[:2], bool) for _ in range(2))
    font = fonts.OUTLINED[seed % 4]
    size = max(11, min(20, (box[3] - box[1]) // 3))
    rows = [[f"{who.family}, {who.given}", f"ID: {who.patient_id}"], [who.institution, f"{who.examined:%d.%m.%Y}"]]
    y = box[1] + 2
    for words in rows:
        x = box[0] + 6
        for text in words:
            ink = fonts.ink(text, font, size) > 0.5
            if y + ink.shape[0] > box[3] or x + ink.shape[1] > box[2]:
                break
            identity[y : y + ink.shape[0], x : x + ink.shape[1]] |= ink
            x += ink.shape[1] + 3 * size
        y += round(1.6 * size)
    ink = fonts.ink(CLINICAL, font, 16) > 0.5
    at = plane.shape[0] - 40
    technique[at : at + ink.shape[0], 20 : 20 + ink.shape[1]] = ink
    plane[identity | technique] = 250
    ds.PixelData = np.ascontiguousarray(plane).tobytes()
    return identity, technique


def cleaned(ds: Dataset, folder: Path) -> tuple[Dataset, Path]:
    path, out = folder / "in.dcm", io.BytesIO()
    ds.save_as(path, enforce_file_format=True)
    with opened(path) as found:
        looked = pixels.judged(found, pixels.seen(found, "full"), gather(found.dataset))
        with pixels.cleaned(found, looked, -100) as copy:
            write_instance(out, found.dataset, copy)
    out.seek(0)
    return dcmread(out), path


def changed(before: Dataset, after: Dataset) -> NDArray[np.bool_]:
    """(rows, columns), true where a pixel is another one."""
    differs: NDArray[Any] = pixel_array(before) != pixel_array(after)
    return np.asarray(differs.any(2) if differs.ndim == 3 else differs)


def test_the_recipe_knows_as_many_consoles_as_it_did() -> None:
    assert len(consoles()) >= 60


@pytest.mark.parametrize("number", range(0, 60, EVERY))
def test_what_stands_where_a_console_writes_names_goes(number: int, tmp_path: Path) -> None:
    ds = image(consoles()[number], 300 + number)
    ds.save_as(tmp_path / "blank.dcm", enforce_file_format=True)
    found = regions(tmp_path / "blank.dcm")
    assert found, "deid does not know the console"
    box = max(found, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
    identity, technique = banner(ds, box, 300 + number)
    assert identity[box[1] : box[3], box[0] : box[2]].sum() == identity.sum() > 0
    after, _ = cleaned(ds, tmp_path)
    differs = changed(ds, after)
    assert differs[identity].mean() >= 0.95
    assert differs[technique].mean() <= 0.1
    assert after.BurnedInAnnotation == "NO"

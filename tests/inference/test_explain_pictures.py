"""Pictures of maps: exact blending, colours that any eye can order, order, outline; and the explain command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from skimage.color import rgb2lab

from inference.cli import main
from inference.explain import MapSet, NoMaps, maps_of
from inference.explain.picture import COLOURS, Look, caption, one, overlay, spread, table, table_of
from inference.findings import CaseFindings
from inference.package import load
from tests.inference.conftest import HEATMAP, MALIGNANCY

# Simulation matrices for complete deficiency, applied to linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 15
# (2009), table 1, severity 1.0
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
PLAIN = Look(outline=False, opacity=1.0)


def maps_with(*grids: np.ndarray, probabilities: tuple[float, ...] = (0.5,)) -> MapSet:
    names = tuple(f"Class_{n}" for n in range(len(grids)))
    return MapSet(
        "1.2.3", "f", "1", "0" * 64, "0", names, np.stack(grids).astype(np.uint8),
        dict(zip(names, probabilities, strict=True)),
        {name: p >= 0.5 for name, p in zip(names, probabilities, strict=True)},
        dict.fromkeys(names, 0.5),
    )  # fmt: skip


@pytest.mark.parametrize("seen_by", DEFICIENCIES)
@pytest.mark.parametrize("colours", COLOURS)
def test_lightness_rises_with_probability_for_every_eye(colours: str, seen_by: str) -> None:
    rgb = table_of(colours) / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(DEFICIENCIES[seen_by]).T, 0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lightness = rgb2lab(shown[None])[0, :, 0]
    steps = lightness[16::16] - lightness[:-16:16]
    assert (steps > 1.0).all(), steps  # each sixteenth is visibly lighter than the one before
    assert lightness[-1] - lightness[0] > 60


def test_colours_without_order_would_not_pass() -> None:
    from matplotlib import colormaps

    lightness = rgb2lab(colormaps["jet"](np.arange(256))[None, :, :3])[0, :, 0]
    assert not (lightness[16::16] - lightness[:-16:16] > 1.0).all()


def test_blending_is_exact() -> None:
    grid = np.zeros((64, 64), np.uint8)
    grid[0, 0], grid[63, 63], grid[0, 63] = 255, 13, 128
    scan = np.full((128, 192), 0.4, np.float32)
    seen = overlay(scan, grid, 0.5, PLAIN)
    colours = table_of("inferno")
    assert (seen[:2, :3] == colours[255]).all() and (seen[:2, -3:] == colours[128]).all()
    a = min(1.0, (13 / 255) / 0.1)
    wanted = np.round((1 - a) * 0.4 * 255 + a * colours[13])
    assert np.abs(seen[-1, -1].astype(int) - wanted).max() <= 1
    assert (seen[2:126, 3:-3] == 102).all()  # nothing found there: the scan
    half = overlay(scan, grid, 0.5, replace(PLAIN, opacity=0.5))
    assert np.abs(half[0, 0] - (102 + colours[255].astype(float)) / 2).max() <= 1


def test_flat_cells_or_linear_between_their_centres() -> None:
    grid = np.zeros((2, 2), np.uint8)
    grid[:, 1] = 200
    flat = spread(grid, 8, 8, smooth=False)
    assert set(np.unique(np.round(flat * 255))) == {0, 200} and (flat[:, :4] == 0).all()
    smooth = spread(grid, 8, 8, smooth=True)[0] * 255
    # centres of cells lie at 2 and 6, pixels at 0.5, 1.5 …: from centre to centre 200 over 4 pixels
    assert smooth == pytest.approx([0, 0, 25, 75, 125, 175, 200, 200], abs=1e-3)


def test_the_outline_follows_the_threshold() -> None:
    grid = np.zeros((64, 64), np.uint8)
    grid[16:32, 8:24] = 128  # 0.50196, at or over 0.5
    grid[40:48, 40:48] = 127  # 0.49804, under it
    scan = np.full((256, 256), 0.5, np.float32)
    seen = overlay(scan, grid, 0.5, Look(opacity=0.0))
    white = (seen == 255).all(axis=-1)
    ys, xs = np.nonzero(white)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (64, 127, 32, 95)  # 4 pixels a cell
    assert white.sum() == 4 * 63 and not white[65:127, 33:95].any()
    assert not (overlay(scan, grid, 0.5, Look(opacity=0.0, outline=False)) == 255).any()


def test_classes_come_by_probability_and_the_present_ones_are_shown() -> None:
    grids = [np.full((8, 8), value, np.uint8) for value in (10, 20, 30)]
    maps = maps_with(*grids, probabilities=(0.2, 0.9, 0.6))
    assert maps.order() == ["Class_1", "Class_2", "Class_0"] and maps.shown() == ["Class_1", "Class_2"]
    assert maps_with(*grids, probabilities=(0.1, 0.3, 0.2)).shown() == ["Class_1"]  # none present: the most probable
    assert caption(maps, "Class_1") == "Class 1 0.90, present" and caption(maps, "Class_0") == "Class 0 0.20"
    drawn = table(maps, np.zeros((64, 64), np.float32), Look(side=64, outline=False, opacity=1.0), across=2)
    left, top, width, height = drawn.scan
    first = drawn.pixels[top + height // 2, left + width // 2]
    second = drawn.pixels[top + height // 2, left + width // 2 + width + 10]
    alpha = {value: min(1, value / 255 / 0.1) for value in (20, 30)}
    for seen, value in ((first, 20), (second, 30)):
        assert np.abs(seen - alpha[value] * table_of("inferno")[value].astype(float)).max() <= 1


def test_a_picture_holds_the_whole_scan_the_bar_and_the_words() -> None:
    grid = np.zeros((64, 64), np.uint8)
    scan = np.linspace(0.2, 0.8, 300 * 200, dtype=np.float32).reshape(300, 200)
    picture = one(maps_with(grid), "Class_0", scan, Look(side=300))
    left, top, width, height = picture.scan
    assert (width, height) == (200, 300)
    inside = picture.pixels[top : top + height, left : left + width]
    assert np.abs(inside[..., 0] - np.round(scan * 255)).max() <= 1
    bar = {tuple(colour) for row in picture.pixels[:, left + width :] for colour in row}
    assert {tuple(colour) for colour in table_of("inferno")[::16].tolist()} <= bar
    assert (picture.pixels[:top] > 200).any() and (picture.pixels[top + height :] > 200).any()  # words above and below


@pytest.mark.parametrize("wrong", [{"colours": "jet"}, {"opacity": 1.5}, {"side": 10}])
def test_looks_that_cannot_be_drawn_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"jet|opacity"):
        Look(**wrong)  # type: ignore[arg-type]


def test_the_gate_holds(case_files: list[Path]) -> None:
    found = load(MALIGNANCY, "cpu").run(case_files)
    assert found.case is not None and found.case.call
    assert maps_of(found, found.images[0]).matrix.shape == (1, 64, 64)
    case = CaseFindings(**{**vars(found.case), "call": False})
    with pytest.raises(NoMaps, match="no place leaves the function"):
        maps_of(replace(found, case=case), found.images[0])
    with pytest.raises(NoMaps, match="no map of row 8, there is 64"):
        maps_of(found, found.images[0], 8)


def test_the_command_writes_pictures_and_objects(
    chest_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["explain", str(HEATMAP), str(chest_file), "--out", str(tmp_path), "--device", "cpu"]
    assert main([*common, "--smooth", "--colours", "cividis"]) == 0
    written = capsys.readouterr().out.split()
    assert {Path(p).name for p in written} == {"PA-Effusion.png", "PA-Nodule.png", "PA-table.png"}
    picture = Image.open(tmp_path / "PA-table.png")
    assert picture.info["Comment"].startswith("Research use only") and picture.mode == "RGB"
    matrix = load(HEATMAP, "cpu").run([chest_file]).images[0].matrices
    assert main([*common, "--format", "pm", "--row", "32"]) == 0
    stored = dcmread(tmp_path / "PA-pm.dcm").pixel_array
    assert np.array_equal(stored, matrix[32] / np.float32(255))
    assert main([*common, "--format", "seg-binary", "--classes", "Nodule", "Mass"]) == 0
    assert dcmread(tmp_path / "PA-seg-binary.dcm").pixel_array.shape == (2, 320, 320)
    assert main([*common, "--format", "sc", "--classes", "Gout"]) == 2
    assert "'Gout' is none of" in capsys.readouterr().err


def test_the_command_keeps_the_gate_and_goes_on(
    tmp_path: Path, chest_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inference.phantoms import breast_case

    for seed in range(60, 90):
        files = breast_case(seed, malignant=False, size=(512, 416)).write(tmp_path / str(seed))
        case = load(MALIGNANCY, "cpu").run(files).case
        if case is not None and not case.call:
            break
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"nothing")
    arguments = ["explain", str(MALIGNANCY), *map(str, [*files, bad]), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--format", "seg"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("no place leaves the function") == 4 and "bad.dcm" in said.err
    assert not (tmp_path / "out").exists()


def test_portals_need_no_pytorch_for_it() -> None:
    code = "import inference.explain.export, inference.explain.seg, inference.explain.pm, inference.explain.sc, sys; " \
        "sys.exit('torch' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0

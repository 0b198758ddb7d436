"""Good, odd and bad images; geometry there and back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.sr.codedict import codes

from inference.phantoms import BreastCase, breast_case, chest
from inference.preprocess import (
    ImageError,
    Limits,
    NoContrast,
    NotFinite,
    TooLarge,
    TooSmall,
    Unreadable,
    Unsupported,
    ViewHint,
    prepare_breast,
    prepare_whole,
    read_image,
)
from inference.preprocess.read import VIEW_CODES


def changed(path: Path, out: Path, **values: object) -> Path:
    """A copy with other elements; None removes one."""
    ds = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    target = out / "changed.dcm"
    ds.save_as(target)
    return target


def with_pixels(path: Path, out: Path, pixels: np.ndarray, **values: object) -> Path:
    rows, columns = pixels.shape[:2]
    return changed(path, out, PixelData=pixels.tobytes(), Rows=rows, Columns=columns, **values)


def test_view_codes_are_those_of_the_standard() -> None:
    """PS3.16 CID 4010 and CID 4014 as pydicom has them."""
    wanted = {
        "PA": codes.cid4010.PosteroAnterior, "AP": codes.cid4010.AnteroPosterior,
        "CC": codes.cid4014.CranioCaudal, "MLO": codes.cid4014.MedioLateralObliqueProjection,
        "ML": codes.cid4014.MedioLateralProjection, "LM": codes.cid4014.LateroMedial,
    }  # fmt: skip
    for view, code in wanted.items():
        assert VIEW_CODES[str(code.value)] == view
    ds = chest(1, size=(64, 64)).dataset
    assert ds.ViewCodeSequence[0].CodeValue == wanted["PA"].value


def test_window_and_tags(chest_file: Path, case_files: list[Path]) -> None:
    image = read_image(chest_file)
    ds: FileDataset = dcmread(chest_file)
    # PS3.3 C.11.2.1.2.1 at the window's centre and edges.
    stored = ds.pixel_array.astype(float)
    wanted = np.clip((stored - (2000 - 0.5)) / (3600 - 1) + 0.5, 0, 1)
    assert np.abs(image.pixels - wanted).max() < 1e-5
    assert (image.view, image.laterality, image.modality) == ("PA", None, "DX")
    assert image.spacing_mm == (1.25, 1.25) and image.warnings == ()
    mammogram = read_image(next(p for p in case_files if p.stem == "L-MLO"))
    assert (mammogram.laterality, mammogram.view) == ("L", "MLO")


def test_monochrome1_is_shown_the_other_way_round(chest_file: Path, tmp_path: Path) -> None:
    inverted = read_image(changed(chest_file, tmp_path, PhotometricInterpretation="MONOCHROME1"))
    assert np.allclose(inverted.pixels, 1 - read_image(chest_file).pixels, atol=1e-6)


def test_rescale_moves_the_window(chest_file: Path, tmp_path: Path) -> None:
    moved = changed(chest_file, tmp_path, RescaleIntercept=-1000, WindowCenter=1000)
    assert np.allclose(read_image(moved).pixels, read_image(chest_file).pixels, atol=1e-5)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions(chest_file: Path, tmp_path: Path, function: str) -> None:
    shown = read_image(changed(chest_file, tmp_path, VOILUTFunction=function)).pixels
    stored = dcmread(chest_file).pixel_array.astype(float)
    exact = {
        "LINEAR_EXACT": np.clip((stored - 2000) / 3600 + 0.5, 0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (stored - 2000) / 3600)),
    }
    assert np.abs(shown - exact[function]).max() < 1e-5


def test_missing_window_is_said(chest_file: Path, tmp_path: Path) -> None:
    image = read_image(changed(chest_file, tmp_path, WindowCenter=None, WindowWidth=None))
    assert "no display window" in image.warnings[0]
    assert image.pixels.min() == 0 and image.pixels.max() == 1


def test_view_from_code_and_hint(case_files: list[Path], tmp_path: Path) -> None:
    bare = changed(case_files[0], tmp_path, ViewPosition=None, ImageLaterality=None)
    image = read_image(bare)
    assert (image.laterality, image.view) == (None, "CC")  # View Code Sequence is still there
    hinted = read_image(bare, hint=ViewHint("R", "MLO"))
    assert (hinted.laterality, hinted.view) == ("R", "MLO")


def test_colour_becomes_luminance(chest_file: Path, tmp_path: Path) -> None:
    rgb = np.zeros((32, 40, 3), dtype=np.uint8)
    rgb[..., 1] = 255
    rgb[:16] = 0
    path = with_pixels(
        chest_file, tmp_path, rgb, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
        BitsAllocated=8, BitsStored=8, HighBit=7,
    )  # fmt: skip
    image = read_image(path)
    assert image.pixels.max() == pytest.approx(0.587, abs=1e-3)
    assert image.warnings == ("colour image, luminance used",)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"Rows": 60000, "Columns": 60000}, TooLarge),
        ({"Rows": 1, "Columns": 1}, TooSmall),
        ({"PixelData": None}, Unsupported),
        ({"NumberOfFrames": 3}, Unsupported),
        ({"PixelData": b"\0" * 64}, Unreadable),
        ({"PixelData": b"\0" * (320 * 320 * 2), "WindowCenter": None}, NoContrast),
        ({"PixelData": b"\7\0" * (320 * 320)}, NoContrast),
        ({"Rows": None}, Unreadable),
        ({"PhotometricInterpretation": "NONSENSE", "PixelData": b""}, Unreadable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_bad_images_are_refused_by_name(
    chest_file: Path, tmp_path: Path, values: dict[str, object], error: type[ImageError]
) -> None:
    with pytest.raises(error, match=r"changed\.dcm"):
        read_image(changed(chest_file, tmp_path, **values))


def test_values_that_are_no_numbers(chest_file: Path, tmp_path: Path) -> None:
    pixels = np.ones((32, 32), dtype=np.float32)
    pixels[3, 4] = np.nan
    path = changed(
        chest_file, tmp_path, PixelData=None, FloatPixelData=pixels.tobytes(), Rows=32, Columns=32,
        BitsAllocated=32, BitsStored=None, HighBit=None, PixelRepresentation=None,
    )  # fmt: skip
    with pytest.raises(NotFinite):
        read_image(path)


def test_files_that_are_no_dicom(tmp_path: Path, chest_file: Path) -> None:
    text = tmp_path / "note.dcm"
    text.write_text("hello")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(chest_file.read_bytes()[:900])
    for path in (text, cut, tmp_path / "missing.dcm", tmp_path):
        with pytest.raises(ImageError):
            read_image(path)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "examples_palette.dcm",
                                  "SC_rgb_jpeg_gdcm.dcm", "693_J2KR.dcm", "rtplan.dcm", "no_meta.dcm"])  # fmt: skip
def test_files_that_no_one_here_made(name: str) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    try:
        image = read_image(Path(path))
    except ImageError as error:
        assert Path(path).name in str(error)
    else:
        assert image.pixels.dtype == np.float32 and image.pixels.ndim == 2
        assert 0 <= image.pixels.min() < image.pixels.max() <= 1


def test_limit_is_checked_before_decoding(chest_file: Path) -> None:
    with pytest.raises(TooLarge, match="limit of 1000"):
        read_image(chest_file, Limits(pixels=1000))


@pytest.mark.parametrize("name", ["L-CC", "R-CC", "L-MLO", "R-MLO"])
def test_breast_lies_with_its_chest_wall_at_the_left(name: str, case_files: list[Path]) -> None:
    image = read_image(next(p for p in case_files if p.stem == name))
    prepared = prepare_breast(image.pixels, (512, 384))
    assert prepared.warnings == () and prepared.chest_wall == ("left" if name[0] == "L" else "right")
    assert prepared.pixels.shape == (512, 384)
    assert (prepared.pixels[:, :8] > 0).mean() > 0.6 > (prepared.pixels[:, -8:] > 0).mean()


def test_lesion_is_found_again_through_the_geometry(small_case: BreastCase) -> None:
    for image in small_case.images:
        pixels = image.pixels.astype(np.float32) / 4095
        geometry = prepare_breast(pixels, (512, 384)).geometry
        for lesion in image.truth.lesions:
            x0, y0, x1, y1 = lesion.box
            if geometry.mirrored:
                x0, x1 = geometry.columns - x1, geometry.columns - x0
            box = (
                (x0 - geometry.left) / geometry.step,
                (y0 - geometry.top) / geometry.step_y,
                (x1 - geometry.left) / geometry.step,
                (y1 - geometry.top) / geometry.step_y,
            )
            assert min(box) >= 0 and box[2] <= 384 and box[3] <= 512
            assert geometry.box_to_image(box) == pytest.approx(lesion.box, abs=0.5)


@pytest.mark.parametrize("shape", [(1024, 832), (1031, 821)])
def test_a_large_image_is_averaged_before_it_is_windowed(
    chest_file: Path, tmp_path: Path, shape: tuple[int, int]
) -> None:
    values = np.random.default_rng(5).integers(1000, 2000, shape, dtype=np.uint16)
    path = changed(chest_file, tmp_path, PixelData=values.tobytes(), Rows=shape[0], Columns=shape[1],
                   WindowCenter=1500, WindowWidth=2001)  # fmt: skip
    image = read_image(path, least=(128, 100))
    assert (image.factor, image.rows, image.columns) == (4, *shape)
    inside = values[: shape[0] // 4 * 4, : shape[1] // 4 * 4]
    means = inside.reshape(shape[0] // 4, 4, shape[1] // 4, 4).mean((1, 3))
    wanted = (means - 1499.5) / 2000 + 0.5  # PS3.3 C.11.2.1.2
    assert np.abs(image.pixels[: wanted.shape[0], : wanted.shape[1]] - wanted).max() < 1e-3
    assert read_image(path, least=(512, 416)).factor == 1 == read_image(path).factor
    ds = dcmread(path)
    ds.add_new("PixelPaddingValue", "US", 0)
    ds.save_as(path)
    assert read_image(path, least=(128, 100)).factor == 1  # a mean with padding in it would be of nothing


@pytest.mark.parametrize("name", ["L", "R"])
def test_averaging_moves_nothing(name: str, tmp_path: Path) -> None:
    files = breast_case(43, malignant=True, size=(2048, 1661)).write(tmp_path)
    path = next(p for p in files if dcmread(p).ImageLaterality == name)
    size = (256, 192)
    whole, small = read_image(path), read_image(path, least=size)
    assert small.factor == 4
    first = prepare_breast(whole.pixels, size).geometry
    second = prepare_breast(small.pixels, size).geometry.of_larger(small.factor, small.rows, small.columns)
    assert first.mirrored == second.mirrored == (name == "R") and (second.rows, second.columns) == (2048, 1661)
    corners = np.array([[0.0, 0.0], [192.0, 256.0], [96.0, 128.0]])
    # the outline is found on a grid of 8 or so pixels; more would be a shift
    assert np.abs(first.to_image(corners) - second.to_image(corners)).max() <= 24
    assert np.abs(prepare_breast(whole.pixels, size).pixels - prepare_breast(small.pixels, size).pixels).mean() < 0.03


def test_map_comes_back_to_its_place_in_the_image(small_case: BreastCase) -> None:
    for image in small_case.images:
        geometry = prepare_breast(image.pixels.astype(np.float32) / 4095, (512, 384)).geometry
        grid = np.zeros((64, 48), dtype=np.float32)
        grid[30:34, 20:24] = 1.0  # input pixels 160..192, 240..272
        centre = geometry.to_image(np.array([[176.0, 256.0]]))[0]
        found = geometry.map_to_image(grid, (512, 384), 64)
        y, x = np.unravel_index(int(found.argmax()), found.shape)
        assert (x + 0.5) * geometry.columns / 64 == pytest.approx(centre[0], abs=2 * geometry.columns / 64)
        assert (y + 0.5) * geometry.rows / 64 == pytest.approx(centre[1], abs=2 * geometry.rows / 64)


def test_whole_image_is_stretched_and_said_so_when_odd() -> None:
    pixels = np.linspace(0, 1, 100 * 400, dtype=np.float32).reshape(100, 400)
    prepared = prepare_whole(pixels, (64, 64))
    assert prepared.pixels.shape == (64, 64) and prepared.pixels.min() == 0 and prepared.pixels.max() == 1
    assert "unusual shape" in prepared.warnings[0]
    assert prepared.geometry.box_to_image((0, 0, 64, 64)) == (0, 0, 400, 100)


def test_picture_without_a_breast_still_gives_an_input() -> None:
    noise = np.random.default_rng(1).random((300, 200), dtype=np.float32)
    prepared = prepare_breast(noise, (512, 384))
    assert np.isfinite(prepared.pixels).all() and prepared.pixels.shape == (512, 384)


def test_what_is_too_large_is_refused_before_its_pixels_are_read(chest_file: Path, tmp_path: Path) -> None:
    """20,000² pixels of 16 bits, a file of 800 MB, in a process that may not grow by so much."""
    ds = dcmread(chest_file)
    ds.Rows = ds.Columns = 20_000
    ds.PixelData = b"\0\0"
    path = tmp_path / "huge.dcm"
    ds.save_as(path)
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00OW\0\0") + 8  # the length of Pixel Data, explicit VR
    path.write_bytes(content[:at] + (800_000_000).to_bytes(4, "little"))
    with path.open("r+b") as file:
        file.truncate(at + 4 + 800_000_000)  # zeros that take no room on the disk
    code = f"""
import resource
from pathlib import Path
from inference.preprocess import TooLarge, read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(Path({str(path)!r}))
except TooLarge as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "20000 x 20000" in said[0] and int(said[1]) < 100_000, said  # kB

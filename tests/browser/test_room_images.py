"""How images stand in the reading room, measured on the screen: priors, stacks, windows, odd headers, no WebGL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect
from pydicom import dcmread
from pydicom.uid import generate_uid

from inference.phantoms import breast_case, chest
from tests.browser.rooms import arrived, grey, inside, opened, send, sign_in, studies
from tests.factories import ct
from tests.support import CHROMIUM_ARGS, Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    """Erin, who may look at every scan."""
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = sign_in(context, stack, "erin")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def thorax(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CT of 40 slices, sent by STOW."""
    folder, before = tmp_path_factory.mktemp("ct"), studies(stack)
    files = [folder / f"{n}.dcm" for n in range(40)]
    for path, content in zip(files, ct.series(len(files)), strict=True):
        path.write_bytes(content)
    send(stack, files)
    return arrived(stack, "CT", 40, before)


def level(hu: float, centre: float, width: float) -> float:
    """Grey level of a Hounsfield value (PS3.3 C.11.2.1.2, linear)."""
    return 255 * min(max((hu - centre) / width + 0.5, 0), 1)


def middle(page: Page) -> float:
    """Grey level in the middle of the first viewport, where the phantom is soft tissue."""
    shown = grey(page, 0)
    y, x = shown.shape[0] // 2, shown.shape[1] // 2
    return float(shown[y - 4 : y + 5, x - 4 : x + 5].mean())


def test_a_prior_hangs_beside_on_the_same_scale(stack: Stack, page: Page, tmp_path: Path) -> None:
    files, before = breast_case(771, malignant=False, size=(512, 416)).write(tmp_path, truth=False), studies(stack)
    # the prior: the same breasts 425 days before, on a plate of 250 columns instead of 416
    (tmp_path / "prior").mkdir()
    study, series, older = generate_uid(), generate_uid(), []
    for path in files:
        ds = dcmread(path)
        pixels = ds.pixel_array
        near_wall = slice(0, 250) if ds.ImageLaterality == "L" else slice(-250, None)
        ds.Columns = 250
        ds.PixelData = np.ascontiguousarray(pixels[:, near_wall]).tobytes()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        day = np.datetime64(f"{ds.StudyDate[:4]}-{ds.StudyDate[4:6]}-{ds.StudyDate[6:]}") - 425
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = str(day).replace("-", "")
        older.append(tmp_path / "prior" / path.name)
        ds.save_as(older[-1])
    send(stack, older)
    prior = arrived(stack, "MG", 4, before)
    send(stack, files)
    opened(page, stack, f"/view/{arrived(stack, 'MG', 4, before | {prior})}/")

    expect(page.locator(".corner.title")).to_have_text(
        ["R CC", "L CC", "prior R CC", "prior L CC", "R MLO", "L MLO", "prior R MLO", "prior L MLO"]
    )
    expect(page.locator(".corner.when").first).to_contain_text("14 months earlier")
    page.keyboard.press("Space")  # only the image
    now, then = grey(page, 1), grey(page, 3)
    assert now.shape == then.shape
    # from the chest wall at the left edge to the nipple, at the same height
    band = slice(now.shape[0] // 2 - 5, now.shape[0] // 2 + 5)
    lit = [np.flatnonzero(shown[band].max(0) > 25) for shown in (now, then)]
    assert all(columns.min() <= 4 for columns in lit), "both lean on the chest wall's side"
    reach = [int(columns.max()) for columns in lit]
    assert reach[0] > 60 and abs(reach[0] - reach[1]) <= 2, reach


def test_a_stack_is_walked_by_wheel_keys_and_slider(stack: Stack, page: Page, thorax: str) -> None:
    opened(page, stack, f"/view/{thorax}/")
    place = page.locator(".corner.place")
    expect(place).to_have_text("-205.0 mm · 20 / 40")  # by place, though the numbers run the other way
    for key, number in (
        ("ArrowDown", 21),
        ("PageDown", 31),
        ("End", 40),
        ("ArrowDown", 40),
        ("Home", 1),
        ("ArrowUp", 1),
    ):
        page.keyboard.press(key)
        expect(place).to_have_text(f"{-300 + 5 * (number - 1):.1f} mm · {number} / 40")
    first = grey(page, 0)
    for _ in range(17):  # as fast as it goes: none is lost
        page.keyboard.press("ArrowDown")
    expect(place).to_contain_text("18 / 40")
    page.mouse.move(*inside(page, 0, 0.5, 0.5))
    page.mouse.wheel(0, 100)
    expect(place).to_contain_text("19 / 40")
    slider = page.get_by_role("slider", name="Slice of CT")
    slider.fill("40")
    expect(place).to_contain_text("40 / 40")
    expect(slider).to_have_attribute("aria-valuetext", "40 of 40")
    page.wait_for_timeout(300)
    assert np.abs(grey(page, 0) - first).mean() > 1, "another slice is drawn"


def test_windows_are_those_that_the_corner_names(stack: Stack, page: Page, thorax: str) -> None:
    opened(page, stack, f"/view/{thorax}/")
    corner = page.locator(".corner.window")
    expect(corner).to_have_text("mediastinum · W 350 L 40")
    assert middle(page) == pytest.approx(level(ct.SOFT, 40, 350), abs=6)
    page.keyboard.press("v")
    expect(corner).to_have_text("lungs · W 1400 L -500")
    for key in ("v", "PageDown"):  # the window stays over slices, in the words and in the picture
        assert key == "v" or page.keyboard.press(key) is None
        page.wait_for_timeout(400)
        expect(corner).to_have_text("lungs · W 1400 L -500")
        assert middle(page) == pytest.approx(level(ct.SOFT, -500, 1400), abs=6)
    page.keyboard.press("Control+k")
    page.keyboard.type("bone")
    page.keyboard.press("Enter")
    expect(corner).to_have_text("bone · W 1800 L 400")
    page.wait_for_timeout(200)
    assert middle(page) == pytest.approx(level(ct.SOFT, 400, 1800), abs=6)
    page.keyboard.press("0")
    expect(corner).to_have_text("mediastinum · W 350 L 40")


def test_a_spacing_of_zero_does_not_bend_the_image(stack: Stack, page: Page, tmp_path: Path) -> None:
    before = studies(stack)
    [path] = chest(772, size=(256, 256)).write(tmp_path)
    ds = dcmread(path)
    pixels = np.zeros_like(ds.pixel_array)
    pixels[[0, 1, 2, -3, -2, -1]] = pixels[:, [0, 1, 2, -3, -2, -1]] = pixels.max(initial=4000)  # a bright frame
    ds.PixelData, ds.PixelSpacing = pixels.tobytes(), [0, 0]
    if "ImagerPixelSpacing" in ds:
        del ds.ImagerPixelSpacing
    ds.save_as(path)
    send(stack, [path])
    opened(page, stack, f"/view/{arrived(stack, 'DX', 1, before)}/")
    page.keyboard.press("Space")
    shown = grey(page, 0)
    rows, columns = np.flatnonzero(shown.max(1) > 60), np.flatnonzero(shown.max(0) > 60)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert height >= shown.shape[0] - 4 and abs(height - width) <= 3, (height, width)


def test_without_webgl_the_reader_is_told_and_sees_the_image(
    stack: Stack, browser_type: BrowserType, browser_type_launch_args: dict[str, Any], thorax: str
) -> None:
    gone = ["--disable-gpu", "--disable-3d-apis", "--disable-webgl", "--disable-webgl2"]
    args = [arg for arg in CHROMIUM_ARGS if "swiftshader" not in arg] + gone
    browser = browser_type.launch(**{**browser_type_launch_args, "args": args})
    page = sign_in(browser.new_context(viewport={"width": 1400, "height": 950}), stack, "erin")
    assert page.evaluate("() => document.createElement('canvas').getContext('webgl2')") is None
    opened(page, stack, f"/view/{thorax}/")
    expect(page.get_by_test_id("notice")).to_contain_text("no WebGL 2")
    assert middle(page) == pytest.approx(level(ct.SOFT, 40, 350), abs=6)
    page.get_by_role("button", name="Hide this").click()
    expect(page.get_by_test_id("notice")).to_have_count(0)
    page.wait_for_timeout(300)
    assert middle(page) == pytest.approx(level(ct.SOFT, 40, 350), abs=6)
    browser.close()

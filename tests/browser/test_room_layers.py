"""What other systems say of a scan, in the reading room: listed, off, switched on by mouse and keys, in its place."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from pydicom import dcmread

from inference.phantoms import breast_case
from tests.browser.rooms import arrived, grey, opened, send, sign_in, studies
from tests.factories import foreign
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def scan(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CT of 12 slices with another maker's masks, report and presentation state, sent by STOW."""
    folder, before, slices = tmp_path_factory.mktemp("layers"), studies(stack), foreign.scan()
    objects = [
        *slices,
        foreign.masks([slices[n] for n in foreign.MASKED], foreign.body()),
        foreign.report(slices),
        foreign.presentation(slices),
    ]
    files = [folder / f"{n}.dcm" for n in range(len(objects))]
    for path, ds in zip(files, objects, strict=True):
        ds.save_as(path, enforce_file_format=True)
    send(stack, files)
    return arrived(stack, "CT", len(objects), before)


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    """Erin, who may look at every scan."""
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = sign_in(context, stack, "erin")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def layer(page: Page, words: str) -> Locator:
    return page.get_by_test_id("layers").locator("button.layer", has_text=words)


def inner(shown: NDArray[np.float64]) -> NDArray[np.float64]:
    """A slice without the bar at its right edge."""
    shown[:, -30:] = 0
    return shown


def green(page: Page) -> NDArray[np.bool_]:
    """Where the first viewport shows the hue of other systems."""
    picture = Image.open(io.BytesIO(page.get_by_test_id("viewport-0").screenshot()))
    red, middle, blue = np.asarray(picture.convert("RGB"), float).transpose(2, 0, 1)
    return (middle - red > 70) & (middle - blue > 20)


def extent(lit: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is lit, in pixels of the viewport."""
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def box(page: Page, shape: Locator) -> tuple[float, float, float, float]:
    """The same of an SVG element; one that is just being drawn anew lies nowhere."""
    around: Any = page.get_by_test_id("viewport-0").bounding_box()
    where = "e => { const b = e.getBoundingClientRect(); return e.isConnected && [b.left, b.top, b.right, b.bottom] }"
    found: Any = wait_for(lambda: shape.evaluate(where), 10, "the shape is drawn")
    return tuple(v - around["xy"[n % 2]] for n, v in enumerate(found))  # type: ignore[return-value]


def test_layers_are_switched_on_and_lie_where_they_belong(stack: Stack, page: Page, scan: str) -> None:
    opened(page, stack, f"/view/{scan}/")
    place, shapes = page.locator(".corner.place"), page.locator(".outlines path.foreign:not(.casing)")
    rows = page.get_by_test_id("layers").locator("button.layer")
    expect(rows).to_have_count(3)
    for row in rows.all():
        expect(row).to_have_attribute("aria-pressed", "false")
        expect(row).to_contain_text(foreign.MAKER)
    expect(layer(page, "Imaging Measurement Report")).to_contain_text("report")
    # two places, and what is said of the whole
    expect(layer(page, "Imaging Measurement Report")).to_contain_text("3 items", timeout=30_000)
    expect(layer(page, "TISSUE")).to_contain_text("segmentation · ")
    expect(shapes).to_have_count(0)
    expect(place).to_contain_text("6 / 12")
    page.mouse.move(5, 5)
    page.keyboard.press("Space")  # without the letters in the corners
    before = inner(grey(page, 0))
    page.keyboard.press("Space")
    assert not green(page).any()

    # by mouse: the body's outline lies round the body that the picture shows
    layer(page, "TISSUE").click()
    expect(layer(page, "TISSUE")).to_have_attribute("aria-pressed", "true")
    expect(shapes).to_have_count(1)
    body = extent(before > 60)
    assert box(page, shapes.first) == pytest.approx(body, abs=4), "the outline is round the body"
    lit = extent(green(page))
    assert (lit[0], *lit[2:]) == pytest.approx((body[0], *body[2:]), abs=6), "above it stands the label"
    expect(page.locator("text.foreign-label")).to_contain_text("Soft tissue")
    page.get_by_test_id("viewport-0").focus()  # in the list the arrows go from layer to layer
    for key, number, count in (("ArrowDown", 7, 1), ("ArrowDown", 8, 0), ("Home", 1, 0)):
        page.keyboard.press(key)
        expect(place).to_contain_text(f"{number} / 12")
        expect(shapes).to_have_count(count)
    assert not green(page).any()
    page.get_by_test_id("layers").get_by_role("button", name="Soft tissue").click()  # shows where
    expect(place).to_contain_text(re.compile("[67] / 12"))
    expect(shapes).to_have_count(1)
    page.get_by_test_id("viewport-0").focus()
    page.keyboard.press("Space")
    assert not green(page).any()
    page.keyboard.press("Space")
    layer(page, "TISSUE").click()
    expect(shapes).to_have_count(0)

    # by keys: the point lies in the bone that the picture shows
    page.get_by_test_id("viewport-0").focus()
    page.keyboard.press("Home")
    for _ in range(foreign.POINTED):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("o")
    expect(rows.first).to_be_focused()
    while not layer(page, "Imaging Measurement Report").evaluate("e => e === document.activeElement"):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    cross = page.locator(".outlines path.foreign.point")
    expect(cross).to_have_count(1)
    left, top, right, bottom = box(page, cross)
    x, y = extent(before > 245)[::2], extent(before > 245)[1::2]  # soft tissue is a middle grey
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((sum(x) / 2, sum(y) / 2), abs=4)
    expect(page.locator("text.foreign-label")).to_contain_text("Lesion")
    page.keyboard.press("o")
    expect(page.get_by_test_id("viewport-0")).to_be_focused()
    for _ in range(foreign.OUTLINED - foreign.POINTED):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".outlines path.foreign.polygon")).to_have_count(1)
    expect(page.locator("text.foreign-label")).to_contain_text("Nodule · Diameter 98.25 mm")
    violations = Axe().run(page).response["violations"]
    assert violations == [], [(v["id"], v["nodes"][0]["html"]) for v in violations]

    # by the finder; and a presentation state's window only when asked for
    page.keyboard.press("Control+k")
    page.keyboard.type("other systems notes on")
    page.keyboard.press("Enter")
    page.keyboard.press("Home")
    for _ in range(foreign.POINTED):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".outlines path.foreign.line")).to_have_count(1)
    expect(page.locator("text.foreign-label", has_text="Look here")).to_have_count(1)
    expect(page.locator(".corner.window")).to_have_text("mediastinum · W 350 L 40")
    page.get_by_role("button", name="Use its window").click()
    centre, width = foreign.WINDOW
    expect(page.locator(".corner.window")).to_have_text(f"W {width} L {centre}")


def test_a_blinded_reader_is_not_told_that_there_is_any(
    stack: Stack, browser: Browser, page: Page, tmp_path: Path
) -> None:
    alice, before = stack.as_("alice"), studies(stack)
    waiting = {item["id"] for item in alice.get("/api/v1/worklist/")["items"]}
    files = breast_case(577, malignant=False, size=(256, 208)).write(tmp_path, truth=False)
    image = dcmread(files[0])
    image.ReferringPhysicianName = ""
    said = foreign.masks([image], image.pixel_array > 0)
    files.append(tmp_path / "masks.dcm")
    said.save_as(files[-1], enforce_file_format=True)
    send(stack, files)
    uid = arrived(stack, "MG", len(files), before)

    def offered() -> dict[str, Any] | None:
        return next((i for i in alice.get("/api/v1/worklist/")["items"] if i["id"] not in waiting), None)

    case = wait_for(offered, 180, "a case waits")
    opened(page, stack, f"/view/{uid}/")
    expect(page.get_by_test_id("layers").locator("button.layer")).to_have_count(1)
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    room = sign_in(context, stack, "alice")
    asked: list[str] = []
    room.on("request", lambda request: asked.append(request.url))
    opened(room, stack, case["url"])
    room.keyboard.press("o")
    expect(room.get_by_test_id("layers")).to_have_count(0)
    assert not [url for url in asked if "/layers/" in url]
    context.close()
    alice.post(f"/api/v1/assignments/{case['id']}/release/", {})

"""What the reading room's tests share: signing in, sending scans, opening them, measuring what is on the screen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page

from portal.demo.scans import stow
from tests.support import Stack, wait_for


def sign_in(context: BrowserContext, stack: Stack, name: str) -> Page:
    """A new page of a person who has just signed in."""
    page = context.new_page()
    page.goto(f"{stack.url}/accounts/login/")
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", stack.user(name)["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{stack.url}/")
    return page


def send(stack: Stack, files: list[Path]) -> None:
    stow(stack.info["dicomweb"], stack.user("dave")["token"], files)


def mammograms(stack: Stack, *scans: list[Path]) -> list[dict[str, Any]]:
    """Send scans; the first readings of mammograms that then wait for Alice, whatever else arrives meanwhile."""
    alice = stack.as_("alice")

    def waiting() -> dict[str, dict[str, Any]]:
        items = alice.get("/api/v1/worklist/")["items"]
        mine = [i for i in items if i["kind"] == "first" and i["programme"]["slug"] == "screening-mammography"]
        return {item["id"]: item for item in mine}

    before = waiting().keys()
    for files in scans:
        send(stack, files)

    def new() -> list[dict[str, Any]] | None:
        found = [item for key, item in waiting().items() if key not in before]
        return found if len(found) == len(scans) else None

    return wait_for(new, 180, f"{len(scans)} cases wait")


def arrived(stack: Stack, modality: str, images: int, seen: set[str]) -> str:
    """The UID under which a study of that many images was archived; `seen` are those that were there before."""
    sql = (
        "SELECT s.study_uid FROM archive_study s WHERE %s = ANY(s.modalities) AND s.state = 'settled' "
        "AND (SELECT count(*) FROM archive_instance i WHERE i.study_id = s.id) = %s ORDER BY s.id DESC"
    )

    def new() -> str | None:
        rows = [row["study_uid"] for row in stack.query(sql, modality, images)]
        return next((uid for uid in rows if uid not in seen), None)

    return wait_for(new, 120, f"a {modality} study of {images} images is archived")


def studies(stack: Stack) -> set[str]:
    return {row["study_uid"] for row in stack.query("SELECT study_uid FROM archive_study")}


def opened(page: Page, stack: Stack, path: str) -> None:
    page.goto(stack.url + path)
    ready(page)


def ready(page: Page) -> None:
    page.wait_for_selector("body[data-ready=true]", timeout=90_000)


def grey(page: Page, number: int) -> NDArray[np.float64]:
    """What a viewport shows, as grey levels 0 to 255 (height, width)."""
    picture = Image.open(io.BytesIO(page.get_by_test_id(f"viewport-{number}").screenshot()))
    return np.asarray(picture.convert("L"), float)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(*(a + (b - a) * step / 8 for a, b in zip(start, end, strict=True)))
    page.mouse.up()


def inside(page: Page, number: int, across: float, down: float) -> tuple[float, float]:
    """A point of a viewport, as parts of its width and height."""
    box: Any = page.get_by_test_id(f"viewport-{number}").bounding_box()
    return box["x"] + box["width"] * across, box["y"] + box["height"] * down

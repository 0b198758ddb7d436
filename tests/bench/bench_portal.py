"""Start-up (first and second), first image and four-view case in a cold browser; prints seconds, asserts none."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from inference.phantoms import breast_case, chest
from tests.conftest import chromium, start_portal
from tests.support import CHROMIUM_ARGS, Stack, wait_for

REPEATS = 3


def send(stack: Stack, files: list[Path]) -> None:
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*command, *map(str, files)], check=True)


def open_cold(browser: Browser, stack: Stack, study_uid: str) -> float:
    """Seconds from the click to all images drawn, with an empty cache."""
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = context.new_page()
    page.goto(f"{stack.url}/accounts/login/")
    page.fill("input[name=login]", "erin")
    page.fill("input[name=password]", stack.user("erin")["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{stack.url}/")
    began = time.perf_counter()
    page.goto(f"{stack.url}/view/{study_uid}/")
    page.wait_for_selector("body[data-ready=true]", timeout=120_000)
    taken = time.perf_counter() - began
    context.close()
    return taken


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    began = time.perf_counter()
    process, stack = start_portal(folder / "home")
    first = time.perf_counter() - began
    process.terminate()
    process.wait(60)
    (folder / "home" / "demo.json").unlink()
    began = time.perf_counter()
    process, stack = start_portal(folder / "home")
    second = time.perf_counter() - began
    print(f"start-up, empty home {first:.1f} s; second start {second:.1f} s (limit 5 s)")
    try:
        send(stack, chest(1, size=(2048, 2048)).write(folder / "chest"))
        send(stack, breast_case(1, size=(2048, 1664)).write(folder / "breast"))
        rows = "SELECT study_uid, instance_count n FROM archive_study WHERE state = 'settled'"

        def settled() -> list[dict[str, Any]] | None:
            found = stack.query(rows)
            return found if sorted(r["n"] for r in found) == [1, 4] else None

        studies = {r["n"]: r["study_uid"] for r in wait_for(settled, 120, "both scans are settled")}
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
            for name, uid in (("first image (2048², 8 MB)", studies[1]), ("four views (2048 × 1664)", studies[4])):
                times = [open_cold(browser, stack, uid) for _ in range(REPEATS)]
                print(f"{name}: median {statistics.median(times):.2f} s of {', '.join(f'{t:.2f}' for t in times)}")
            browser.close()
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()

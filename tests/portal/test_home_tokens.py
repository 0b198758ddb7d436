"""The palettes: text and states stay readable, both dark blocks are the same, no other file holds a colour."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

SITE = Path(__file__).resolve().parents[2] / "static" / "site"
TOKENS = (SITE / "tokens.css").read_text()
HEX = re.compile(r"#[0-9a-f]{3,8}\b", re.I)


def block(selector: str) -> dict[str, str]:
    """The colours that the rule with this selector sets."""
    body = TOKENS.split(selector, 1)[1].split("{", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", body))


LIGHT = block('[data-theme="light"]')
DARK = block('[data-theme="dark"]')
SYSTEM = block(':root:not([data-theme="light"])')
PAIRS = [
    *[(text, ground) for text in ("text", "muted", "accent") for ground in ("ground", "panel", "sunk", "hover")],
    *[(state, f"{state}-soft") for state in ("agreed", "differs", "waiting", "failed", "neutral")],
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("accent", "accent-soft"),
    ("text", "accent-soft"),
    ("muted", "accent-soft"),
]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_is_readable(palette: dict[str, str], text: str, ground: str) -> None:
    assert contrast(palette[text], palette[ground]) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    "mark", ["mark-mine", "mark-other", "mark-prior", "mark-model", "mark-foreign", "plot-1", "plot-2", "plot-3"]
)
def test_marks_and_plots_stand_out(palette: dict[str, str], mark: str) -> None:
    assert contrast(palette[mark], palette["panel"]) >= 3


# linear RGB as people without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1)
SIGHT = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
AT_A_GLANCE = 10  # CIEDE2000


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("mark", ["mark-mine", "mark-other", "mark-prior", "mark-model"])
def test_marks_of_other_systems_are_taken_for_no_others(mark: str, sight: str) -> None:
    def seen(colour: str) -> np.ndarray:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        linear = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
        return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))

    assert deltaE_ciede2000(seen(DARK["mark-foreign"]), seen(DARK[mark])) >= AT_A_GLANCE


def test_the_system_dark_theme_is_the_chosen_one() -> None:
    assert SYSTEM == DARK


@pytest.mark.parametrize("name", sorted(p.name for p in SITE.glob("*.css") if p.name != "tokens.css"))
def test_only_the_tokens_hold_colours_and_sizes(name: str) -> None:
    rules = [line for line in (SITE / name).read_text().splitlines() if "@media" not in line]
    assert [line for line in rules if HEX.search(line) or re.search(r"\brgb|\b\d+px\b|\b\d+m?s\b", line)] == []

"""Prepared inputs as bytes: the same network input without the image, and never a damaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.preprocess import Damaged, Preparation, ViewHint, pack, prepare, unpack

WHOLE, BREAST = Preparation("whole", (64, 64)), Preparation("breast", (128, 96))


def test_the_way_there_and_back(chest_file: Path, case_files: list[Path]) -> None:
    for preparation, path in ((WHOLE, chest_file), *((BREAST, path) for path in case_files)):
        made = preparation.read(path)
        kept = pack(made)
        again = unpack(kept)
        # half a step of 1/65535, and what float32 is short of
        assert np.abs(again.prepared.pixels - made.prepared.pixels).max() <= 7.7e-6
        assert again.prepared.pixels.dtype == np.float32 and again.prepared.pixels.shape == preparation.size
        assert again.prepared.geometry == made.prepared.geometry and again.shape == made.shape
        assert again.prepared.warnings == made.prepared.warnings
        assert again.prepared.chest_wall == made.prepared.chest_wall
        for name in ("sop_instance_uid", "study_instance_uid", "laterality", "view", "spacing_mm", "warnings", "rows"):
            assert getattr(again.source, name) == getattr(made.source, name), name
        assert len(kept) < 2 * preparation.size[0] * preparation.size[1] + 4096
        assert pack(again) == kept  # rounding twice is rounding once
    assert again.hinted(ViewHint("L", "ML")).source.view == "ML" and again.hinted(None) == again


@pytest.fixture(scope="module")
def kept(chest_file: Path) -> bytes:
    return pack(WHOLE.read(chest_file))


@given(st.data())
@settings(max_examples=150)
def test_damage_is_noticed(kept: bytes, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        spoilt = kept[: data.draw(st.integers(0, len(kept) - 1))]
    else:
        at = data.draw(st.integers(0, len(kept) - 1))
        spoilt = kept[:at] + bytes([kept[at] ^ (1 << data.draw(st.integers(0, 7)))]) + kept[at + 1 :]
    try:
        read = unpack(spoilt)
    except Damaged:
        return
    assert pack(read) == kept  # a space of the file's own header may differ, what it says may not


def test_the_name_tells_content_preparation_and_code_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        WHOLE.key("a" * 64),
        WHOLE.key("b" * 64),
        BREAST.key("a" * 64),
        Preparation("whole", (128, 64)).key("a" * 64),
    }
    monkeypatch.setattr(prepare, "code", lambda: "another")
    assert len(names) == 4 and WHOLE.key("a" * 64) not in names

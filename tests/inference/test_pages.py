"""Pages say what their code prints, and show the pictures that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.explain.page import main, rewritten, run

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "engineers" / "one-scan-through-the-network.md"


def test_one_scan_through_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the pictures are saved here, not over the page's
    text = PAGE.read_text()
    steps = run(text, str(PAGE))
    assert len(steps) >= 9
    for step in steps:
        assert step.prints == step.says, f"{PAGE.name}:{step.line}"
    made = sorted((tmp_path / "docs" / "img").iterdir())
    assert [path.name for path in made] == ["one-scan-effusion.png", "one-scan-rows.png", "one-scan-table.png"]
    for path in made:
        assert f"(../img/{path.name})" in text
        new, shown = (np.asarray(Image.open(p)).astype(int) for p in (path, DOCS / "img" / path.name))
        assert new.shape == shown.shape
        assert (np.abs(new - shown).max(axis=2) > 8).mean() < 0.002, path.name  # other processors round otherwise


def test_a_page_that_says_something_else_is_found_and_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\nx = 2\nprint(x)\n```\n\n```text\n3\n```\n\n```python\nassert x == 2\n```\n")
    assert main([str(page)]) == 1
    assert f"{page}:3: prints\n2\nand not\n3" in capsys.readouterr().err
    assert main([str(page), "--write"]) == 0 and main([str(page)]) == 0
    assert "```text\n2\n```" in page.read_text()
    text = page.read_text()
    assert rewritten(text, run(text)) == text


def test_errors_and_lost_outputs_are_named() -> None:
    with pytest.raises(ValueError, match="the block at line 1 prints"):
        run("```python\nprint(1)\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run("text\n\n```python\n\n1 / 0\n```\n", "the-page.md")
    assert (Path(caught.traceback[-1].path).name, caught.traceback[-1].lineno + 1) == ("the-page.md", 5)

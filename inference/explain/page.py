"""Pages whose code runs: `python -m inference.explain.page PAGE [--write]`.

The ```python blocks of a Markdown page run one after the other with one memory; the ```text block after one is what it
prints. Without --write the page is checked; with it, outputs are replaced by what is printed now, and the pictures that
blocks save are where they are saved, relative to the working folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One ```python block, what the page says it prints and what it printed; `span` of the ```text block's content."""

    code: str
    line: int
    says: str
    prints: str
    span: tuple[int, int] | None


def run(text: str, name: str = "page") -> list[Step]:
    """Run the page's blocks in order. An error in a block is raised with the page's line in its traceback.

    ValueError for a block that prints without a ```text block after it.
    """
    memory: dict[str, Any] = {"__name__": "page"}
    blocks, steps = list(BLOCK.finditer(text)), []
    for index, block in enumerate(blocks):
        if block[1] != "python":
            continue
        line = text.count("\n", 0, block.start(2))
        after = blocks[index + 1] if index + 1 < len(blocks) and blocks[index + 1][1] == "text" else None
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile("\n" * line + block[2], name, "exec"), memory)
        if after is None and said.getvalue():
            raise ValueError(f"{name}: the block at line {line} prints, but no text block follows")
        steps.append(Step(block[2], line, after[2] if after else "", said.getvalue(), after.span(2) if after else None))
    return steps


def rewritten(text: str, steps: Sequence[Step]) -> str:
    """The page with every output replaced by what was printed."""
    for step in reversed(steps):
        if step.span:
            text = text[: step.span[0]] + step.prints + text[step.span[1] :]
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or rewrite a page; 1 when it says something else than its code."""
    parser = argparse.ArgumentParser(prog="python -m inference.explain.page", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true", help="put what is printed now into the page")
    args = parser.parse_args(arguments)
    text = args.page.read_text(encoding="utf-8")
    steps = run(text, str(args.page))
    if args.write:
        args.page.write_text(rewritten(text, steps), encoding="utf-8")
        return 0
    wrong = [step for step in steps if step.says != step.prints]
    for step in wrong:
        print(f"{args.page}:{step.line}: prints\n{step.prints}and not\n{step.says}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

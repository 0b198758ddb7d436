"""PDF, read by PDFium in a process of its own: a hostile file may loop or grow without end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from portal.ingest.inspect import Damaged

PAGES = 20  # that are drawn; of a longer document none is: a report that ends in the middle says something else
SECONDS = 60
BROKEN = "\ufffe"  # in place of a hyphen at the end of a line and of the line's end: PDFium takes the word for one


def text(raw: bytes, longest: int) -> str:
    """The characters of a PDF, page after page, up to about `longest` and a word broken over two lines joined.

    Raises Damaged for what cannot be read, in a minute and in 1 GiB.
    """
    return _run(_READER, raw, longest + 1).decode("utf-8", "replace").replace(BROKEN, "")


def pages(raw: bytes) -> Iterator[NDArray[np.uint8]]:
    """Grey pictures (rows, columns) of 200 dots an inch.

    Raises Damaged for what cannot be drawn, in a minute and in 1 GiB, and for more than 20 pages.
    """
    drawn, at = _run(_PAINTER, raw, PAGES), 0
    while at < len(drawn):
        height, width = np.frombuffer(drawn, "<u4", 2, at).tolist()
        at += 8
        yield np.frombuffer(drawn, np.uint8, height * width, at).reshape(height, width)
        at += height * width


def _run(script: str, raw: bytes, limit: int) -> bytes:
    """What a script writes that was given a PDF."""
    command = [sys.executable, "-I", "-c", _OPEN + script, str(limit)]
    try:
        done = subprocess.run(command, input=raw, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Damaged("document_not_read", f"Reading it took more than {SECONDS} seconds.") from None
    if done.returncode == 3:
        raise Damaged("document_not_read", f"It is scanned and has more than {limit} pages.")
    if done.returncode:
        raise Damaged("document_not_read", "The PDF is damaged, encrypted or too large.")
    return done.stdout


_OPEN = """
import resource, struct, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
import pypdfium2
found = pypdfium2.PdfDocument(sys.stdin.buffer.read())
out, limit = sys.stdout.buffer, int(sys.argv[1])
"""
_READER = """
for page in found:
    text = page.get_textpage().get_text_range()[:limit]
    limit -= len(text) + 1
    out.write(text.encode("utf-8", "replace") + b"\\n")
    if limit <= 0:
        break
"""
_PAINTER = """
if len(found) > limit:
    sys.exit(3)
for page in found:
    scale = min(200 / 72, 3300 / max(page.get_size()))
    drawn = page.render(scale=scale, grayscale=True)
    out.write(struct.pack("<II", drawn.height, drawn.width))
    rows = memoryview(drawn.buffer).cast("B")
    for row in range(drawn.height):
        out.write(rows[row * drawn.stride : row * drawn.stride + drawn.width])
"""

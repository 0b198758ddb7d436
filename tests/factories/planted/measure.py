"""Count what was found of what was planted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.factories.planted.texts import Planted

WORD = re.compile(r"\w+")


@dataclass
class Tally:
    """Planted and found by place or kind, spans that were right, words that stay and stayed."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    marked: int = 0
    right: int = 0
    words: int = 0
    kept: int = 0
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    def text(self, planted: Planted, spans: Iterable[tuple[int, int, str]]) -> None:
        """Count one text; a plant is found when none of its letters and digits is left."""
        covered = bytearray(len(planted.text))
        spans = list(spans)
        for start, end, _ in spans:
            covered[start:end] = b"\1" * (end - start)
        secret = bytearray(len(planted.text))
        for start, end, kind in planted.spans:
            secret[start:end] = b"\1" * (end - start)
            self.planted[kind] += 1
            left = [planted.text[i] for i in range(start, end) if planted.text[i].isalnum() and not covered[i]]
            if left and not _harmless(planted.text, start, end, covered):
                self.missed.append((kind, planted.text[start:end], _around(planted.text, start, end)))
            else:
                self.found[kind] += 1
        for start, end, rule in spans:
            self.marked += 1
            if any(secret[start:end]):
                self.right += 1
            else:
                self.wrong.append((rule, planted.text[start:end], _around(planted.text, start, end)))
        for m in WORD.finditer(planted.text):
            if not any(secret[m.start() : m.end()]):
                self.words += 1
                self.kept += not any(covered[m.start() : m.end()])


def _harmless(text: str, start: int, end: int, covered: bytearray) -> bool:
    """Whether what is left names no one: "the" of a date, "of" of a hospital, a street's "Apt"."""
    left = "".join(text[i] if not covered[i] else " " for i in range(start, end))
    return not [w for w in re.findall(r"\w+", left) if w.lower() not in {"the", "of", "and", "at", "s", "st", "ext"}]


def _around(text: str, start: int, end: int) -> str:
    return text[max(0, start - 30) : start] + "[" + text[start:end] + "]" + text[end : end + 30]


def wilson(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score (1927)."""
    if not total:
        return 0.0, 1.0
    p = hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - half), min(1.0, middle + half)

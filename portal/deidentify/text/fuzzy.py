"""Compare words that may be misspelt by one letter or misread by OCR."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

# Signs that OCR takes for one another; each class gets one sign.
_CONFUSED = str.maketrans(
    {
        "0": "o", "q": "o", "1": "l", "i": "l", "|": "l", "!": "l", "j": "l", "5": "s", "$": "s",
        "8": "b", "2": "z", "6": "g", "9": "g", "4": "a", "7": "t", "v": "u", "y": "u",
    }
)  # fmt: skip
_PAIRS = (("rn", "m"), ("nn", "m"), ("vv", "w"), ("uu", "w"), ("cl", "d"), ("ii", "u"), ("ll", "u"))
FUZZY_LENGTH = 5  # shorter words have too many neighbours one letter away


def ocr_form(word: str) -> str:
    """The word with everything that OCR confuses made one: "O'Br1en" and "o'brlen" are the same."""
    text = re.sub(r"[^\w|!$]", "", word.casefold())
    for pair, single in _PAIRS[:4]:
        text = text.replace(pair, single)
    text = text.translate(_CONFUSED)
    for pair, single in _PAIRS[4:]:
        text = text.replace(pair, single)
    return text


def deletions(word: str) -> Iterator[str]:
    """The word and each form of it that lacks one letter."""
    yield word
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]


def within_one(one: str, other: str) -> bool:
    """Whether one insertion, deletion, substitution or swap of neighbours leads from one word to the other."""
    if one == other:
        return True
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    i = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[i:] == other[i + 1 :]
    swapped = one[i + 1 : i + 2] == other[i : i + 1] and one[i : i + 1] == other[i + 1 : i + 2]
    return one[i + 1 :] == other[i + 1 :] or (swapped and one[i + 2 :] == other[i + 2 :])


class Near:
    """Finds words of a set that are the same, one edit away, or the same to OCR (symmetric deletion)."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)
        self._short: defaultdict[str, set[str]] = defaultdict(set)
        self._ocr: dict[str, str] = {}
        for word in self.words:
            if len(word) >= FUZZY_LENGTH:
                for form in deletions(word):
                    self._short[form].add(word)
            if len(word) >= 3:
                self._ocr[ocr_form(word)] = word

    def find(self, word: str) -> tuple[str, float] | None:
        """(word of the set, certainty) for a word in normal form; None when nothing is near.

        Certainty 1.0 for the word itself, 0.85 for one edit, 0.75 for what only OCR confuses.
        """
        if word in self.words:
            return word, 1.0
        if len(word) >= FUZZY_LENGTH - 1:
            found = {w for form in deletions(word) for w in self._short.get(form, ())}
            if near := sorted(w for w in found if within_one(w, word)):
                return near[0], 0.85
        return None

    def find_misread(self, word: str) -> tuple[str, float] | None:
        """As `find`, for a word that OCR read."""
        if found := self.find(word):
            return found
        form = ocr_form(word)
        if len(form) >= 3 and (other := self._ocr.get(form)):
            return other, 0.75
        if len(form) >= FUZZY_LENGTH + 1:
            for shorter, other in self._ocr.items():
                if len(shorter) > FUZZY_LENGTH and within_one(shorter, form):
                    return other, 0.7
        return None

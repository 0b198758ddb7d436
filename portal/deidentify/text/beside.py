"""What a name leaves beside it: particles between its parts, and words that nobody knows next to a name."""

from __future__ import annotations

import re

from portal.deidentify.text.lists import Span
from portal.deidentify.text.names import MODALS, PARTICLES, announced
from portal.deidentify.text.words import WORD, known_words

PERSONS = frozenset({"name", "doctor"})
SURE = 0.65  # a name that is less certain does not grow
_APART = re.compile(r"\.?[ \t]+|-")
_BEFORE = PARTICLES & frozenset("van von der den de di del della dos das bin ibn ben ter ten".split())  # noqa: SIM905
_ENDS = re.compile(r"\s*(?:[.,;)\n]|$)")


def grown(text: str, spans: list[Span], flat: bool) -> list[Span]:
    """Names with what belongs to them.

    text, spans from left to right without overlap, as `finder.settle` gives them; flat whether case says nothing.
    Returns the same spans; those of names may be longer, and lie over no other.
    """
    tokens = list(WORD.finditer(text))
    out: list[Span] = []
    for at, span in enumerate(spans):
        if span.kind not in PERSONS or span.certainty < SURE:
            out.append(span)
            continue
        low = out[-1].end if out else 0
        high = spans[at + 1].start if at + 1 < len(spans) else len(text)
        person_next = at + 1 < len(spans) and spans[at + 1].kind in PERSONS
        start = _left(text, [t for t in tokens if low <= t.start() and t.end() <= span.start][-2:], span.start, flat)
        end = _right(text, [t for t in tokens if span.end <= t.start() and t.end() <= high], span.end, flat)
        if person_next and (bridge := _bridge(text, tokens, end, high, flat)):
            end = bridge
        out.append(Span(start, end, span.kind, span.certainty, span.rule))
    return out


def _left(text: str, before: list[re.Match[str]], start: int, flat: bool) -> int:
    """Where a name begins with the initials, the strange words, or the one that a title or a relation announces."""
    for token in reversed(before):
        gap = text[token.end() : start]
        if len(token[0]) == 1 and re.fullmatch(r"\.[ \t]?", gap) and text[: token.start()][-1:].strip(".( \t\n") == "":
            start = token.start()
            continue
        if not _APART.fullmatch(gap):
            break
        if token[0].lower() in _BEFORE:
            start = token.start()
            continue
        if not (_strange(token[0], flat) or (_nameable(token[0], flat) and announced(text, token.start()))):
            break
        start = token.start()
    return start


def _right(text: str, after: list[re.Match[str]], end: int, flat: bool) -> int:
    for token in after[:2]:
        if not re.fullmatch(r"[ \t]|-", text[end : token.start()]):
            break
        last = token[0][0].isupper() and _surname(token[0], flat) and (not flat or _ENDS.match(text, token.end()))
        if not last and not _strange(token[0], flat):
            break
        end = token.end()
    return end


def _bridge(text: str, tokens: list[re.Match[str]], end: int, high: int, flat: bool) -> int | None:
    """Where a name ends that was found in two parts, with particles or one word with a capital between; or None."""
    between = [t for t in tokens if end <= t.start() and t.end() <= high]
    middle = len(between) == 1 and not flat and between[0][0].istitle()
    if not 1 <= len(between) <= 2 or not (middle or all(t[0].lower() in PARTICLES for t in between)):
        return None
    gaps = [end, *(x for t in between for x in t.span()), high]
    apart = all(_APART.fullmatch(text[a:b]) for a, b in zip(gaps[::2], gaps[1::2], strict=True))
    return between[-1].end() if apart else None


def _nameable(word: str, flat: bool) -> bool:
    return len(word) > 2 and (flat or word[0].isupper()) and word.lower() not in known_words().function


def _surname(word: str, flat: bool) -> bool:
    """Whether a word of the language is a surname too, where one stands: "Corey May", "Next of kin: Ann Day"."""
    words, low = known_words(), word.lower()
    if flat or word.isupper():
        return low in MODALS
    return low in MODALS or (words.name(low) and low not in words.medical | words.function)


def _strange(word: str, flat: bool) -> bool:
    """Whether a word is none of the language, of medicine or of anatomy, and written as a name is."""
    words, low = known_words(), word.lower().replace("’", "'").removesuffix("'s")
    return _nameable(word, flat) and not words.listed(low) and low not in words.eponyms and (flat or not word.isupper())

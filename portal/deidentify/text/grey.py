"""Whether a person's name stands as a term: "Parkinson's disease", "Paget disease of bone", "brown fat"."""

from __future__ import annotations

import re

from portal.deidentify.text.words import WORD, known_words

TITLE = re.compile(
    r"\b(?:mr|mrs|ms|miss|mx|dr|drs|prof|professor|doctor|sir|dame|madam|rev|nurse|sister|herr|frau|mme|mlle)\b\.?\s*$",
    re.IGNORECASE,
)
NOT_A_NAME_BEFORE = frozenset(
    """
    known history possible probable suspected of with and or for has had severe advanced early late a an the no non
    positive negative bilateral left right type classic classical recurrent treated hx by status rule out versus have
    having question suggest suggesting suggests consistent likely chronic acute mild moderate small large multiple
    several progressive stage new old previous prior familial juvenile primary secondary
    """.split()  # noqa: SIM905
)


def neighbours(text: str, start: int, end: int) -> tuple[str, str, str]:
    """The word before and the two behind, in lower case, "" where a sentence begins or ends."""
    before = WORD.findall(re.split(r"[.;:\n](?=\s|$)", text[max(0, start - 40) : start])[-1])
    rest = re.split(r"[.;:\n](?=\s|$)", text[end : end + 50])[0]
    after = WORD.findall(rest)
    return (
        before[-1].lower() if before else "",
        after[0].lower() if after else "",
        after[1].lower() if len(after) > 1 else "",
    )


def is_term(text: str, start: int, end: int, listed: bool = False) -> bool:
    """Whether the word text[start:end] is a term where it stands.

    listed  this scan's black list has the word as an identifier: then only a clear term counts
    """
    words = known_words()
    word = text[start:end].replace("’", "'")
    lower = word.lower()
    bare = lower.removesuffix("'s").removesuffix("'")
    if TITLE.search(text[max(0, start - 12) : start]):
        return False
    before, after, second = neighbours(text, start, end)
    person_before = bool(before) and words.name(before) and before not in NOT_A_NAME_BEFORE and not words.word(before)
    if person_before and text[max(0, start - 1) : start] != "-" and before not in words.eponyms:
        return False
    eponym = bare in words.eponyms or bare.rstrip("s") in words.eponyms
    heads = words.eponym_heads
    if eponym and (after in heads or (second in heads and (after in words.eponyms or words.stays(after)))):
        return True
    if eponym and text[end : end + 1] == "-" and after in words.eponyms:
        return True
    if eponym and text[max(0, start - 1) : start] in {"-", "–"} and before in words.eponyms:
        return True
    if lower.endswith("'s") and (after in heads):
        return True
    if listed:
        # a lower-case word of a mixed text is the word, not the name: "brown fat", "young patient"
        return word.islower() and words.word(bare) and any(c.isupper() for c in text) and not _labelled(text, start)
    return False


def _labelled(text: str, start: int) -> bool:
    return bool(re.search(r"(?:name|patient|pt)\s*[:=]\s*$", text[max(0, start - 16) : start], re.IGNORECASE))

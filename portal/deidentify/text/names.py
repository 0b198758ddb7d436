"""Find people's names that no list knows, by titles, labels, order, and by not being words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from portal.deidentify.text.fuzzy import Near
from portal.deidentify.text.grey import is_term
from portal.deidentify.text.lists import Span
from portal.deidentify.text.words import WORD, known_words

_TITLES = (
    r"(?P<doctor>dr|drs|prof|professor|doctor|nurse|sister|surgeon)|mr|mrs|ms|miss|mx|sir|dame|madam|rev|herr|"
    r"frau|mme|mlle|señora?"
)
_TITLE = re.compile(rf"\b(?:{_TITLES})\b\.?\s+(?=[\w'’])", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r",?\s*\b(?:M\.\s?D\.|MD|D\.\s?O\.|Ph\.?\s?D\.?|R\.?N\.?|MBBS|MBChB|FRCR|FACR|FRCP|NP|PA-C|RT\(R\)|R\.?T\.?|DDS|"
    r"DPM|FNP|ARNP|CNP|MRCP)(?![\w-])"
)
_LOWER_CREDENTIALS = re.compile(r",\s*(?:m\.\s?d\.|md|d\.\s?o\.|ph\.?\s?d\.?|r\.?n\.?|mbbs|frcr|facr|frcp)(?![\w-])")
_BY = (
    r"(?:electronically\s+)?(?:dictated|signed|read|interpreted|reviewed|performed|ordered|requested|transcribed|"
    r"verified|approved|referred|"
    r"reported|finali[sz]ed|authenticated|completed|prepared|scanned|supervised|obtained|examined|seen|evaluated|"
    r"entered|typed|attended|called)"
    r"\s+(?:in\s+by|by|and\s+(?:signed|dictated|interpreted|reviewed)\s+by)"
)
_TO = (
    r"(?:discussed|communicated|reviewed|shared|spoke|spoken|conveyed|relayed|telephoned|phoned|called|reported|"
    r"paged|given|notified|informed|"
    r"transmitted|faxed|sent|forwarded|conferred|consulted|results)\s+(?:\w+\s+){0,3}?(?:with|to)|notified|informed|"
    r"paged"
)
_ROLES = (
    r"(?:referring|attending|ordering|requesting|interpreting|reading|primary(?:\s+care)?|treating|performing|"
    r"consulting|admitting|family|dictating|signing)"
    r"\s+(?:physician|doctor|radiologist|provider|clinician|surgeon|md)(?:'s)?(?:\s+name)?|radiologist|technologist|"
    r"technician|tech|radiographer|"
    r"physician|transcriptionist|resident|fellow|operator|sonographer|referrer|attn|cc|pcp|gp|consultant|oncologist|"
    r"cardiologist|surgeon|attending|"
    r"dictated|transcribed|signed|interpreter|operator|performing|reviewer"
)
_PATIENT = (
    r"patient(?:'s)?(?:\s+(?:name|named|is|known\s+as))?|pt(?:\s+name)?|(?:full|last|first|maiden|middle|family|"
    r"given|sur)\s*name|surname|name|"
    r"re|subject|formerly|née|nee|aka|a\.k\.a\.|known\s+as|named|(?:his|her|the\s+patient's|by|patient's)\s+(?:wife|"
    r"husband|daughter|son|mother|father|sister|"
    r"brother|spouse|partner|niece|nephew|aunt|uncle|grandson|granddaughter|guardian)|next\s+of\s+kin|"
    r"emergency\s+contact|contact|wife|husband|daughter|"
    r"son|mother|father|sister|brother|spouse|guardian|guarantor|accompanied\s+by|dear|sincerely|regards"
)
_LABEL = re.compile(rf"\b(?:(?P<doctor>{_ROLES}|{_BY})|(?:{_PATIENT}))\s*(?P<colon>[:=])\s*(?=\S)", re.IGNORECASE)
_CUE = re.compile(rf"\b(?:(?P<doctor>{_BY}|{_TO}|{_ROLES})|(?:{_PATIENT}))[,]?\s+(?=[\w'’])", re.IGNORECASE)
PARTICLES = frozenset(
    """
    van von der den de di da del della die la le los las du dos das al el bin ibn ben ter ten t zu y st san o mc mac
    """.split()  # noqa: SIM905
)
MODALS = frozenset({"may", "will", "grant", "mark", "day", "case"})  # small words that are surnames too
_CARET = re.compile(r"[\w'’.,-]+(?: [\w'’.-]+){0,2}(?:\^+[\w'’.-]*(?: [\w'’.-]+)?){1,4}")
_COMMA = re.compile(r"(?<![\w.])([^\W\d_][\w'’-]+),\s?([^\W\d_][\w'’-]*)(?:\s([^\W\d_])\b\.?)?(?!\w)")
_INITIALS_FIRST = re.compile(
    r"(?<![\w.])(?:[A-Z]\.\s?){1,3}(?:(?:van|von|de|der|la|di)\s)?([A-Z][\w'’-]+)|"
    r"(?<![\w.])([A-Z]{1,2})\s([A-Z][a-z][\w'’-]+)"
)
_TYPIST = re.compile(r"(?:^|\s)[A-Z]{2,3}\s?[/:]\s?[A-Za-z]{2,3}\s*$")


def announced(text: str, at: int) -> bool:
    """Whether a title, a label or a relation ("his wife") stands directly before a place."""
    cues = (m for cue in (_TITLE, _CUE) for m in cue.finditer(text, max(0, at - 60), at + 1))
    return any(m.end() == at and not _modality(text, m) for m in cues)


def _modality(text: str, title: re.Match[str]) -> bool:
    """Whether "MR" or "MS" means magnetic resonance or a disease: no point behind it, a word of medicine next."""
    after = WORD.match(text, title.end())
    shown = title[0].strip().lower()
    return shown in {"mr", "ms"} and after is not None and after[0].lower() in known_words().medical


def by_neighbours(text: str, field: str, upper: bool) -> Iterator[Span]:
    """Names that titles, labels, credentials, order or strangeness give away, possibly over one another."""
    tokens = list(WORD.finditer(text))
    if not tokens:
        return
    starts = {m.start(): i for i, m in enumerate(tokens)}
    shape = _Shape(text, tokens, upper, field)
    for m in _TITLE.finditer(text):
        if _modality(text, m):
            continue
        if (span := shape.run(m.end(), starts, strong=True)) is not None:
            yield Span(*span, "doctor" if m["doctor"] else "name", 0.95, "title")
    for m in _LABEL.finditer(text):
        if (span := shape.run(m.end(), starts, strong=True)) is not None:
            yield Span(*span, "doctor" if m["doctor"] else "name", 0.9, "label")
    for m in _CUE.finditer(text):
        if (span := shape.run(m.end(), starts, strong=False)) is not None:
            yield Span(*span, "doctor" if m["doctor"] else "name", 0.85, "cue")
    for m in (_LOWER_CREDENTIALS if shape.lower else _CREDENTIALS).finditer(text):
        if (span := shape.back(m.start())) is not None:
            yield Span(*span, "doctor", 0.95, "credentials")
    for m in _CARET.finditer(text) if "^" in text else ():
        if "^" in m[0].strip("^"):
            yield Span(m.start(), m.end(), "name", 0.95, "caret")
    yield from shape.ordered()
    yield from shape.strange()


class _Shape:
    """The words of one text, with what their case can tell."""

    def __init__(self, text: str, tokens: list[re.Match[str]], upper: bool, field: str) -> None:
        self.text, self.tokens, self.field = text, tokens, field
        self.words = known_words()
        self.lower = text.lower() == text
        self.flat = upper or self.lower  # case says nothing
        self.titled = not self.flat and self._titled()

    def _titled(self) -> bool:
        long = [m[0] for m in self.tokens if len(m[0]) > 3]
        return len(long) > 2 and sum(w[0].isupper() for w in long) / len(long) > 0.7

    def _nameable(self, i: int, strong: bool, follows: bool = False) -> bool:
        """Whether the i-th word may belong to a name that has been announced.

        strong   by a title or a label, so that any word may be the name
        follows  another part of the name stands before
        """
        word = self.tokens[i][0]
        low = word.lower().replace("’", "'").removesuffix("'s")
        shown = word[0].isupper() and not self.flat
        if low in self.words.function and not (low in MODALS and shown and (strong or follows)):
            return False
        if self.flat:
            medical = low in self.words.medical and low not in self.words.given
            return strong or (not medical and (self.words.name(low) or not self.words.word(low)))
        if not shown:
            return False
        if low in self.words.medical:
            return strong or self.words.name(low)
        return strong or follows or self.words.name(low) or not self.words.word(low)

    def run(self, at: int, starts: dict[int, int], strong: bool) -> tuple[int, int] | None:
        """The name that begins at a place: up to five words, initials and particles among them."""
        i = starts.get(at)
        if i is None:
            return None
        m = _TITLE.match(self.text, at)
        if m and (i := starts.get(m.end())) is None:
            return None
        first, last, count = i, None, 0
        while i < len(self.tokens) and i - first < 6:
            token = self.tokens[i]
            gap = self.text[self.tokens[i - 1].end() : token.start()] if i > first else ""
            if i > first and not re.fullmatch(r"\.?[ \t]+['’]?|-|, ?|\.|\^+", gap):
                break
            if gap.startswith(".") and len(self.tokens[i - 1][0]) > 2:
                break
            if "," in gap and (count != 1 or (strong is False and not self.words.name(token[0].lower()))):
                break
            low = token[0].lower()
            chain = last is not None or i == first or len(self.tokens[i - 1][0]) == 1
            if len(low) == 1 and (token[0].isupper() or self.lower) and chain:
                bare = last is not None and self.text[token.end() : token.end() + 1] != "."
                if self.lower and bare and (i + 1 == len(self.tokens) or not self._follows(i + 1)):
                    break
                if i > first:  # "A.S." alone is a name
                    last, count = i, max(count, 1)
                i += 1
                continue
            if low in PARTICLES and i + 1 < len(self.tokens) and (count or self._follows(i + 1, strong)):
                i += 1
                continue
            held = i > first and token[0][0].isupper() and not self.flat and self._holds(i, gap, strong or count > 0)
            if not held and not self._nameable(i, strong and not (self.flat and count), count > 0):
                break
            last, count = i, count + 1
            i += 1
        if last is None or count == 0:
            return None
        end = self.tokens[last].end()
        if len(self.tokens[last][0]) == 1 and self.text[end : end + 1] == ".":
            end += 1
        if count == 1 and is_term(self.text, self.tokens[last].start(), end):
            return None
        return self.tokens[first].start(), end

    def _holds(self, i: int, gap: str, named: bool) -> bool:
        """Whether a particle or an initial with its dot announces that the i-th word is a surname, whatever else it is.

        named   a title or a part of the name stands before: then it may even be a word of medicine
        """
        before, low = self.tokens[i - 1][0], self.tokens[i][0].lower()
        if before.lower() in PARTICLES:
            return True
        initial = len(before) == 1 and before.isupper() and gap.startswith(".")
        return initial and low not in self.words.function - MODALS and (named or low not in self.words.medical)

    def _follows(self, i: int, strong: bool = False) -> bool:
        """Whether the i-th word can stand behind a middle initial or a particle."""
        return self.tokens[i][0].lower() in PARTICLES or self._nameable(i, strong)

    def back(self, at: int) -> tuple[int, int] | None:
        """The name that ends before a place: capitalised words and initials."""
        last = next((i for i in range(len(self.tokens) - 1, -1, -1) if self.tokens[i].end() <= at), None)
        if last is None or self.text[self.tokens[last].end() : at].strip(" .,"):
            return None
        first, i = None, last
        while i >= 0 and last - i < 5:
            token = self.tokens[i]
            gap = self.text[token.end() : self.tokens[i + 1].start()] if i < last else " "
            if i < last and (
                not re.fullmatch(r"\.?[ \t]+|-|, ?|\.", gap) or (gap.startswith(".") and len(token[0]) > 2)
            ):
                break
            low = token[0].lower()
            if len(low) == 1 or low in PARTICLES or self._nameable(i, strong=i == last or not self.flat):
                first = i if len(low) > 1 or i < last else first
                i -= 1
                continue
            break
        return None if first is None else (self.tokens[first].start(), self.tokens[last].end())

    def _begins(self, i: int) -> bool:
        """Whether the i-th word begins a sentence, a line or a list's item."""
        before = self.text[: self.tokens[i].start()].rstrip(" \t\"'(*-•")
        return not before or before[-1] in ".:;!?\n/" or bool(re.search(r"(?:^|[\n.])\s*\d{1,2}[.)]?$", before))

    def _person(self, i: int) -> bool:
        """Whether the i-th word looks like part of a name by itself."""
        low = self.tokens[i][0].lower().replace("’", "'").removesuffix("'s")
        return (
            len(low) > 1 and self.words.name(low) and low not in self.words.medical and low not in self.words.function
        )

    def _odd(self, i: int) -> bool:
        """Whether the i-th word is no word of the language or of medicine."""
        low = self.tokens[i][0].lower().replace("’", "'").removesuffix("'s")
        return len(low) > 2 and not self.words.word(low) and low not in self.words.eponyms

    def ordered(self) -> Iterator[Span]:
        """First and last name in either order, and initials with a name."""
        text, words = self.text, self.words
        for m in _COMMA.finditer(text):
            one, two = m[1].lower(), m[2].lower()
            shown = self.flat or (m[1][0].isupper() and m[2][0].isupper())
            both = all(words.name(w) or not words.word(w) for w in (one, two) if len(w) > 1)
            sure = any(not words.word(w) for w in (one, two) if len(w) > 2) or (two in words.given and not self.flat)
            if (
                shown
                and both
                and sure
                and not {one, two} & words.function
                and one not in words.medical
                and two not in words.medical
                and len(one) > 1
                and (len(two) > 2 or (len(two) == 2 and two in words.surnames | words.given))
            ):
                yield Span(m.start(), m.end(), "name", 0.8, "last, first")
        for m in _INITIALS_FIRST.finditer(text):
            name = (m[1] or m[3]).lower().removesuffix("'s")
            if m[2] and (m[2].lower() in words.medical or self.flat or words.word(name)):
                continue
            if (
                (words.name(name) or not words.word(name))
                and name not in words.medical
                and not is_term(text, m.start(1) if m[1] else m.start(3), m.end())
            ):
                yield Span(m.start(), m.end(), "name", 0.8, "initials and name")
        for i in range(len(self.tokens) - 1):
            a, b = self.tokens[i], self.tokens[i + 1]
            j = i + 1
            between = text[a.end() : b.start()]
            if (
                len(b[0]) == 1
                and j + 1 < len(self.tokens)
                and b[0].isupper()
                and re.fullmatch(r"\.?\s", text[b.end() : self.tokens[j + 1].start()])
            ):
                b, j = self.tokens[j + 1], j + 1
            if not re.fullmatch(r"[ \t]|-", between) or not (self._person(i) or self._person(j)):
                continue
            if not self.flat and not (a[0][0].isupper() and b[0][0].isupper()):
                continue
            first = a[0].lower() in words.given
            odd = self._odd(i) or self._odd(j)
            fits = all(self._person(k) or self._odd(k) for k in (i, j))
            common = words.word(a[0].lower()) and words.word(b[0].lower())
            if (
                fits
                and (first or odd)
                and not (common and (self.flat or self.titled))
                and not is_term(text, b.start(), b.end())
                and not (
                    a[0].lower() in words.eponyms
                    and b[0].lower() in words.eponyms
                    and is_term(text, a.start(), a.end())
                )
            ):
                yield Span(a.start(), b.end(), "name", 0.8, "first and last")

    def strange(self) -> Iterator[Span]:
        """Words that are no words where a name may stand."""
        for i, m in enumerate(self.tokens):
            word = m[0]
            low = word.lower().replace("’", "'").removesuffix("'s")
            if len(low) < 3 or low in self.words.medical or is_term(self.text, m.start(), m.end()):
                continue
            known = self.words.word(low)
            if not self.flat and not word[0].isupper():
                if not known and low in self.words.given and low not in self.words.eponyms:
                    yield Span(m.start(), m.end(), "name", 0.6, "given name")
                continue
            if self.flat or self.titled:
                if not known and low not in self.words.eponyms and (self.words.name(low) or self._unlike(low)):
                    yield Span(m.start(), m.end(), "name", 0.65, "no word")
                continue
            if word.isupper() and len(word) <= 5 and not self.words.name(low):
                continue  # an abbreviation
            if not known and low not in self.words.eponyms and (self.words.name(low) or self._unlike(low)):
                yield Span(m.start(), m.end(), "name", 0.7, "no word")
            elif (
                self.words.name(low) and not self._begins(i) and low not in self.words.function and not self._heading(i)
            ):
                yield Span(m.start(), m.end(), "name", 0.6, "capital")

    def _unlike(self, low: str) -> bool:
        """Whether a word is far from every word of medicine, so that it is no slip of one."""
        if len(low) < 5:
            return self.field != "descriptor" and len(low) > 3
        return not _near_words(low)

    def _heading(self, i: int) -> bool:
        """Whether the word stands among others with capitals, as in a heading."""
        beside = [self.tokens[k][0] for k in (i - 1, i + 1) if 0 <= k < len(self.tokens)]
        return bool(beside) and all(w[0].isupper() and self.words.stays(w.lower()) for w in beside)


@lru_cache(maxsize=1)
def _all_words() -> Near:
    words = known_words()
    return Near(w for w in words.medical if len(w) >= 6)


@lru_cache(maxsize=4096)
def _near_words(low: str) -> bool:
    return _all_words().find(low) is not None

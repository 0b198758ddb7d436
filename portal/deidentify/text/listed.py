"""Search a text for the terms of its lists."""

from __future__ import annotations

import re
from collections import defaultdict

from portal.deidentify.text.fuzzy import Near
from portal.deidentify.text.grey import is_term
from portal.deidentify.text.lists import Lists, Span, normal
from portal.deidentify.text.words import WORD, known_words

PERSONS = frozenset({"name", "doctor"})
_JOIN = r"[\s./,_^-]*"
_INITIALS = r"(?<![\w.]){}(?![\w]|\.\w)"


class Matcher:
    """One scan's lists, made ready: words of names for fuzzy search, numbers and phrases as patterns."""

    def __init__(self, lists: Lists) -> None:
        self.white = lists.white
        self.grey = lists.grey
        self.kinds: dict[str, str] = {}
        self.short: dict[str, str] = {}
        self.initials: list[tuple[re.Pattern[str], str]] = []
        phrases: defaultdict[str, set[str]] = defaultdict(set)
        for term in sorted(lists.black):
            if term.kind in PERSONS:
                self._person(term.text, term.kind)
            else:
                phrases[term.kind].add(term.text)
                if term.kind in {"hospital", "address"}:
                    self._rare_words(term.text, term.kind)
        self.near = Near(self.kinds)
        self.patterns = [(kind, _phrases(texts)) for kind, texts in sorted(phrases.items())]

    def _person(self, text: str, kind: str) -> None:
        words = [w for w in re.split(r"[^\w']+", text.replace("_", " ")) if w]
        for word in words:
            bare = word.strip("'")
            for form in {bare, bare.replace("'", "")}:
                if len(form) >= 3 and not form.isdigit():
                    if kind == "name" or form not in self.kinds:
                        self.kinds[form] = kind
                elif len(form) == 2 and form.isalpha():
                    self.short[form] = kind
        letters = [w[0] for w in words if w[0].isalpha()]
        if 2 <= len(letters) <= 4:
            orders = {
                tuple(letters),
                tuple(letters[1:] + letters[:1]),
                (letters[1], letters[0]),
                (letters[0], letters[-1]),
            }
            for order in sorted(orders):
                dotted = r"\.\s?".join(re.escape(c) for c in order) + r"\."
                self.initials.append((re.compile(_INITIALS.format(dotted), re.IGNORECASE), kind))
                bare = "".join(re.escape(c) for c in order)
                cued = rf"(?:patient|pt|initials|name|mr|mrs|ms)\.?:?\s+(?P<v>{bare})(?!\w)"
                self.initials.append((re.compile(cued, re.IGNORECASE), kind))

    def _rare_words(self, text: str, kind: str) -> None:
        words = known_words()
        for word in re.split(r"[^\w']+", text):
            if len(word) >= 5 and word.isalpha() and not words.word(word):
                self.kinds.setdefault(word, kind)

    def protected(self, text: str, span: Span) -> bool:
        """Whether the white list, or its being a medical term, keeps what was found."""
        return span.kind in PERSONS | {"hospital"} and normal(text[span.start : span.end]) in self.white - set(
            self.kinds
        )

    def spans(self, text: str, ocr: bool = False) -> list[Span]:
        """Where terms of the black list stand in a text."""
        out = [
            Span(m.start(), m.end(), kind, 1.0, "listed") for kind, p in self.patterns if p for m in p.finditer(text)
        ]
        if self.kinds:
            out += self._words(text, ocr)
        for pattern, kind in self.initials:
            group = "v" if "v" in pattern.groupindex else 0
            for m in pattern.finditer(text):
                if text[max(0, m.start(group) - 2) : m.start(group)] != ", ":  # "Jane Roe, M.D."
                    out.append(Span(m.start(group), m.end(group), kind, 0.8, "initials"))
        return out

    def _words(self, text: str, ocr: bool) -> list[Span]:
        out: list[Span] = []
        find = self.near.find_misread if ocr else self.near.find
        words = known_words()
        tokens = list(re.finditer(r"[\w|!$'’]+" if ocr else WORD, text))
        hits: set[int] = set()
        doubtful: dict[int, tuple[str, float]] = {}
        for i, m in enumerate(tokens):
            word = normal(m[0])
            bare = word.removesuffix("'s").removesuffix("'")
            hit = find(bare) or (find(bare.replace("'", "")) if "'" in bare else None)
            if hit is None and bare.endswith("s"):
                hit = find(bare[:-1]) if bare[:-1] in self.kinds else None
            if hit is None:
                continue
            if hit[1] < 1 and words.word(bare):
                continue  # another word of the language, not this name misspelt
            known = words.word(bare) or bare in self.grey or bare in words.eponyms
            beside = any(normal(tokens[k][0]) in self.kinds for k in (i - 1, i + 1) if 0 <= k < len(tokens))
            if hit[1] == 1.0 and known and not beside and is_term(text, m.start(), m.end(), listed=True):
                continue
            if bare in self.grey and not _stands_as_name(text, m.start(), m.end()):
                doubtful[i] = hit
                continue
            rule = "listed" if hit[1] == 1.0 else "listed, misspelt" if hit[1] > 0.8 else "listed, misread"
            out.append(Span(m.start(), m.end(), self.kinds[hit[0]], hit[1], rule))
            hits.add(i)
        for i, hit in doubtful.items():
            if i - 1 in hits or i + 1 in hits:
                out.append(Span(*tokens[i].span(), self.kinds[hit[0]], hit[1], "listed, beside another"))
        for i, m in enumerate(tokens):
            beside = i - 1 in hits or i + 1 in hits
            if (kind := self.short.get(normal(m[0]))) and (
                beside or (m[0].istitle() and normal(m[0]) not in words.medical)
            ):
                out.append(Span(m.start(), m.end(), kind, 0.9, "listed"))
            elif (
                beside
                and len(m[0]) == 1
                and m[0].isalpha()
                and _initial_stands(text, m.start(), m.end(), i + 1 in hits)
            ):
                out.append(
                    Span(
                        m.start(), m.end() + (text[m.end() : m.end() + 1] == "."), "name", 0.8, "initial beside a name"
                    )
                )
        return out

    def misread(self, whole: str, tokens: list[str]) -> Span | None:
        """The best term of the black list for one line that OCR read, or None."""
        line = " ".join([whole])
        found = self.spans(line, ocr=True)
        return max(found, key=lambda s: s.certainty) if found else None


def _stands_as_name(text: str, start: int, end: int) -> bool:
    """Whether a word that is an everyday word too has a capital that no sentence's beginning gave it."""
    before = text[:start].rstrip(" \t")
    return (
        text[start].isupper()
        and not text[start:end].isupper()
        and before[-1:] not in {"", ".", ":", "\n", "!", "?", ";"}
    )


def _initial_stands(text: str, start: int, end: int, first: bool) -> bool:
    after = text[end : end + 3]
    if not first and text[start] == "A" and after[:1] == " " and text[:start].rstrip(" \t")[-1:] in {".", "", "\n"}:
        return False  # the article
    if re.match(r"\.\s?D", after, re.IGNORECASE) or (text[start].islower() and after[:1] != "."):
        return False
    return not after[:1].isalnum() and text[max(0, start - 1) : start] in {"", " ", "^", ",", "."}


def _phrases(texts: set[str]) -> re.Pattern[str] | None:
    """One pattern for numbers and phrases, whatever signs stand between their parts."""
    forms = []
    for text in sorted(texts, key=lambda t: (-len(t), t)):
        parts = re.findall(r"[^\W_]+", text)
        joined = _JOIN.join(re.escape(p) for p in parts)
        if len("".join(parts)) >= 6:
            forms.append(joined)
        elif len("".join(parts)) >= 3:
            forms.append(rf"(?<![^\W_]){joined}(?![^\W_])")
    return re.compile("|".join(forms), re.IGNORECASE) if forms else None

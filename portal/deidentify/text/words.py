"""The words of a language pack: what is a word of the language, of medicine, a name, or several of these."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKS = Path(__file__).with_name("packs")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Greek and Latin parts of medical words: a long word made of them names a finding, not a person.
_AFFIXES = re.compile(
    r"(?:retro|peri|para|sub|supra|infra|hyper|hypo|intra|inter|hemi|mid|non|pre|post|trans|dextro|levo|cardio|costo|"
    r"broncho|pneumo|hydro|osteo|radio|echo|endo|extra|juxta|poly|micro|macro|multi|bi|tri|un|de|re|mega|thoraco|"
    r"veno|arterio|cranio|cerebro|spino|gastro|hepato|reno|uro|neo|anti|auto|super|ultra|pseudo|xero)(\w{5,})"
)
_ENDINGS = re.compile(
    r"\w{4,}(?:itis|itides|osis|oses|otic|oma|omas|omata|ectomy|otomy|ostomy|plasty|emia|aemia|uria|ectasis|ectatic|"
    r"opathy|opathic|graphy|gram|grams|graphic|scopy|scopic|megaly|algia|penia|plegia|aris|alis|iform|oid|ular|icular|"
    r"thorax|thoraces|centesis|lysis|lytic|sclerosis|trophy|trophic|phyte|phytes|phragm|pleural|azole|mycin|cillin|"
    r"statin|olol|pril|sartan|mab|tinib|platin|rubicin|ization|isation|ation|ations|ness|ized|lucency|lucencies|like)"
)


@dataclass(frozen=True)
class Words:
    """One language pack; every question is about one word in lower case."""

    language: str = "en"

    def _list(self, name: str) -> frozenset[str]:
        packed = PACKS / self.language / f"{name}.txt.gz"
        if packed.exists():
            return frozenset(gzip.decompress(packed.read_bytes()).decode().split())
        lines = (PACKS / self.language / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        return frozenset(word for line in lines if not line.startswith("#") for word in line.split())

    @cached_property
    def general(self) -> frozenset[str]:
        """Words of the language that are written in lower case."""
        return self._list("words") - self._list("rather_names")

    @cached_property
    def medical(self) -> frozenset[str]:
        """Words of medicine and technique: they stay even beside names."""
        return (self._list("clinical") | self._list("medicine")) - self.eponyms

    @cached_property
    def surnames(self) -> frozenset[str]:
        return self._list("surnames") | self._list("rather_names")

    @cached_property
    def given(self) -> frozenset[str]:
        return self._list("given")

    @cached_property
    def eponyms(self) -> frozenset[str]:
        """Names of people that stand for diseases, signs, devices or views."""
        return self._list("eponyms")

    @cached_property
    def eponym_heads(self) -> frozenset[str]:
        """What an eponym stands before: disease, sign, tumour, catheter …"""
        return self._list("eponym_heads")

    @cached_property
    def function(self) -> frozenset[str]:
        """Small words, months and other words that begin sentences and never name a person there."""
        return self._list("function")

    def name(self, word: str) -> bool:
        """Whether people bear this name (it may be a word as well)."""
        return word in self.surnames or word in self.given

    def word(self, word: str) -> bool:
        """Whether this is a word of the language or of medicine, of whatever else."""
        base = word.removesuffix("'s").replace("'", "")
        return self.listed(base) or self._built(base)

    def listed(self, word: str) -> bool:
        """Whether the word stands in a list as it is, or has a form that only medicine gives."""
        formed = len(word) >= 8 and not self.name(word) and _ENDINGS.fullmatch(word)  # "Harkness" is a surname
        return word in self.medical or word in self.general or bool(formed)

    def _built(self, word: str) -> bool:
        if len(word) < 6 or self.name(word):
            return False
        for ending in ("s", "es", "ed", "ing", "ly", "al", "ally", "er"):
            stem = word.removesuffix(ending)
            if stem != word and len(stem) >= 4 and (stem in self.medical or stem in self.general):
                return True
        match = _AFFIXES.fullmatch(word)
        return bool(match and (match[1] in self.general or match[1] in self.medical))

    def stays(self, word: str) -> bool:
        """Whether a word by itself cannot name anyone: of medicine, or a word that is nobody's name."""
        word = word.lower().replace("’", "'")
        return word in self.medical or (self.word(word) and not self.name(word))


@cache
def known_words(language: str = "en") -> Words:
    """The pack of a language. Raises FileNotFoundError for one that is not shipped."""
    return Words(language)


def words_of(text: str) -> list[str]:
    """The words of a text as they are written."""
    return WORD.findall(text)

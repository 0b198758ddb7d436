"""Names that sound alike: American Soundex (US National Archives, General Information Leaflet 55) of a name's parts."""

from __future__ import annotations

import re
import unicodedata

CODES = {
    letter: code for code, letters in enumerate(("BFPV", "CGJKQSXZ", "DT", "L", "MN", "R"), 1) for letter in letters
}


def soundex(word: str) -> str:
    """First letter and three digits; empty for a word without Latin letters."""
    plain = unicodedata.normalize("NFKD", word).upper()
    letters = [letter for letter in plain if "A" <= letter <= "Z"]
    if not letters:
        return ""
    out, last = letters[0], CODES.get(letters[0], 0)
    for letter in letters[1:]:
        code = CODES.get(letter, 0)
        if code and code != last:
            out += str(code)
        if letter not in "HW":  # these two do not part equal codes, vowels do
            last = code
    return out[:4].ljust(4, "0")


def phonetic(name: str) -> list[str]:
    """The codes of all parts of a name (PS3.5 6.2.1), sorted, each once: `Yamada^Tarou=…` gives T600 and Y530."""
    return sorted({code for part in re.split(r"[\^=\s,*?-]+", name) if (code := soundex(part))})

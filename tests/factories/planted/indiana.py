"""The Indiana chest x-ray reports, with a surrogate identity where XXXX stood for one.

XXXX also stands for ordinary words that its makers' tool removed ("The XXXX are intact"); only places whose
neighbours say that a date, a name, a hospital or a number stood there get one, the others a neutral word.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

from tests.factories.planted import people
from tests.factories.planted.texts import HEADERS, SENTENCES, SIGNATURES, Cast, Planted, cast, fill, plant

SECTIONS = ("indication", "comparison", "findings", "impression")
_WORDS = [
    (re.compile(r"(?:x-|radi|comparis)$", re.IGNORECASE), "ray"),
    (re.compile(r"(?:pulmonary|lung) $", re.IGNORECASE), "vasculature"),
    (re.compile(r"costophrenic $", re.IGNORECASE), "angle"),
    (re.compile(r"(?:osseous|bony|the|visualized) $", re.IGNORECASE), "structures"),
]
_DATE = re.compile(
    r"(?:dated|comparison(?: is)?(?: made)?(?: to)?:?|from|on|of|since|exam(?:ination)?|radiographs?|"
    r"ct|study),? $",
    re.IGNORECASE,
)
_DOCTOR = re.compile(r"(?:Dr\.?|doctor|physician) $", re.IGNORECASE)


def reports(reference: Path, tuning: bool) -> Iterator[tuple[Planted, Cast]]:
    """Each report (of the odd or of the even ones) with a header block, two more sentences and a signature."""
    with (reference / "reports" / "indiana_1000.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if (int(line["uid"]) % 2 == 1) == tuning:
                yield one(line)


def one(line: dict[str, str]) -> tuple[Planted, Cast]:
    rng = random.Random(f"indiana {line['uid']}")
    who, out = cast(rng), Planted("")
    fill(rng.choice(HEADERS), who, rng, out)
    fill(f"EXAM: {line['image']}\n".replace("XXXX", "chest").replace("{", "(").replace("}", ")"), who, rng, out)
    more = rng.sample(SENTENCES, 2)
    for section in SECTIONS:
        if line[section].strip():
            out.text += f"{section.upper()}: "
            surrogates(line[section], who, rng, out)
            out.text += "\n"
        if more and section in {"comparison", "findings"}:
            fill(more.pop() + "\n", who, rng, out)
    fill(rng.choice(SIGNATURES), who, rng, out)
    return out, who


def surrogates(text: str, who: Cast, rng: random.Random, out: Planted) -> None:
    """Append a section, with surrogates in the places that held identities."""
    at = 0
    for match in re.finditer(r"XXXX(?:[,]? XXXX)*", text):
        out.text += text[at : match.start()]
        before, after, at = out.text[-24:], text[match.end() : match.end() + 12], match.end()
        if _DOCTOR.search(before):
            plant(out, rng.choice([who.doctor, who.others[0]]).write(rng, ["last", "full"]), "doctor")
        elif after.startswith(("-year-old", " year old")):
            age = rng.randrange(19, 108)
            plant(out, str(age), "age") if age > 89 else setattr(out, "text", out.text + str(age))
        elif re.match(r" (?:hours|p\.m\.|a\.m\.|at \d)", after):
            out.text += f"{rng.randrange(24):02d}{rng.randrange(60):02d}"
        elif _DATE.search(before) or text.strip(" .") == match[0]:
            plant(out, people.written(people.day(rng), rng), "date")
        else:
            out.text += next((word for form, word in _WORDS if form.search(before)), "structures")
    out.text += text[at:]

"""Made-up people, places and numbers, and the many ways in which they are written."""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass, field
from datetime import date, timedelta

from faker import Faker

LOCALES = {
    "en_US": 8,
    "en_GB": 3,
    "de_DE": 2,
    "fr_FR": 1,
    "es_ES": 2,
    "it_IT": 1,
    "nl_NL": 1,
    "pl_PL": 1,
    "tr_TR": 1,
    "en_IN": 2,
}
# Surnames that are also diseases, words of reports or months: both readings are planted.
GREY = [
    "Parkinson",
    "Hodgkin",
    "Down",
    "May",
    "Brown",
    "Paget",
    "Crohn",
    "Cushing",
    "Baker",
    "Young",
    "Wilson",
    "Graves",
]
GREY += [
    "Barrett",
    "Colles",
    "Marshall",
    "Horner",
    "Little",
    "Long",
    "White",
    "Black",
    "Green",
    "Rose",
    "Hall",
    "Banks",
]
_SYLLABLES = [
    "bra",
    "kel",
    "mon",
    "tri",
    "vel",
    "ost",
    "quin",
    "har",
    "wen",
    "dor",
    "sha",
    "lud",
    "fen",
    "gor",
    "pim",
    "zeb",
    "nar",
]
_ENDS = [
    "ton",
    "berg",
    "ski",
    "ley",
    "worth",
    "mann",
    "ez",
    "son",
    "oğlu",
    "escu",
    "ham",
    "ova",
    "dale",
    "quist",
    "ford",
]
_fakers: dict[str, Faker] = {}


def faker(locale: str, rng: random.Random) -> Faker:
    made = _fakers.setdefault(locale, Faker(locale))
    made.seed_instance(rng.getrandbits(32))
    return made


@dataclass
class Person:
    """A patient, a physician or a relative."""

    first: str
    last: str
    middle: str
    sex: str
    birth: date
    number: str = ""
    accession: str = ""
    forms: list[str] = field(default_factory=list)

    def write(self, rng: random.Random, forms: list[str]) -> str:
        """The name in one of the forms, drawn."""
        first, last, m = self.first, self.last, self.middle[0]
        match rng.choice(forms):
            case "caret":
                return rng.choice([f"{last}^{first}", f"{last}^{first}^{m}", f"{last}^{first}^{self.middle}".upper()])
            case "comma":
                return rng.choice(
                    [f"{last}, {first}", f"{last}, {first} {m}.", f"{last}, {first}".upper(), f"{last},{first}"]
                )
            case "initial":
                return rng.choice([f"{first[0]}. {last}", f"{first[0]}.{m}. {last}", f"{first[0]} {last}"])
            case "last":
                return last
            case "first":
                return first
            case "upper":
                return f"{first} {last}".upper()
            case "lower":
                return f"{first} {last}".lower()
            case "reversed":
                return f"{last} {first}"
            case "possessive":
                return rng.choice([f"{first} {last}'s", f"{last}'s"])
            case "misspelt":
                return misspelt(f"{first} {last}", rng)
            case "letters":
                return f"{first[0]}.{last[0]}."
            case _:
                return rng.choice(
                    [f"{first} {last}", f"{first} {m}. {last}", f"{first} {self.middle} {last}", f"{first} {m} {last}"]
                )


def misspelt(name: str, rng: random.Random) -> str:
    """One letter of the longest word left out, doubled, swapped or changed."""
    words = name.split()
    i = max(range(len(words)), key=lambda k: len(words[k]))
    word = words[i]
    if len(word) < 5:
        return name
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        word = word[:at] + word[at + 1 :]
    elif kind == 1:
        word = word[:at] + word[at] + word[at:]
    elif kind == 2:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    else:
        word = word[:at] + rng.choice("aeiourstln") + word[at + 1 :]
    words[i] = word
    return " ".join(words)


def person(rng: random.Random) -> Person:
    """A person with a number: a name of a country, one made of syllables, or one that is a word too."""
    fake = faker(rng.choices(list(LOCALES), list(LOCALES.values()))[0], rng)
    sex = rng.choice("MF")
    first, middle = (
        (fake.first_name_male(), fake.first_name_male())
        if sex == "M"
        else (fake.first_name_female(), fake.first_name_female())
    )
    draw = rng.random()
    last = fake.last_name()
    if draw < 0.15:
        last = ("".join(rng.sample(_SYLLABLES, rng.choice([1, 2]))) + rng.choice(_ENDS)).capitalize()
    elif draw < 0.27:
        last = rng.choice(GREY)
    birth = date(1930, 1, 1) + timedelta(rng.randrange(30000))
    return Person(first, last, middle, sex, birth, number(rng), accession(rng))


def number(rng: random.Random) -> str:
    return rng.choice(
        [
            lambda: str(rng.randrange(10**6, 10**8)),
            lambda: f"{rng.choice(['HN', 'MR', 'PT', 'ID', 'U'])}-{rng.randrange(1000, 9999)}-{rng.randrange(10, 99)}",
            lambda: f"{rng.choice('ABCDEHKMS')}{rng.randrange(10**5, 10**7)}",
            lambda: f"{rng.randrange(10**7, 10**9):09d}",
        ]
    )()


def accession(rng: random.Random) -> str:
    return rng.choice(
        [
            lambda: f"ACC{rng.randrange(10**5, 10**7)}",
            lambda: str(rng.randrange(10**7, 10**10)),
            lambda: f"{rng.choice(['CT', 'XR', 'MR', 'A'])}{rng.randrange(10, 25)}-{rng.randrange(1000, 99999):05d}",
        ]
    )()


def phone(rng: random.Random) -> str:
    a, b, c = rng.randrange(201, 989), rng.randrange(200, 999), rng.randrange(0, 9999)
    return rng.choice(
        [
            f"({a}) {b}-{c:04d}",
            f"{a}-{b}-{c:04d}",
            f"{a}.{b}.{c:04d}",
            f"+1 {a} {b} {c:04d}",
            f"+1-{a}-{b}-{c:04d}",
            f"+44 20 7{b} {c:04d}",
            f"+49 30 {b}{c:04d}",
            f"020 7{b} {c:04d}",
            f"1-{a}-{b}-{c:04d}",
            f"{a} {b} {c:04d}",
            f"+33 1 {a % 90 + 10} {b % 90 + 10} {c % 90 + 10} {a % 80 + 11}",
            f"({a}) {b}-{c:04d} ext. {b}",
            f"0171 {b}{c:04d}",
        ]
    )


def email(someone: Person, rng: random.Random) -> str:
    plain = "".join(c for c in f"{someone.first}.{someone.last}".lower() if c.isascii() and (c.isalnum() or c == "."))
    place = rng.choice(["example.org", "mail.example.com", "nhs.example.net"])
    return f"{plain or 'someone'}{rng.choice(['', '7', '_1961'])}@{place}"


def address(rng: random.Random) -> str:
    locale = rng.choices(["en_US", "en_GB", "de_DE", "fr_FR"], [6, 2, 1, 1])[0]
    fake = faker(locale, rng)
    if locale == "en_US":
        return f"{fake.street_address()}, {fake.city()}, {fake.state_abbr()} {fake.zipcode()}"
    if locale == "en_GB":
        street = rng.choice(["Road", "Street", "Lane", "Close", "Avenue"])
        return f"{rng.randrange(1, 200)} {fake.last_name()} {street}, {fake.city()}, {fake.postcode()}"
    if locale == "de_DE":
        street = fake.last_name() + rng.choice(["straße", "weg", "platz", "allee"])
        return f"{street} {rng.randrange(1, 150)}, {fake.postcode()} {fake.city_name()}"
    city = rng.choice(["Lyon", "Nantes", "Lille", "Toulouse"])
    return f"{rng.randrange(1, 150)} rue {fake.last_name()}, {fake.postcode()} {city}"


def hospital(rng: random.Random) -> str:
    fake = faker("en_US", rng)
    last, city = fake.last_name(), fake.city()
    return rng.choice(
        [
            f"{city} General Hospital",
            f"St. {fake.first_name()}'s Hospital",
            f"{last} Memorial Hospital",
            f"{city} Medical Center",
            f"Mount {last} Hospital",
            f"{last}-{fake.last_name()} Clinic",
            f"University Hospital of {city}",
            f"{city} Regional Medical Center",
            f"Saint {fake.first_name()} Medical Center",
            f"{last} Cancer Center",
            f"{city} Imaging Center",
            f"{last} Children's Hospital",
            f"Royal {last} Infirmary",
            f"Klinikum {faker('de_DE', rng).city_name()}",
            f"{city} Radiology Associates",
            f"{last} Family Clinic",
        ]
    )


def day(rng: random.Random) -> date:
    return date(2003, 1, 1) + timedelta(rng.randrange(8000))


def written(when: date, rng: random.Random, upper: bool = False) -> str:
    """A day in one of 24 common formats."""
    full, short = calendar.month_name[when.month], calendar.month_abbr[when.month]
    weekday = calendar.day_name[when.weekday()]
    th = "th" if 10 < when.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(when.day % 10, "th")
    d, m, y = when.day, when.month, when.year
    return rng.choice(
        [
            f"{m:02d}/{d:02d}/{y}",
            f"{m}/{d}/{y}",
            f"{m}/{d}/{y % 100:02d}",
            f"{m:02d}-{d:02d}-{y}",
            f"{y}-{m:02d}-{d:02d}",
            f"{y}/{m:02d}/{d:02d}",
            f"{d:02d}.{m:02d}.{y}",
            f"{y}{m:02d}{d:02d}",
            f"{full} {d}, {y}",
            f"{full} {d}{th}, {y}",
            f"{short} {d}, {y}",
            f"{short}. {d}, {y}",
            f"{d} {full} {y}",
            f"{d} {short} {y}",
            f"{d:02d}-{short.upper()}-{y}",
            f"{d:02d}{short.upper()}{y}",
            f"{weekday}, {full} {d}, {y}",
            f"{full} {y}",
            f"{short} {y}",
            f"the {d}{th} of {full} {y}",
            f"{full} {d}",
            f"{d} {full}",
            f"{m}/{y}",
            f"{d:02d}-{short}-{y % 100:02d}",
        ]
    )

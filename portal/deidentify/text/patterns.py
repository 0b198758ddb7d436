"""Identifiers that are known by their form: mail, telephone, numbers of records, addresses, hospitals, ages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from portal.deidentify.text.lists import Span

_CAP = r"(?:[A-Z][\w'’-]*|[A-Z]\.)"
_STREETS = (
    r"St(?:reet)?|Ave(?:nue)?|R(?:oa)?d|Blvd|Boulevard|L(?:a)?ne?|Dr(?:ive)?|C(?:our)?t|Way|Pl(?:ace)?|"
    r"Terr?(?:ace)?|Sq(?:uare)?|"
    r"H(?:igh)?wy|Highway|Park(?:way)?|Pkwy|Cir(?:cle)?|Crescent|Cres|Close|Gardens?|Grove|Row|Mews|Hill|Trail|"
    r"Turnpike|Pike|"
    r"Expressway|Freeway|Alley|Plaza|Point|Loop|Run|Walk|Path|Crossing|Extension|Ext|Field|Fields?|Forges?|Forks?|"
    r"Groves?|Harbors?|"
    r"Haven|Heights|Hills?|Islands?|Junctions?|Key|Keys|Knolls?|Lakes?|Landing|Light|Locks?|Lodge|Mall|Manors?|"
    r"Meadows?|Mills?|"
    r"Mission|Mountains?|Neck|Orchard|Oval|Pass|Passage|Pines?|Plains?|Ports?|Prairie|Ramp|Ranch|Rapids?|Ridges?|"
    r"River|Route|Shoals?|"
    r"Shores?|Skyway|Springs?|Spurs?|Station|Stravenue|Stream|Summit|Track|Tunnel|Union|Unions|Valleys?|Via|Views?|"
    r"Villages?|Ville|"
    r"Vista|Walks|Wells?|Canyon|Bridge|Branch|Bluffs?|Bend|Bayou|Beach|Brooks?|Burgs?|Bypass|Camp|Cape|Causeway|"
    r"Center|Cliffs?|Club|"
    r"Common|Corners?|Courts|Cove|Creek|Crest|Curve|Dale|Dam|Divide|Drives|Estates?|Falls?|Ferry|Flats?|Fords?|"
    r"Forest|Fort|Garden|Gateway|"
    r"Glens?|Green|Greens|Hollow|Inlet|Isle|Throughway|Trace|Trafficway|Underpass|Viaduct|Parkways|Radial|Overpass|"
    r"Shoal|Motorway|Squares|Streets"
)
_STATE = r"[A-Z]{2}"
_ZIP = r"\d{5}(?:-\d{4})?"
_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}"
_PLACE = rf"{_CAP}(?:[\s-]{_CAP}){{0,3}}"
ADDRESS = [
    rf"\b\d{{1,6}}[A-Za-z]?\s+(?:{_CAP}\s+){{0,4}}{_CAP}"
    rf"(?:,?\s+(?:Apt|Suite|Ste|Unit|Flat|Apartment|Room|Rm|#)\.?\s*#?\w+)?,\s+{_PLACE},\s+{_STATE},?\s+{_ZIP}",
    rf"\b\d{{1,4}}[A-Za-z]?\s+(?:{_CAP}\s+){{1,3}}{_CAP},\s+{_PLACE},?\s+{_POSTCODE}",
    rf"\b\d{{1,6}}[A-Za-z]?\s+(?:[NSEW]\.?\s+|(?:North|South|East|West)\s+)?(?:{_CAP}\s+){{1,4}}(?:{_STREETS})\b\.?"
    rf"(?:,?\s+(?:Apt|Suite|Ste|Unit|Flat|Apartment|Room|Rm|#)\.?\s*#?\w+)?"
    rf"(?:,?\s+{_PLACE},?\s+{_STATE},?\s+{_ZIP}|,?\s+{_PLACE},?\s+{_POSTCODE}|,?\s+{_PLACE},\s*{_STATE}\b)?",
    rf"\b{_PLACE},\s*{_STATE}\s+{_ZIP}\b",
    rf"\b(?:P\.?\s?O\.?\s?Box|Post Office Box)\s+\d+(?:,\s*{_PLACE},?\s+{_STATE}\s+{_ZIP})?",
    rf"\b{_POSTCODE}\b",
    r"\b[A-ZÄÖÜ][\wäöüß-]*(?:stra(?:ß|ss)e|str\.|gasse|weg|platz|allee|ring|damm|"
    r"ufer)\s+\d{1,4}[a-z]?(?:,?\s+\d{5}\s+[A-ZÄÖÜ][\wäöüß-]+)?",
    r"\b\d{1,4}(?:\s?(?:bis|ter))?,?\s+(?:rue|avenue|boulevard|place|chemin|impasse|quai)\s+[\w'’éèêàâîôûç "
    r"-]{3,40}?,?\s+\d{5}\s+[A-ZÉ][\w'’éè-]+",
]
_LABELLED_ADDRESS = (
    r"(?:home |mailing |street |patient )?address(?: is)?\s*[:=]?\s*(?P<v>\d[^\n;]{5,90}?)(?=\.\s|"
    r"\.?$|;|\n|\s+(?:phone|tel|mrn|dob)\b)"
)
FORMS: list[tuple[str, str, float, str]] = [
    ("email", r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+", 0.99, "e-mail address"),
    ("url", r"\b(?:https?://|www\.)[^\s<>\"')]+", 0.95, "web address"),
    ("id", r"(?<![\d.-])\d{3}-\d{2}-\d{4}(?![\d-])", 0.95, "social security number"),
    ("id", r"(?<![\d.-])\d{3}[ -]\d{3}[ -]\d{4}(?=\s*\(?(?:NHS|nhs))", 0.9, "health number"),
    ("phone", r"(?<![\w.+-])(?:\+|00)\d{1,3}[\s./-]?\(?\d{1,5}\)?(?:[\s./-]?\d{2,5}){2,5}(?:\s*(?:x|ext\.?|"
              r"extension)\s*\d{1,6})?(?!\w)", 0.95, "telephone number"),
    ("phone", r"(?<![\w.-])(?:1[-. ])?\(?\d{3}\)?[-. ]\s?\d{3}[-. ]\d{4}(?:\s*,?\s*(?:x|ext\.?|"
              r"extension)\s*\d{1,6})?(?![\w-])", 0.95, "telephone number"),
    ("phone", r"(?<![\w.-])\(?0\d{2,5}\)?[\s/-]\s?\d{3,8}(?:[\s-]\d{2,5}){0,3}(?![\w-])", 0.85, "telephone number"),
    ("id", r"(?<![\d.,+-])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", 0.7, "network address"),
]  # fmt: skip
_VALUE = r"(?P<v>[A-Z0-9](?:[\w./-]*[\w])?)"
LABELLED: list[tuple[str, str, str]] = [
    ("accession", rf"\b(?:accession|acc|accn|access)(?![A-Za-z0-9])\.?\s*(?:number|num|no\.?|nr\.?|#|id)?\s*(?:is|"
                  rf"[:#=])?\s*#?\s*{_VALUE}", "accession number"),
    ("id", rf"\b(?:(?:patient|pat|pt|hospital|case|chart|record|unit|medical\s+record|med\.?\s?rec\.?|insurance|"
           rf"policy|member|account|acct|admission|encounter|visit|order|placer|filler|requisition|study|exam|"
           rf"examination|specimen|serial|device|licen[cs]e|passport|nhs|ssn|health)\s*)(?:id|identifier|number|num|"
           rf"no\.?|nr\.?|#)\s*(?:is|[:#=])?\s*#?\s*{_VALUE}", "labelled number"),
    ("id", rf"\b(?:mrn?|m\.r\.n\.|ssn|uhid|pid|nhs|ipp|hrn|csn|fin|npi|dea)(?![A-Za-z0-9])\s*(?:number|num|no\.?|"
           rf"#)?\s*(?:is|"
           rf"[:#=])?\s*#?\s*{_VALUE}", "labelled number"),
    ("phone", r"\b(?:phone|tel(?:ephone)?|fax|mobile|cell(?:ular)?|pager|beeper|call(?:back)?|contact|"
              r"ext(?:ension)?|page[dr]?)\.?(?:\s*(?:number|no\.?|#|at|on|"
              r"is))?\s*[:=]?\s*(?P<v>\+?\(?\d[\d\s()./-]{2,20}\d)", "labelled telephone"),
    ("address", _LABELLED_ADDRESS, "labelled address"),
]  # fmt: skip
_AGE = re.compile(
    r"\b(?P<v>9\d|1[0-2]\d)(?=\s*-?\s*(?:year|yr|y/?o|y\.o|yo)s?\b)|(?:\b(?:aged?|age is|age:)\s*:?\s*)(?P<w>9\d|"
    r"1[0-2]\d)\b(?!\s*(?:mm|cm|%|day|week|month|min))|\b(?P<x>9\d|1[0-2]\d)(?=\s?[YMF]\b)",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?<![\w.,/#%-])#?(?=[\w-]*\d)[A-Za-z]{0,6}-?\d[\dA-Za-z-]*(?![\w%]|[.,]\d)")
_CLINICAL_NUMBER = re.compile(
    r"(?:\b(?:cpt|icd(?:-?\d+)?|loinc|snomed|hcpcs|drg|code|codes|series|image|images|slice|frame|se|im)\W{0,3}|"
    r"[.,]\s?)$",
    re.IGNORECASE,
)

_forms = [(kind, re.compile(form, re.IGNORECASE), sure, rule) for kind, form, sure, rule in FORMS]
_labelled = [(kind, re.compile(form, re.IGNORECASE), rule) for kind, form, rule in LABELLED]
_addresses = [re.compile(form) for form in ADDRESS]
_addresses_any = [re.compile(form, re.IGNORECASE) for form in ADDRESS]


def by_form(text: str, flat: bool = False) -> Iterator[Span]:
    """Identifiers of a text that their form gives away, possibly over one another."""
    digits = any(c.isdigit() for c in text)
    for kind, pattern, sure, rule in _forms:
        if kind in {"email", "url"} or digits:
            yield from (Span(m.start(), m.end(), kind, sure, rule) for m in pattern.finditer(text))
    if digits:
        for kind, pattern, rule in _labelled:
            for m in pattern.finditer(text):
                if sum(c.isdigit() for c in m["v"]) >= 2:
                    yield Span(*m.span("v"), kind, 0.95, rule)
        for pattern in _addresses_any if flat else _addresses:
            yield from (Span(m.start(), m.end(), "address", 0.9, "address") for m in pattern.finditer(text))
        for m in _AGE.finditer(text):
            group = next(g for g in "vwx" if m[g])
            yield Span(*m.span(group), "age", 0.9, "age over 89")
        yield from _codes(text)


def _codes(text: str) -> Iterator[Span]:
    """Numbers too long to be a measure or a finding: record and order numbers."""
    for m in _CODE.finditer(text):
        digits = sum(c.isdigit() for c in m[0])
        letters = sum(c.isalpha() for c in m[0])
        if _CLINICAL_NUMBER.search(text[max(0, m.start() - 12) : m.start()]):
            continue
        if digits >= 5 or (digits >= 4 and letters and not re.fullmatch(r"(?:19|20)\d\d[a-z]?", m[0])):
            yield Span(m.start(), m.end(), "id", 0.78, "long number")

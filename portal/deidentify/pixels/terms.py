"""What consoles and lead letters write into images that names nobody: laterality, views, technique."""

from __future__ import annotations

import re
from functools import cache

from portal.deidentify.text.fuzzy import ocr_form

_SIDE = r"(?:l|r|lt|rt|left|right|bilat|bilateral)"
_VIEW = (
    r"(?:cc|ml[o0]|ml|lm|lm[o0]|xccl|xccm|fb|si[o0]|iso|at|cv|rl|rm|tan|spot|mag|id|pa|ap|lat|lateral|obl|oblique|"
    r"decub|decubitus|axial|supine|erect|upright)"
)
LATERALITY = re.compile(rf"\W*(?:{_SIDE}[\s\W]*{_VIEW}?|{_VIEW}[\s\W]*{_SIDE}|{_SIDE}[\s\W]*{_SIDE})\W*", re.IGNORECASE)
WORDS = """
 ap pa cc mlo ml lm lat lateral oblique obl decub decubitus supine erect upright prone sitting semi standing portable
 mobile bedside inspiration expiration inspiratory expiratory chest thorax abdomen pelvis spine breast skull head neck
 axial coronal sagittal tra sag cor ax transverse long short axis oblique scout localizer survey topogram
 kv kvp ma mas kvmas kev msec sec se im img ser series image slice slc acq scan frame frm phase
 wl ww win level window width zoom fov depth gain freq frequency res gen harm harmonic pen dr dyn map persist fr fps
 hz khz mhz ghz db mm cm um ms min hr rate bpm mi tis tib tic ti tr te tse fse gre epi flair dwi adc stir swi spgr mpr
 mip minip recon kernel filter soft bone lung std standard sharp smooth thin thick st thk thickness gap matrix nex nsa
 etl bw flip angle fa contrast pre post art ven portal venous arterial delayed native iv oral cm compression comp force
 deg tilt rot tube dose dlp ctdi ctdivol dap ei di si exposure grid film speed target filter rh mo ag al cu
 color colour doppler power pw cw prf wf steer cine loop freeze live live2d 2d 3d 4d b m mode tgc tp th ls
 probe linear convex curved sector abd ob gyn msk small parts vascular thyroid liver kidney renal carotid
 anterior posterior superior inferior medial distal proximal left right lt rt up down head foot feet hfs ffs hfp ffp
 t1 t2 t1w t2w pd pdw fat sat fs gd ce on off auto avg average max no of in to x h w l r a p s i f n d y page
 asc desc ao diam diameter index area vol volume vel velocity length lv rv la ra ivs lvpw lvot rvot av mv tv pv ef fs
 vmax vmean vti pg mean peak grad bpd hc ac fl efw crl edd ga psv edv ri pi sv hpen hgen low med high adult echo cardiac
 thi adv advanced
 lossy lossless compressed original derived for presentation processing cmh2o bar kg lb percent
"""
UNITS = re.compile(
    r"(?:[+-]?\d+(?:[.,:/x]\d+)*\s*(?:mm|cm|um|m|kvp?|mas?|ms|s|sec|min|hz|khz|mhz|db|fps|deg|°|%|hu|kg|g|n|mgy|cgy|"
    r"gy|msv|bpm|x|d|p|r|c|f|cm/s|m/s|mw/cm2|t|w)?)",
    re.IGNORECASE,
)

# What may be a date, a time or a number of a person, misread or not.
MOMENT = re.compile(r"\d{5}|(?:19|20)\d\d\D+\d|\d\D+(?:19|20)\d\d(?!\d)|\d\d?:\d\d|\d\d?([./-])\d\d?\1\d\d")


@cache
def _known() -> frozenset[str]:
    return frozenset(ocr_form(word) for word in WORDS.split())


PERSON = re.compile(
    r"\W*(?:tech(?:nician|nologist)?|op(?:erator)?|ref(?:erring)?|dr|drs|doctor|phys(?:ician)?|perf(?:ormed)?\s*by|"
    r"rad(?:iologist)?|sono(?:grapher)?|name|patient|pat|pt)\s*[:.]\s*[^\W\d]",
    re.IGNORECASE,
)


PLACE = re.compile(
    r"\b(?:hospital|klinik\w*|clinic|clinica|clinique|krankenhaus|h[oô]pital|ospedale|infirmary|(?:medical|health|"
    r"radiology|imaging|breast|cancer)?\s*cent(?:er|re)|imaging|radiology|institute|praxis|university|memorial)\b",
    re.IGNORECASE,
)


def place(text: str) -> bool:
    """Whether a line holds a word for a house of medicine: what stands beside it is its name."""
    return bool(PLACE.search(text))


def person_follows(text: str) -> bool:
    """Whether a line begins as one in which a person is named: "Tech: …", "Dr. …"."""
    return bool(PERSON.match(text))


DOCTOR = re.compile(r"\W*dr[.\s]\s*[^\W\d]", re.IGNORECASE)  # before a number it is the dynamic range


def doctor_follows(text: str) -> bool:
    """Whether a line begins with the title of a doctor and goes on in letters: "DR B", "Dr. Stone"."""
    return bool(DOCTOR.match(text))


WRITTEN = re.compile(
    r"(?<!\d)(?:19|20)\d\d|\d:\d\d:\d\d|\d[./-]\d\d?[./-]\d|\b\d\d?[\s.-]?[^\W\d]{3}[\s.,-]*\d\d.*\d:\d\d"
)


MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
DAY = re.compile(r"\b\d\d?[\s.,-]*([^\W_]{3})[\s.,-]*(?:19|20)?\d\d\b")


@cache
def _months() -> frozenset[str]:
    return frozenset(ocr_form(name) for name in MONTHS.split())


def moment(text: str) -> bool:
    """Whether a line holds what can only be a date or a time, though letters of it were misread or left out."""
    if any(ocr_form(month) in _months() for month in DAY.findall(text)):
        return True
    return sum(c.isdigit() for c in text) >= 6 and bool(WRITTEN.search(text))


def laterality(text: str) -> bool:
    """Whether a line is a marker of side and view alone: "L", "R-MLO", "LCC", "R CC"."""
    return bool(LATERALITY.fullmatch(text))


def technical(text: str) -> bool:
    """Whether every part of a line is technique, a number of few digits or a unit, with misread letters allowed."""
    if sum(c.isdigit() for c in text) > 12 or MOMENT.search(text):
        return False
    parts = [part for part in re.split(r"[\s:=,;/()\[\]_|+*-]+", text) if part]
    return bool(parts) and all(_part(part.strip(".")) for part in parts)


MEASURED = re.compile(
    r"(?:kvp?|mas|fov|wl|ww|tr|te|tis|gain|zoom)\s*[:=]?\s*\d{1,4}(?:[.,]\d{1,2})?"
    r"|\d{1,4}(?:[.,]\d{1,2})?\s*(?:kvp?|mas?|mm|cm|ms|msec|[km]?hz|db|fps|mgy|deg|°|%)",
    re.IGNORECASE,
)


def measured(text: str) -> bool:
    """Whether a text is a value of technique with its word or unit: "kVp 28", "120 kV", never a word alone."""
    return bool(MEASURED.fullmatch(text))


# A known word with four digits and more at it is a number of a person ("Acc A1583490" was read as "AC3490"), but for
# values that are as long.
NUMBERED = re.compile(r"[^\W\d_]\d{4}|\d{4}[^\W\d_]")
LONG = re.compile(r"(?:tr|te|ti|wl|ww|im|img|prf)\d{4}|\d{4}(?:hz|khz|ms|hu|mm|x\d{4})", re.IGNORECASE)


def _part(word: str) -> bool:
    """One word: a known one, a number with its unit, or known words that the recogniser wrote together."""
    if not word or UNITS.fullmatch(word) or ocr_form(word) in _known():
        return True
    pieces = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+|%", word)
    if NUMBERED.search(word) and not LONG.fullmatch(word):
        return False
    if len(pieces) > 1 and "".join(pieces) == word and all(p[0].isdigit() or p == "%" or _part(p) for p in pieces):
        return True
    if word.isalnum() and len(word) >= 5:
        for cut in range(2, len(word) - 1):
            one, other = word[:cut], word[cut:]
            long = max(cut, len(word) - cut) >= 4 or any(c.isdigit() for c in one)
            if long and {ocr_form(one), ocr_form(other)} <= _known():
                return True
    return False

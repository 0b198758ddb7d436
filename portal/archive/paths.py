"""Matching inside stored DICOM JSON, as SQL/JSON paths (PS3.4 C.2.2.2, PS3.18 F)."""

from __future__ import annotations

import json
import re
from typing import Union

from portal.archive.attributes import keyword_of, vr_of
from portal.core.errors import Refused

Tree = dict[str, Union[str, "Tree"]]  # tag → value, or what is asked of a sequence's items

WILD = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
WHOLE = {"IS", "US", "SS", "UL", "SL", "UV", "SV"}
REAL = {"DS", "FD", "FL"}
MULTIPLE = {"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"}
MOMENT = {
    "DA": r"\d{8}",
    "TM": r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?",
    "DT": r"\d{4,14}(?:\.\d{1,6})?(?:[+-]\d{4})?",
}
LATEST = {"DA": "", "TM": "5959.999999", "DT": "9" * 21}  # what a value of less precision may mean at most
SPECIAL = re.compile(r"[.^$+()\[\]{}|\\/-]")
MAX_WILDCARDS, MAX_LIST = 8, 500


def header_path(tag: str, wanted: str | Tree, empty: bool = False, multiple: bool = False) -> str:
    """The path that finds something where the attribute matches. Raises Refused (400)."""
    if isinstance(wanted, str) and not multiple and not (empty and wanted == '""'):
        return f"${_values(tag)} ? ({_test(tag, wanted)})"  # the form that the index knows best
    return f"$ ? ({_holds(tag, wanted, empty, multiple)})"


def _values(tag: str) -> str:
    names = ".*" if vr_of(tag) == "PN" else ""  # Alphabetic, Ideographic, Phonetic
    return f'."{tag}".Value[*]{names}'


def _holds(tag: str, wanted: str | Tree, empty: bool, multiple: bool) -> str:
    if not isinstance(wanted, str):
        if vr_of(tag) != "SQ":
            raise _bad(f"{keyword_of(tag) or tag} is no sequence.")
        # one item must match in everything (PS3.4 C.2.2.2.6)
        inner = " && ".join(_holds(inside, value, empty, multiple) for inside, value in wanted.items() if value)
        return f'exists(@."{tag}".Value[*] ? ({inner}))' if inner else f'exists(@."{tag}")'
    if empty and wanted == '""':
        return f"!exists(@{_values(tag)})"
    several = [v for v in wanted.split("\\") if v] if multiple and vr_of(tag) in MULTIPLE else [wanted]
    return " && ".join(f"exists(@{_values(tag)} ? ({_test(tag, value)}))" for value in several[:MAX_LIST])


def _test(tag: str, value: str) -> str:
    vr = vr_of(tag)
    if vr == "SQ":
        raise _bad(f"{keyword_of(tag)} is a sequence: name an attribute in it, with a dot between.")
    if vr in MOMENT:
        return _moment(vr, value)
    if vr in WHOLE or vr in REAL:
        shape = r"[+-]?\d{1,18}" if vr in WHOLE else r"[+-]?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?"
        if not re.fullmatch(shape, value):
            raise _bad(f"{value[:20]} is not a number.")
        return f"@ == {int(value) if vr in WHOLE else float(value)!r}"
    if vr == "UI":
        values = [v.strip() for v in re.split(r"[,\\]", value) if v.strip()]
        if len(values) > MAX_LIST:
            raise _bad(f"At most {MAX_LIST} values in one list.")
        return " || ".join(f"@ == {_quoted(v)}" for v in values)
    wild = vr in WILD and ("*" in value or "?" in value)
    if not wild and vr != "PN":
        return f"@ == {_quoted(value)}"
    if sum(value.count(mark) for mark in "*?") > MAX_WILDCARDS:
        raise _bad(f"At most {MAX_WILDCARDS} wildcards in one value.")
    pattern = SPECIAL.sub(r"\\\g<0>", value).replace("*", ".*").replace("?", ".")
    return f'@ like_regex {_quoted(f"^{pattern}$")} flag "{"is" if vr == "PN" else "s"}"'


def _moment(vr: str, value: str) -> str:
    """A date, time or moment, or a range of them: these compare as text."""
    one = MOMENT[vr]
    found = re.fullmatch(rf"({one})?\s*-\s*({one})?", value) or re.fullmatch(rf"({one})()", value)
    if not found or not any(found.groups()):
        raise _bad(f"{value[:20]} is not of the form of {vr}.")
    low, high = found[1], found[2]
    if "-" not in value or (low and high == ""):
        high = low
    tests = [f"@ >= {_quoted(low)}"] if low else []
    if high:
        rest = LATEST[vr][max(0, len(high) - (2 if vr == "TM" else 0)) :] if "." not in high else "9" * 6
        tests.append(f"@ <= {_quoted(high + rest)}")
    return " && ".join(tests)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bad(words: str) -> Refused:
    return Refused("bad_query", words, status=400)

"""A site's own rules beside the profile, as text: one `Keyword action [value]` a line. Pure.

Actions are those of `table.Row`: X removed, Z emptied, D dummy, H keyed hash, U UID hashed, T date moved, C cleaned,
K kept, V the value given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom.config import RAISE
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.valuerep import validate_value

from portal.deidentify.ctp import OURS, STRICT, TEXT
from portal.deidentify.headers import FREE_TEXT_VRS
from portal.deidentify.table import KEPT_UIDS, Options, Row, rows

WORDS = {"X": "removed", "Z": "emptied", "D": "dummy", "H": "hashed", "U": "UID hashed", "T": "date moved",
         "C": "cleaned", "K": "kept", "V": "set"}  # fmt: skip
CLEANED = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
# without these an instance cannot be filed or shown: classes, UIDs, character set, modality
NEEDED = frozenset({0x00080005, 0x00080016, 0x00080018, 0x00080060, 0x0020000D, 0x0020000E})
MOST = 1000  # rules of a version


def parse(text: str) -> tuple[dict[int, Row], list[str]]:
    """(tag → row, in words what is wrong). Empty lines and lines that begin with # say nothing."""
    found: dict[int, Row] = {}
    faults: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 2)
        if not words or words[0].startswith("#"):
            continue
        tag = _tag(words[0])
        row = Row(words[1].upper(), "site", words[2].strip() if len(words) > 2 else "") if len(words) > 1 else None
        fault = _fault(tag, row)
        if fault or tag is None or row is None:
            faults.append(f"line {number}, {words[0][:64]}: {fault}")
        elif tag in found:
            faults.append(f"line {number}, {words[0][:64]}: there is a rule for it already")
        else:
            found[tag] = row
    if len(found) > MOST:
        faults.append(f"more than {MOST} rules")
    return dict(sorted(found.items())), faults


def _tag(word: str) -> int | None:
    if (tag := tag_for_keyword(word)) is not None:
        return tag
    try:
        number = int(word.strip("()").replace(",", ""), 16)
    except ValueError:
        return None
    return number if keyword_for_tag(number) else None


def _fault(tag: int | None, row: Row | None) -> str:
    if tag is None:
        return "no attribute of the dictionary"
    if row is None or row.action not in STRICT:
        return f"its action is none of {', '.join(WORDS)}"
    if tag in OURS:
        return "set by the profile itself"
    if tag in NEEDED or tag >> 16 in {0x0002, 0x0028, 0x7FE0}:
        return "needed to file and show the image"
    vr = dictionary_VR(tag)
    fits = {"U": vr == "UI", "T": vr in {"DA", "DT"}, "H": vr in TEXT, "V": vr in TEXT, "C": vr in CLEANED}
    if not fits.get(row.action, True):
        return f"{WORDS[row.action]} does not fit its value representation, {vr}"
    if (row.action == "V") != bool(row.value):
        return "a value stands behind V, and behind nothing else"
    try:
        validate_value(vr, row.value or None, RAISE)
    except ValueError:
        return f"the value is none of value representation {vr}"
    return ""


def text_of(found: Mapping[int, Row]) -> str:
    """The rows as text that `parse` reads."""
    return "".join(
        f"{keyword_for_tag(tag)} {row.action}{' ' * bool(row.value)}{row.value}\n" for tag, row in sorted(found.items())
    )


def profile_action(tag: int, table: Mapping[int, Row] | None = None) -> str:
    """What the profile does with an attribute, by its table or by value representation (`profile._unlisted`)."""
    row = (rows(Options()) if table is None else table).get(tag)
    if row is not None:
        return row.action
    vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    if vr == "UI":
        return "K" if tag in KEPT_UIDS else "U"
    if vr in {"DA", "DT"}:
        return "T"
    if vr == "PN":
        return "Z"
    return "X" if vr in {"UN", "UR"} or vr in FREE_TEXT_VRS else "K"


def weaker(found: Mapping[int, Row]) -> list[str]:
    """Keywords of attributes of which these rules would leave more than the profile does."""
    return [keyword_for_tag(tag) for tag, row in found.items() if STRICT[row.action] < STRICT[profile_action(tag)]]


def difference(before: Mapping[int, Row], after: Mapping[int, Row]) -> list[tuple[str, str, str]]:
    """(keyword, rule before, rule after) of what changed; "" where there is no rule."""
    out = []
    for tag in sorted({*before, *after}):
        old, new = _said(before.get(tag)), _said(after.get(tag))
        if old != new:
            out.append((keyword_for_tag(tag), old, new))
    return out


def _said(row: Row | None) -> str:
    return "" if row is None else f"{WORDS[row.action]} {row.value}".strip()


def tried(
    actions: Iterable[tuple[str, str, str]], kept: Iterable[str], found: Mapping[int, Row]
) -> list[tuple[str, str, str]]:
    """(path, what was done, what these rules would do) of a receipt's attributes that would be treated otherwise.

    actions  of a report: (path, action, rule)
    kept     keywords of attributes that were left as they came
    """
    out = []
    for path, done, cited in [*actions, *((keyword, "K", "") for keyword in kept)]:
        tag = tag_for_keyword(path.rsplit(".", 1)[-1])
        if tag is None:
            continue
        row = found.get(tag)
        if row is None and not cited.startswith("site"):
            continue  # neither did a rule of the site touch it
        would = row.action if row else profile_action(tag)
        if _same(would) != _same(done):
            out.append((path, WORDS.get(done, done), WORDS[would]))
    return out


def _same(action: str) -> str:
    """A report says D for a hash or a value given, and C for a date moved."""
    return {"H": "D", "V": "D", "T": "C"}.get(action, action)

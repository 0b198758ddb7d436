"""Apply the de-identification profile to a data set, recursively; no database, no files.

PS3.15 (2026c) Annex E: Basic Application Level Confidentiality Profile with the options Retain
Longitudinal Temporal Information with Modified Dates, Retain Patient Characteristics, Retain Device
Identity and Clean Descriptors (and Retain UIDs where a source is set to it).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from portal.deidentify import rules
from portal.deidentify.descriptors import Cleaner
from portal.deidentify.headers import FREE_TEXT_VRS, dictionary_vr, gather, study_day
from portal.deidentify.keys import Keys
from portal.deidentify.table import KEPT_UIDS, SAFE_PRIVATE, Options, Row, rows
from portal.deidentify.text import Lists

NAME, VERSION = "PS3.15 E.1 basic", "2"
DUMMY = "REMOVED"
AGE = 0x00101010
NUMBER_VRS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
BULK_VRS = frozenset({"OB", "OW", "OF", "OD", "OL", "OV"})
NUMBER_TEXT = re.compile(rb"[0-9+\-.eE \\\0]*")
# Defined terms that a patient's name may spell by chance ("LEFT", "HEAD"): never swept for names.
DEFINED_TERMS = frozenset(
    {
        0x00080005, 0x00080008, 0x00080060, 0x00180015, 0x00185101, 0x00200060, 0x00200062,
        0x00280004, 0x00200020, 0x00185100, 0x00080064, 0x00180022, 0x00180020, 0x00540500,
        0x0040A040, 0x0040A010, 0x0040A050, 0x0040A491, 0x0040A493, 0x00080068, 0x00700023, 0x0040DB00,
        0x00080100, 0x00080102, 0x00080105, 0x0008010F, 0x30060042,
    }
)  # fmt: skip
METHOD_CODES = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient_characteristics": ("113108", "Retain Patient Characteristics Option"),
    "device_identity": ("113109", "Retain Device Identity Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "uids": ("113110", "Retain UIDs Option"),
}  # PS3.16 CID 7050


# References whose code is X/Z and that no IOD has as an empty sequence: to studies (PS3.3 C.7.2.1, type 3), and in
# images to procedure steps (C.7.3.1, type 3; in documents they are of type 2)
NEVER_EMPTY = frozenset({0x00081110, 0x00081111})


@dataclass
class Outcome:
    """What was done: (path, action, cited) for each element touched, and the UIDs that were replaced."""

    actions: list[tuple[str, str, str]] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)  # pseudonymous → original
    identity: dict[str, str] = field(default_factory=dict)  # for the vault alone
    found: dict[str, int] = field(default_factory=dict)  # "kind: rule" of the text finder → how often
    lists: Lists = field(default_factory=Lists)  # this scan's, for the vault and the pixels alone
    alone: bool = False  # a report whose sender named no study

    def replaced(self, keyword: str) -> None:
        """Note that a value of our own stands where the table left none; only for what the file had."""
        self.actions = [(p, "D", "own") if p == keyword else (p, a, cited) for p, a, cited in self.actions]

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(action for _, action, _ in self.actions))


def deidentify(
    dataset: Dataset,
    keys: Keys,
    options: Options,
    lists: Lists | None = None,
    site: Mapping[int, Row] | None = None,
) -> Outcome:
    """Remove the identity from a data set in place and mark it so (PS3.15 E.1.1, PS3.3 C.7.1.1).

    lists  what `headers.gather` found in the header before it was standardised and in the texts that belong to
           it (report, OCR); None: in this header alone
    site   rows of a site's own rules, in place of the table's
    """
    age = rules.age_between(_first(dataset, "PatientBirthDate"), _first(dataset, "StudyDate"))
    accession = _first(dataset, "AccessionNumber").strip()
    own = gather(dataset)
    table = {**rows(options), **site} if site else rows(options)
    work = _Work(keys, options, table, Cleaner(own | lists if lists else own, keys.days, study_day(dataset)))
    work.clean(dataset, "")
    dataset.PatientID = keys.patient
    dataset.PatientName = keys.patient
    work.outcome.replaced("PatientName")
    if not site or AGE not in site:  # a site's rule for it is the last word
        if "PatientAge" in dataset:
            dataset.PatientAge = rules.cap_age(str(dataset.PatientAge or "")) or age
        elif age:
            dataset.PatientAge = age
    if accession:  # the same for the scan and its report, so that they find each other
        dataset.AccessionNumber = rules.pseudonym(keys.ids, keys.organisation, "accession", accession, "A")
        work.outcome.uids[dataset.AccessionNumber] = accession
        work.outcome.replaced("AccessionNumber")
    _mark(dataset, options)
    work.outcome.found = dict(Counter(f"{kind}: {rule}" for kind, rule in work.cleaner.found))
    work.outcome.lists = work.cleaner.lists
    return work.outcome


def _first(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value)


def _mark(dataset: Dataset, options: Options) -> None:
    codes = [METHOD_CODES["basic"]]
    codes += [code for name, code in METHOD_CODES.items() if getattr(options, name, False)]
    items = []
    for value, meaning in codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = f"Concord {NAME} {VERSION}"
    dataset.DeidentificationMethodCodeSequence = Sequence(items)
    if options.modified_dates:
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"


class _Work:
    """One pass over one data set; holds what every depth of it shares."""

    def __init__(self, keys: Keys, options: Options, table: Any, cleaner: Cleaner) -> None:
        self.keys, self.options, self.table, self.cleaner = keys, options, table, cleaner
        self.outcome = Outcome()

    def clean(self, dataset: Dataset, path: str) -> None:
        creators = {
            (tag.group, tag.element): str(dataset[tag].value or "").strip()
            for tag in list(dataset.keys())
            if tag.is_private_creator
        }
        kept_creators: set[tuple[int, int]] = set()
        for tag in sorted(dataset.keys(), reverse=True):  # private values before their creators
            if tag.is_private:
                self._private(dataset, tag, creators, kept_creators, path)
            elif tag.element == 0 or tag.group < 8 or 0x5000 <= tag.group <= 0x50FF or tag.group >> 8 == 0x60:
                self._remove(dataset, tag, path, "curve, overlay or group length")
            elif (row := self.table.get(int(tag))) is not None:
                self._by_row(dataset, tag, row, path)
            else:
                self._unlisted(dataset, tag, path)

    def _note(self, path: str, tag: BaseTag, action: str, cited: str) -> None:
        self.outcome.actions.append((path + (keyword_for_tag(tag) or f"{tag:08X}"), action, cited))

    def _remove(self, dataset: Dataset, tag: BaseTag, path: str, cited: str) -> None:
        del dataset[tag]
        self._note(path, tag, "X", cited)

    def _empty(self, dataset: Dataset, tag: BaseTag, path: str, cited: str) -> None:
        dataset[tag] = _element(dataset, tag, Sequence() if _vr(dataset, tag) == "SQ" else None)
        self._note(path, tag, "Z", cited)

    def _private(
        self,
        dataset: Dataset,
        tag: BaseTag,
        creators: dict[tuple[int, int], str],
        kept: set[tuple[int, int]],
        path: str,
    ) -> None:
        if tag.is_private_creator:
            if (tag.group, tag.element) not in kept:
                self._remove(dataset, tag, path, "private")
            return
        owner = (tag.group, tag.element >> 8)
        allowed = SAFE_PRIVATE.get((creators.get(owner, ""), tag.group, tag.element & 0xFF))
        raw = dataset.get_item(tag)
        if allowed and raw is not None and raw.VR in allowed and self._is_number(raw):
            kept.add(owner)
            return
        self._remove(dataset, tag, path, "private")

    @staticmethod
    def _is_number(raw: Any) -> bool:
        if raw.VR not in {"DS", "IS"}:
            return True
        value = raw.value
        if not isinstance(raw, RawDataElement):
            value = "\\".join(map(str, value)) if isinstance(value, list | tuple | MultiValue) else str(value or "")
            value = value.encode()
        return NUMBER_TEXT.fullmatch(value or b"") is not None

    def _by_row(self, dataset: Dataset, tag: BaseTag, row: Row, path: str) -> None:
        vr = _vr(dataset, tag)
        match row.action:
            case "X":
                self._remove(dataset, tag, path, row.cited)
            case "Z":
                never = int(tag) in NEVER_EMPTY and not path and (int(tag) == 0x00081110 or "Rows" in dataset)
                (self._remove if never else self._empty)(dataset, tag, path, row.cited)
            case "T" | "U":
                self._unlisted(dataset, tag, path, row.cited)
            case "C":
                self._describe(dataset, tag, vr, path, row.cited)
            case "H":
                made = functools.partial(rules.pseudonym, self.keys.ids, self.keys.organisation, keyword_for_tag(tag))
                self._replace(dataset, tag, made)
                self._note(path, tag, "D", row.cited)
            case "V":
                self._set(dataset, tag, row.value)
                self._note(path, tag, "D", row.cited)
            case "D":
                self._dummy(dataset, tag, vr, path, row.cited)
            case _:  # K: kept, and still searched for what does not belong there
                self._unlisted(dataset, tag, path, row.cited, kept=True)

    def _unlisted(self, dataset: Dataset, tag: BaseTag, path: str, cited: str = "by VR", kept: bool = False) -> None:
        """Treat an element by its value representation: nothing that could name someone slips through."""
        if not dictionary_has_tag(tag):
            self._remove(dataset, tag, path, "unknown attribute")
            return
        vr = _vr(dataset, tag)
        if vr == "SQ":
            for number, item in enumerate(dataset[tag].value or ()):
                self.clean(item, f"{path}{keyword_for_tag(tag)}[{number}].")
        elif vr == "UI":
            if not kept:
                self._uid(dataset, tag, path, cited)
        elif vr in {"DA", "DT", "TM"} or tag == 0x00080201:
            self._date(dataset, tag, vr, path, cited)
        elif vr == "PN":
            self._empty(dataset, tag, path, cited)
        elif vr in NUMBER_VRS or vr in BULK_VRS:
            return
        elif vr in {"DS", "IS"}:
            if not self._is_number(dataset.get_item(tag)):
                self._empty(dataset, tag, path, "not a number")
        elif vr == "AS":
            self._set(dataset, tag, rules.cap_age(_first_of(dataset[tag].value)))
        elif vr in {"UN", "UR"} or (vr in FREE_TEXT_VRS and not kept):
            self._remove(dataset, tag, path, "free text")
        else:
            self._sweep(dataset, tag, path)

    def _set(self, dataset: Dataset, tag: BaseTag, value: Any) -> None:
        dataset[tag] = _element(dataset, tag, value)

    def _uid(self, dataset: Dataset, tag: BaseTag, path: str, cited: str) -> None:
        if int(tag) in KEPT_UIDS or self.options.uids:
            return
        value = dataset[tag].value
        values = [value] if isinstance(value, str) or value is None else list(value)
        changed = [u if not u or rules.keeps_uid(u) else self._hash(str(u).strip(" \0")) for u in values]
        if changed != values:
            self._set(dataset, tag, changed if len(changed) > 1 else changed[0])
            self._note(path, tag, "U", cited)

    def _hash(self, uid: str) -> str:
        made = rules.pseudo_uid(self.keys.uids, self.keys.organisation, uid)
        self.outcome.uids[made] = uid
        return made

    def _date(self, dataset: Dataset, tag: BaseTag, vr: str, path: str, cited: str) -> None:
        value = dataset[tag].value
        values = [value] if isinstance(value, str) or value is None else list(value)
        if vr == "DA":
            moved = [rules.shift_date(str(v or ""), self.keys.days) for v in values]
        elif vr == "DT":
            moved = [rules.shift_datetime(str(v or ""), self.keys.days) for v in values]
        else:
            clean = rules.clean_time if vr == "TM" else rules.clean_zone
            moved = [clean(str(v or "")) for v in values]
        self._set(dataset, tag, (moved if len(moved) > 1 else moved[0]) if moved else None)
        if vr in {"DA", "DT"}:
            self._note(path, tag, "C", cited)

    def _describe(self, dataset: Dataset, tag: BaseTag, vr: str, path: str, cited: str) -> None:
        if vr == "SQ":
            self._remove(dataset, tag, path, cited)
            return
        clean = self.cleaner.free_text if vr in FREE_TEXT_VRS else self.cleaner.descriptor
        self._replace(dataset, tag, lambda value: clean(value, vr))
        self._note(path, tag, "C", cited)

    def _replace(self, dataset: Dataset, tag: BaseTag, clean: Callable[[str], str]) -> bool:
        """Put each value through `clean`; whether that changed any."""
        element = dataset[tag]
        values = list(element.value) if element.VM > 1 else [element.value]
        cleaned = [clean(str(v)) if v else v for v in values]
        if cleaned == values:
            return False
        self._set(dataset, tag, cleaned if len(cleaned) > 1 else cleaned[0])
        return True

    def _dummy(self, dataset: Dataset, tag: BaseTag, vr: str, path: str, cited: str) -> None:
        if vr == "SQ":
            if keyword_for_tag(tag) == "PersonIdentificationCodeSequence":
                item = Dataset()
                item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = DUMMY, "99CONCORD", DUMMY
                self._set(dataset, tag, Sequence([item]))
            else:
                self._unlisted(dataset, tag, path, cited)
        elif vr in {"UI", "DA", "DT", "TM"}:
            self._unlisted(dataset, tag, path, cited)
        elif vr in NUMBER_VRS or vr in {"DS", "IS"}:
            self._set(dataset, tag, 0)
        elif vr in BULK_VRS or vr in {"UN", "UR", "AS"}:
            self._empty(dataset, tag, path, cited)
        elif int(tag) == 0x00100020:
            self._set(dataset, tag, self.keys.patient)
        else:
            self._set(dataset, tag, DUMMY)
        self._note(path, tag, "D", cited)

    def _sweep(self, dataset: Dataset, tag: BaseTag, path: str) -> None:
        """Search a value that is kept for what this scan's lists name."""
        clean = self.cleaner.swept_term if _vr(dataset, tag) == "CS" else self.cleaner.swept
        if int(tag) not in DEFINED_TERMS and self._replace(dataset, tag, clean):
            self._note(path, tag, "C", "identifier found")


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    raw = dataset.get_item(tag)
    vr = raw.VR if raw is not None else None
    return dictionary_vr(tag) if vr in {None, "UN"} else str(vr)


def _element(dataset: Dataset, tag: BaseTag, value: Any) -> DataElement:
    return DataElement(tag, _vr(dataset, tag), value, already_converted=isinstance(value, Sequence))


def _first_of(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value[0])

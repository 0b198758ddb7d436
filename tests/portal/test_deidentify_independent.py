"""Others' judgement of clean files: dciodvfy finds no new error, deid no identifier of the original."""

from __future__ import annotations

import csv
import re
import subprocess
from collections import Counter
from pathlib import Path

import pydicom
from deid.config import DeidRecipe
from deid.dicom.fields import expand_field_expression, get_fields_with_lookup
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c
from pydicom.data import get_testdata_file

from portal.deidentify import documents
from portal.deidentify.files import write_instance
from portal.deidentify.keys import Keys
from portal.deidentify.profile import deidentify
from portal.deidentify.table import TABLE, Options
from portal.ingest.inspect import inspect, opened
from portal.ingest.rules import DEFLATED
from tests import syntaxes
from tests.bench.bench_identities import HELD_OUT, written
from tests.factories.planted.headers import header, holds

KEYS = Keys(ids=b"i" * 32, uids=b"u" * 32, organisation=7, patient="PAAAABBBBCCCCD", days=-1000)


def errors(path: Path) -> Counter[str]:
    """dciodvfy's errors, without the UIDs that they quote."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", timeout=60)
    assert done.stdout or done.stderr
    found = (line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error"))
    return Counter(re.sub(r"UID [\d.]+$|<[\d.]+>", "UID", line) for line in found)


def test_the_table_is_that_of_ps3_15_2026c_row_by_row() -> None:
    """Basic codes of all attributes as another project took them from the standard; groups 50xx and 60xx are rules."""
    codes = {
        f"{group:04X}{element:04X}": name.removesuffix("_TAGS").replace("U_STAR", "U*").replace("_", "/")
        for name, tags in vars(dicomfields_2026c).items()
        if name.endswith("_TAGS") and name != "ALL_TAGS"
        for group, element in (tag for tag in tags if len(tag) == 2)
    }
    assert len(codes) > 650
    with TABLE.open(newline="") as file:
        assert {line["tag"]: line["basic"] for line in csv.DictReader(file)} == codes


def passes(path: Path) -> bool:
    """Whether the door takes this file."""
    return inspect(path)[1] is None


def test_dciodvfy_finds_nothing_new_in_any_file_that_the_door_takes(tmp_path: Path) -> None:
    """All of pydicom's files, and pydicom-data's; documents become reports and are judged in test_reports_in."""
    taken = [path for path in syntaxes.files() if passes(path)]
    assert len(taken) >= 90
    found: dict[str, Counter[str]] = {}
    for path in taken:
        before, after = tmp_path / "before.dcm", tmp_path / "after.dcm"
        with opened(path) as original:
            if original.header.sop_class in documents.CLASSES:
                continue
            with before.open("wb") as file:  # dciodvfy does not read deflated files, which are written inflated
                write_instance(file, original.dataset, original)
            deidentify(original.dataset, KEYS, Options())
            with after.open("wb") as file:
                write_instance(file, original.dataset, original)
        was = before if original.header.transfer_syntax == DEFLATED else path
        found[path.name] = errors(after) - errors(was)
    assert {name: new for name, new in found.items() if new} == {}


def test_the_judge_can_fail(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    before = errors(Path(get_testdata_file("CT_small.dcm")))
    del dataset.SeriesInstanceUID
    dataset.save_as(tmp_path / "broken.dcm")
    assert errors(tmp_path / "broken.dcm") - before


def named(dataset: pydicom.Dataset) -> dict[str, str]:
    """Fields that deid's own recipe takes away, at any depth, with their values."""
    fields, found = get_fields_with_lookup(dataset), dict[str, str]()
    for action in DeidRecipe().get_actions(action="REMOVE"):
        for one in expand_field_expression(action["field"], dataset, contenders=fields).values():
            value = "" if one.is_filemeta or one.element.VR == "SQ" else str(one.element.value or "").strip()
            if value:
                found[one.name] = value
    return found


def test_of_what_deid_takes_away_nothing_of_the_original_is_left() -> None:
    """deid 0.4.13, recipe deid.dicom: its list of fields is none of ours. Times of day stay, and DICOM's own UIDs."""
    seen = 0
    for seed in range(HELD_OUT, HELD_OUT + 25):
        planted = header(seed)
        before = named(written(planted.dataset, lambda dataset: None)[0])
        clean, _ = written(planted.dataset, lambda dataset: deidentify(dataset, KEYS, Options()))
        after = named(clean)
        same = {name for name, value in after.items() if before.get(name) == value and not name.endswith("Time")}
        assert {name for name in same if not after[name].startswith("1.2.840.10008.")} == set()
        left = [(name, s) for name, value in after.items() for _, s in planted.secrets if holds(value, s)]
        assert left == []
        seen += len(before)
    assert seen > 25 * 15

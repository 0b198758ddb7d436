"""`concord deidentify`: as a process of its own, without database and settings; resumed, killed, misused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage

from inference.preprocess import fiducials
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare
from tests.factories.planted.headers import PlantedHeader, header
from tests.factories.planted.people import GREY

ROOT = Path(__file__).parents[2]


def command(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "portal.command", "deidentify", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, env=_env(**env), capture_output=True, text=True, timeout=600)


def _env(**more: str) -> dict[str, str]:
    outside = ("CONCORD", "DJANGO", "DATABASE", "BROKER", "SECRET")
    return {k: v for k, v in os.environ.items() if not k.startswith(outside)} | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve planted headers of CT images in folders named after the patients, and a file that is no image."""
    found = tmp_path / "in"
    for seed in range(12):
        planted(seed, found)
    (found / "readme.txt").write_text("not an image")
    return found


def planted(seed: int, folder: Path) -> PlantedHeader:
    made = header(800_000_000 + seed)
    place = folder / str(made.dataset.PatientName).replace("^", " ").replace("/", " ")
    place.mkdir(parents=True, exist_ok=True)
    made.dataset.save_as(place / f"{seed}.dcm", enforce_file_format=True)
    return made


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "deidentification.jsonl").read_text().splitlines()]


def test_a_folder_becomes_clean_files_and_a_report_without_values(folder: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "out", tmp_path / "key"
    done = command(folder, out, "--key", key)
    assert (done.returncode, done.stdout.strip()) == (1, "12 clean, 0 clean before, 1 set aside, of 13 files")
    assert "set aside (not_dicom)" in done.stderr and "new key" in done.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(sorted(out.rglob("*.dcm"))) == 12
    # by a key that stays: of a new one a shifted date may by chance be the date of another patient's birth
    out = tmp_path / "kept"
    command(folder, out, CONCORD_VAULT_KEY="k" * 40)
    clean = sorted(out.rglob("*.dcm"))
    assert len(clean) == 12
    everything = b"".join(path.read_bytes() + str(path).encode() for path in clean)
    journal = (out / "deidentification.jsonl").read_bytes()
    for seed in range(12):
        made = planted(seed, tmp_path / "again")
        # a surname that is a term stays as a term in another patient's report
        made.secrets = [s for s in made.secrets if s[0] in {"field", "nested"} and s[1] not in GREY]
        assert len(made.secrets) > 15
        assert made.left(everything) == []
        assert made.left(journal) == []
    states = [line["state"] for line in lines(out)]
    assert sorted(set(states)) == ["done", "set aside"]
    assert all(line["actions"] and line["counts"] for line in lines(out) if line["state"] == "done")


def test_the_same_key_gives_the_same_bytes_and_a_second_run_does_nothing(folder: Path, tmp_path: Path) -> None:
    key = {"CONCORD_VAULT_KEY": "k" * 40}
    one, two = tmp_path / "one", tmp_path / "two"
    command(folder, one, **key)
    command(folder, two, **key)
    files = [sorted(p.relative_to(out) for out in [out] for p in out.rglob("*.dcm")) for out in (one, two)]
    assert files[0] == files[1]
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files[0])
    before = {path: path.stat().st_mtime_ns for path in one.rglob("*.dcm")}
    again = command(folder, one, **key)
    assert again.stdout.startswith("0 clean, 12 clean before")
    assert before == {path: path.stat().st_mtime_ns for path in one.rglob("*.dcm")}


def test_a_run_that_is_killed_goes_on_and_leaves_no_half_file(folder: Path, tmp_path: Path) -> None:
    for seed in range(20, 120):
        planted(seed, folder)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "portal.command", "deidentify", str(folder), str(out)]
    env = _env(CONCORD_VAULT_KEY="k" * 40)
    process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = out / "deidentification.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 10):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    some = len(list(out.rglob("*.dcm")))
    assert 0 < some < 112
    for path in out.rglob("*.dcm"):
        assert pydicom.dcmread(path).PatientIdentityRemoved == "YES"
    with journal.open("a") as log:
        log.write('{"source": "half a li')
    done = command(folder, out, CONCORD_VAULT_KEY="k" * 40)
    assert done.returncode == 1 and " clean before, 1 set aside, of 113 files" in done.stdout
    assert not done.stdout.startswith("112 clean")
    assert len(list(out.rglob("*.dcm"))) == 112 and not list(out.rglob("*.part"))


def test_a_report_that_comes_later_cleans_the_scan_anew(tmp_path: Path) -> None:
    found, out, key = tmp_path / "in", tmp_path / "out", {"CONCORD_VAULT_KEY": "k" * 40}
    found.mkdir()
    scan = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    scan.ImageComments = "The quillfeather called."
    scan.save_as(found / "scan.dcm")
    command(found, out, **key)
    clean = next(out.rglob("*.dcm"))
    assert pydicom.dcmread(clean).ImageComments == "The quillfeather called."
    scan.SOPInstanceUID = scan.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    scan.ImageComments = "Discussed with Dr. Ada Quillfeather."
    scan.save_as(found / "second.dcm")
    assert command(found, out, **key).stdout.startswith("2 clean, 0 clean before")
    assert pydicom.dcmread(clean).ImageComments == "The %DOCTOR% called."


def test_text_in_pictures_is_covered_and_what_it_names_is_searched_for(tmp_path: Path) -> None:
    found, key = tmp_path / "in", {"CONCORD_VAULT_KEY": "k" * 40}
    found.mkdir()
    plane = (np.random.default_rng(7).integers(0, 4, (400, 640)) + 30).astype("u1")
    for text, at in (("QUILLFEATHER, ROSA", (40, 40)), ("Ref: Dr. Ada Brambleworth", (200, 40)), ("R-MLO", (340, 500))):
        ink = fonts.ink(text, "DejaVuSans.ttf", 24) > 0.5
        plane[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]][ink] = 250
    scan = bare(SecondaryCaptureImageStorage, "OT", plane, 8)
    scan.PatientName, scan.PatientID, scan.ImageComments = "Quillfeather^Rosa", "77120934", "The brambleworth called."
    scan.save_as(found / "scan.dcm", enforce_file_format=True)

    out = tmp_path / "unread"
    done = command(found, out, "--no-pixels", **key)
    assert "Texts inside pictures were not looked for." in done.stderr and done.returncode == 0
    assert (pixel_array(next(out.rglob("*.dcm"))) == plane).all()

    done = command(found, out, **key)  # what was written without looking is not taken for clean
    assert done.stdout.startswith("1 clean, 0 clean before") and "pictures of 1 files was covered" in done.stderr
    clean = pydicom.dcmread(next(out.rglob("*.dcm")))
    shown = pixel_array(clean)
    hidden = fiducials.mask(clean, shown.shape)
    assert hidden is not None and (shown[~hidden] == plane[~hidden]).all()
    assert not (shown == 250)[:300].any() and (shown == 250)[300:].any()
    assert clean.ImageComments == "The %DOCTOR% called." and clean.BurnedInAnnotation == "NO"
    journal = (out / "deidentification.jsonl").read_text()
    assert {"name", "doctor"} <= {one["kind"] for one in lines(out)[-1]["pixels"]["covered"]}  # type: ignore[index]
    assert not any(word in journal.casefold() for word in ("quill", "bramble", "rosa"))
    assert command(found, out, **key).stdout.startswith("0 clean, 1 clean before")


def test_two_files_of_one_instance_that_differ_are_not_laid_over_each_other(tmp_path: Path) -> None:
    found, out = tmp_path / "in", tmp_path / "out"
    found.mkdir()
    scan = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    scan.save_as(found / "a.dcm")
    scan.save_as(found / "b.dcm")
    scan.KVP = "99"
    scan.save_as(found / "c.dcm")
    done = command(found, out, CONCORD_VAULT_KEY="k" * 40)
    assert done.returncode == 1 and "set aside (conflict)" in done.stderr
    assert pydicom.dcmread(next(out.rglob("*.dcm"))).KVP == 120


def test_wrong_use_has_its_own_codes(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    key = {"CONCORD_VAULT_KEY": "k" * 40}
    assert command(tmp_path / "none", tmp_path / "out", **key).returncode == 2
    assert command(folder, folder / "out", **key).returncode == 2
    assert command(folder, tmp_path / "out", CONCORD_VAULT_KEY="short").returncode == 2
    assert command(empty, tmp_path / "out", **key).returncode == 3
    assert not (tmp_path / "out" / "deidentification.jsonl").read_text()

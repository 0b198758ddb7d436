"""De-identify a folder of files without the portal: the same profile, a key of the folder's own, no database.

Two passes over the folder: what any file of a patient gives away is searched for in all files of that patient.
A file that is done is a line of the journal; a run that was broken off goes on behind it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pydicom.dataset import Dataset

from portal.deidentify import documents, rules
from portal.deidentify.faces import header
from portal.deidentify.faces.frames import frames
from portal.deidentify.faces.series import Series
from portal.deidentify.faces.whole import Face, Painted, left_over, painted, say
from portal.deidentify.files import write_instance
from portal.deidentify.headers import gather
from portal.deidentify.keys import IDENTITY, derived, face_key, patient_key
from portal.deidentify.pixels.clean import cleaned, judged, seen_in, texts
from portal.deidentify.pixels.cover import NotCovered
from portal.deidentify.pixels.engine import ENGINE
from portal.deidentify.pixels.instance import Read
from portal.deidentify.pixels.shown import NotShown
from portal.deidentify.profile import NAME, VERSION, deidentify
from portal.deidentify.table import Options, Row
from portal.deidentify.text import Lists
from portal.ingest.inspect import Damaged, Opened, opened

JOURNAL = "deidentification.jsonl"
ORGANISATION = 0  # a folder has no tenants
# pydicom's ways to say that a value is impossible
IMPOSSIBLE = (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RecursionError)


@dataclass
class Run:
    """One run over a folder: counts, and the files that were set aside with the reason (for this screen alone)."""

    total: int = 0
    done: int = 0
    before: int = 0  # done by an earlier run
    faces: int = 0  # clean files of series whose face was replaced
    heads: int = 0  # clean files of heads in which a face could not be looked for
    written: int = 0  # clean files with text in their pixels that was covered
    aside: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What a run works with."""

    source: Path
    out: Path
    secret: bytes
    options: Options
    site: Mapping[int, Row] = field(default_factory=dict)
    pixels: bool = True  # text is looked for in them

    def keyed(self, *parts: str) -> str:
        """How the journal calls a file or its content: keyed, since folders and files are named after patients."""
        text = "\n".join(parts).encode("utf-8", "surrogateescape")
        return hmac.digest(rules.derive(self.secret, "journal"), text, "sha256").hex()[:32]

    def state_of(self, path: Path, lists: Lists, series: str) -> str:
        """Changes with the file, the lists, its series, the options and the profile: then it is cleaned again."""
        terms = json.dumps([sorted([t.text, t.kind] for t in lists.black), sorted(lists.white), sorted(lists.grey)])
        rest = (repr(self.options), repr(sorted(self.site.items())), NAME, VERSION, ENGINE if self.pixels else "")
        return self.keyed(_sha256(path), terms, series, *rest)


def files(folder: Path) -> list[Path]:
    """Files of a folder at every depth, in order; links and DICOMDIR are left out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root) / n for n in sorted(names) if n != "DICOMDIR" and not (Path(root) / n).is_symlink()]
    return found


def run(job: Job, tell: Callable[[str, int, int], None]) -> Run:
    """Clean every file of the folder that no earlier run has cleaned.

    tell  is called with ("reading" or "cleaning", number, total) for each file
    Raises OSError when the disk fails; what was written until then is whole and stays.
    """
    found = files(job.source)
    earlier = dict(_earlier(job.out))
    owners = {output: source for source, (_, output) in earlier.items()}
    result = Run(total=len(found))
    lists: defaultdict[str, Lists] = defaultdict(Lists)
    patients: dict[Path, str] = {}
    series = Series(lambda uid: face_key(job.secret, ORGANISATION, uid))
    for number, path in enumerate(found, 1):
        tell("reading", number, len(found))
        try:
            with opened(path, defer=True) as file:
                patients[path] = patient = _patient(file)
                lists[patient] |= _named(path, file)
                _note(series, path, file)
        except (Damaged, *IMPOSSIBLE):
            continue  # said by the second pass
    with _journal(job.out) as log:
        for number, path in enumerate(found, 1):
            tell("cleaning", number, len(found))
            own = lists.get(patients.get(path, ""), Lists())
            name = job.keyed("path", str(path.relative_to(job.source)))
            state = job.state_of(path, own, series.state(path))
            if name in earlier and earlier[name][0] == state:
                result.before += 1
                continue
            line: dict[str, Any] = {"source": name, "version": state, "profile": f"{NAME} {VERSION}"}
            try:
                face = series.face(path) if series.noted(path) else None
                line |= _clean(job, path, own, name, owners, face)
                result.written += bool(line.get("pixels", {}).get("covered"))
                result.done += 1
                result.faces += face is not None and face.plan is not None
                result.heads += face is not None and face.open
            except Damaged as error:
                line |= {"state": "set aside", "reason": error.reason}
                result.aside.append((path, error.reason))
            except IMPOSSIBLE as error:
                line |= {"state": "set aside", "reason": "not_deidentified", "error": type(error).__name__}
                result.aside.append((path, "not_deidentified"))
            log.write(json.dumps(line) + "\n")
            log.flush()
    return result


def _patient(file: Opened) -> str:
    identity = {keyword: str(file.dataset.get(keyword) or "").strip() for keyword in IDENTITY}
    return patient_key(identity, file.header.study_uid)


def _clean(job: Job, path: Path, lists: Lists, name: str, owners: dict[str, str], face: Face | None) -> dict[str, Any]:
    """Write the clean file; returns its line of the journal: what was done where and by which rule, no values.

    owners  which source a clean file was made of, by its place; face: what becomes of the face of its series
    Raises Damaged when another source has made the same instance with other bytes, or when pixels cannot be written.
    """
    with opened(path) as file:
        keys = derived(job.secret, ORGANISATION, _patient(file))
        left = left_over(face, file.dataset, frames(file.dataset)) if face else ""
        seen, changed = _shown(job, file, face)
        lists |= gather(file.dataset, texts(seen))
        documents.unpack(file.dataset)
        outcome = deidentify(file.dataset, keys, job.options, lists, job.site)
        looked = judged(file, seen, outcome.lists)
        relative = place_of(file.dataset)
        target = job.out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        try:
            with cleaned(file, looked, keys.days, changed) as made, part.open("wb") as out:
                say(file.dataset, face, left, changed is not None)
                write_instance(out, file.dataset, made)
                out.flush()
                os.fsync(out.fileno())
            if owners.setdefault(relative, name) != name and _sha256(target) != _sha256(part):
                raise Damaged("conflict", "Two files with one SOP Instance UID differ.")
            os.replace(part, target)
        except NotCovered as error:
            raise Damaged("pixels_not_covered", str(error)) from error
        finally:
            part.unlink(missing_ok=True)
    return {
        "state": "done",
        "output": relative,
        "counts": outcome.counts,
        "found": outcome.found,
        **({"face": left or face.reason or "replaced"} if face else {}),
        **({"pixels": looked.report()} if looked else {}),
        "actions": [list(action) for action in outcome.actions],
    }


def _note(series: Series, path: Path, file: Opened) -> None:
    """Where an instance's frames lie; of an enhanced one all of the header has to be read for that."""
    if file.header.sop_class not in header.ENHANCED:
        return series.note(path, file.dataset)
    with opened(path) as whole:
        return series.note(path, whole.dataset)


def _shown(job: Job, file: Opened, face: Face | None) -> tuple[Read | None, Painted | None]:
    """(what is written in the pixels, what gives them a generic face), each None where there is none."""
    try:
        return seen_in(file) if job.pixels else None, painted(file, face)
    except NotShown as error:
        raise Damaged("pixels_not_read", str(error)) from error


def _named(path: Path, file: Opened) -> Lists:
    """What a header gives away; of a document also what it says, for which all of it has to be read."""
    if file.header.sop_class not in documents.CLASSES:
        return gather(file.dataset)
    with opened(path) as whole:
        return documents.unpack(whole.dataset) | gather(whole.dataset)


def place_of(dataset: Dataset) -> str:
    """patient/study/series/instance.dcm, each by its pseudonym."""
    uids = [dataset.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    parts = ["".join(c for c in str(part or "none") if c.isalnum() or c == ".") for part in [dataset.PatientID, *uids]]
    return "/".join(parts) + ".dcm"


@contextmanager
def _journal(out: Path) -> Iterator[TextIO]:
    path = out / JOURNAL
    with path.open("a+", encoding="utf-8") as log:
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            log.write("\n")  # the last line of a run that was killed
        yield log


def _earlier(out: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """name → (version, place) of the files that are done and whose clean file is still there."""
    journal = out / JOURNAL
    for text in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the last line of a run that was killed
        if line.get("state") == "done" and (out / line["output"]).exists():
            yield line["source"], (line["version"], line["output"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

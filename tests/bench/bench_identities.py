"""What the de-identification finds and keeps of planted identities, and how fast.

    python -m tests.bench identities [--reports 1000] [--headers 500] [--tuning]

Recall and precision by place with 95 % Wilson intervals, share of clinical words kept, files a second and core. The
seeds of the reported figures are none of those on which rules were tried out (`--tuning` takes those).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pydicom

from tests.bench.house import row
from tests.factories.planted.headers import TREE, header, holds
from tests.factories.planted.measure import WORD, Tally, wilson
from tests.factories.planted.texts import Cast, Planted, report

HELD_OUT = 900_000_000  # seeds below 10,000 were used while the rules were written


def share(hits: int, total: int) -> list[str]:
    low, high = wilson(hits, total)
    return [f"{hits}/{total}", f"{100 * hits / max(1, total):.2f} %", f"{100 * low:.2f} to {100 * high:.2f} %"]


def texts(first: int, count: int) -> Tally:
    """Own reports, with what the header of their scan would tell."""
    tally = Tally()
    for seed in range(first, first + count):
        planted, who = report(seed)
        measure(tally, planted, who)
    return tally


def measure(tally: Tally, planted: Planted, who: Cast) -> None:
    from portal.deidentify.text import Context, Lists, find
    from portal.deidentify.text.passes import learn

    p = who.patient
    known = [(f"{p.last}^{p.first}^{p.middle}", "name"), (p.number, "id"), (p.accession, "accession")]
    lists = learn([(planted.text, Context())], Lists.of(known))
    tally.text(planted, [(s.start, s.end, s.rule) for s in find(planted.text, lists)])


def headers(first: int, count: int) -> tuple[Counter[str], Counter[str], int, int, list[tuple[str, str]]]:
    """(planted, gone) by place, clinical words (all, kept), and what was left."""
    from portal.deidentify.keys import Keys
    from portal.deidentify.profile import deidentify
    from portal.deidentify.table import Options

    keys = Keys(b"i" * 32, b"u" * 32, 7, "PAAAABBBBCCCCD", -1234)
    planted: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    words = kept = 0
    missed: list[tuple[str, str]] = []
    for seed in range(first, first + count):
        made = header(seed)
        clean, raw = written(made.dataset, lambda ds: deidentify(ds, keys, Options()))
        # a content tree is running text: what is left there counts there alone, though the name stood elsewhere too
        rest = without_tree(clean)
        left = Counter(s for s in made.left(raw) if s[0] == TREE) + Counter(s for s in made.left(rest) if s[0] != TREE)
        for secret in made.secrets:
            planted[secret[0]] += 1
            gone[secret[0]] += secret not in left
        missed += list(left)
        for keyword, clinical in made.clinical:
            text = str(clean.get(keyword) if keyword else clean.ContentSequence[0].TextValue).casefold()
            for word in WORD.findall(clinical):
                words += 1
                kept += holds(text, word.casefold())
    return planted, gone, words, kept, missed


def without_tree(dataset: pydicom.Dataset) -> bytes:
    """The bytes of a data set but for its content tree."""
    out, rest = io.BytesIO(), pydicom.Dataset({e.tag: e for e in dataset if e.keyword != "ContentSequence"})
    rest.file_meta = dataset.file_meta
    rest.save_as(out, enforce_file_format=True)
    return out.getvalue()


def written(dataset: pydicom.Dataset, clean: Callable[[pydicom.Dataset], object]) -> tuple[pydicom.Dataset, bytes]:
    """A data set as it is after it was saved, opened, cleaned and written as at the door; and the bytes of it."""
    from portal.deidentify.files import write_instance
    from portal.ingest.inspect import opened

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.dcm"
        dataset.save_as(path, enforce_file_format=True)
        out = io.BytesIO()
        with opened(path) as found:
            clean(found.dataset)
            write_instance(out, found.dataset, found)
    return pydicom.dcmread(io.BytesIO(out.getvalue())), out.getvalue()


def speed(seconds: float = 20.0) -> tuple[float, float]:
    """(files, seconds of processor time): open, clean and write CT_small.dcm with a planted header each time."""
    from pydicom.data import get_testdata_file

    from portal.deidentify.files import write_instance
    from portal.deidentify.keys import Keys
    from portal.deidentify.profile import deidentify
    from portal.deidentify.table import Options
    from portal.ingest.inspect import opened

    keys = Keys(b"i" * 32, b"u" * 32, 7, "PAAAABBBBCCCCD", -1234)
    base = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for seed in range(40):
            made = header(HELD_OUT + 5000 + seed).dataset
            del made.ContentSequence
            for number in range(5):  # five images of one series
                ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
                ds.update({e.tag: e for e in made if e.tag.group not in (0x0028, 0x7FE0)})
                ds.SOPInstanceUID = f"{made.SOPInstanceUID}.{number}"
                ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
                ds.SOPClassUID = base.SOPClassUID
                path = Path(folder) / f"{seed}-{number}.dcm"
                ds.save_as(path)
                paths.append(path)
        deidentify(pydicom.dcmread(paths[0], stop_before_pixels=True), keys, Options())  # word lists are read once
        begun, done = time.process_time(), 0
        while time.process_time() - begun < seconds and done < 2000:
            with opened(paths[done % len(paths)]) as found:
                deidentify(found.dataset, keys, Options())
                write_instance(io.BytesIO(), found.dataset, found)
            done += 1
        return done, time.process_time() - begun


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    parser = argparse.ArgumentParser(prog="python -m tests.bench identities")
    parser.add_argument("--reports", type=int, default=1000)
    parser.add_argument("--headers", type=int, default=500)
    parser.add_argument(
        "--tuning", action="store_true", help="the seeds on which rules are tried, with what went wrong"
    )
    options = parser.parse_args(sys.argv[2:] if arguments is None else arguments)
    first = 0 if options.tuning else HELD_OUT
    row("place", "found", "recall", "95 % interval")
    planted, gone, words, kept, missed = headers(first, options.headers)
    for place in planted:
        row(f"header: {place}", *share(gone[place], planted[place]))
    row("header: clinical words kept", *share(kept, words))
    tallies = {"report": texts(first, options.reports)}
    if reference := os.environ.get("CONCORD_REFERENCE_DATA"):
        tallies["Indiana report"] = indiana_texts(Path(reference), options.tuning)
    for name, tally in tallies.items():
        for kind in sorted(tally.planted):
            row(f"{name}: {kind}", *share(tally.found[kind], tally.planted[kind]))
        row(f"{name}: all", *share(tally.found.total(), tally.planted.total()))
        row(f"{name}: precision of what was found", *share(tally.right, tally.marked))
        row(f"{name}: clinical words kept", *share(tally.kept, tally.words))
        if options.tuning:
            print(*tally.missed, *tally.wrong, sep="\n")
    if options.tuning:
        print(*missed, sep="\n")
    files, seconds = speed()
    row("files a second and core, header only", f"{files / seconds:.1f}", "", "")


def indiana_texts(reference: Path, tuning: bool) -> Tally:
    """The Indiana reports with surrogates; odd ones for trying out, even ones for the figures."""
    from tests.factories.planted.indiana import reports

    tally = Tally()
    for planted, who in reports(reference, tuning):
        measure(tally, planted, who)
    return tally


if __name__ == "__main__":
    main()

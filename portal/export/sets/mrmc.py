"""Reader-study ratings as iMRMC (github.com/DIDSR/iMRMC, input file) and MRMCaov (R package, factor columns) take them.

The rating is the first scale question of the case's protocol; the treatment is the protocol's version with its mode.
Only cases with truth count, and readings that are no arbitrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from portal.consensus.models import Truth
from portal.export.scope import Scope
from portal.export.sets.common import reader_name, readings
from portal.export.sets.tables import csv_pieces


@dataclass(frozen=True)
class Rating:
    """One reader's rating of one case under one treatment; truth: 1 positive, 0 negative."""

    reader: str
    treatment: str
    case: str
    truth: int
    rating: float


def ratings(scope: Scope) -> Iterator[Rating]:
    """Every rating of the programme, by case and reader."""
    for case in scope.cases.select_related("protocol").order_by("number").iterator(200):
        truth = Truth.objects.filter(case=case).first()
        key = next((q["key"] for q in case.protocol.form if q["type"] == "scale"), None)
        if truth is None or truth.positive is None or key is None:
            continue
        treatment = f"v{case.protocol.number}-{case.protocol.mode}"
        for reading in sorted(readings(case), key=lambda r: r.reader_id):
            value = reading.answers.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                name = reader_name(reading.reader_id)
                yield Rating(name, treatment, f"case-{case.number:05d}", int(truth.positive), float(value))


def imrmc_files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """<programme>.imrmc"""
    yield f"{scope.slug}.imrmc", iter([imrmc(list(ratings(scope)), scope.name)])


def mrmcaov_files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """<programme>.csv and how R reads it."""
    yield f"{scope.slug}.csv", mrmcaov(ratings(scope))
    yield "read.R", iter([R.format(file=f"{scope.slug}.csv").encode()])


R = """library(MRMCaov)
ratings <- read.csv("{file}", stringsAsFactors = TRUE)
ratings[c("reader", "treatment", "case")] <- lapply(ratings[c("reader", "treatment", "case")], factor)
fit <- mrmc(empirical_auc(truth, rating), treatment, reader, case, data = ratings)
print(summary(fit))
"""


def imrmc(rows: Sequence[Rating], title: str) -> bytes:
    """Header, `BEGIN DATA:`, each case's truth (reader -1, modality 0), then `reader,case,modality,score`."""
    truths = dict(sorted((row.case, row.truth) for row in rows))
    ones = sum(truths.values())
    lines = [
        " ".join(title.split()),
        "Research use only",
        f"NR: {len({row.reader for row in rows})}",
        f"N0: {len(truths) - ones}",
        f"N1: {ones}",
        f"NM: {len({row.treatment for row in rows})}",
        "",
        "BEGIN DATA:",
        *(f"-1,{case},0,{truth}" for case, truth in truths.items()),
        *(f"{row.reader},{row.case},{row.treatment},{row.rating:g}" for row in rows),
    ]
    return ("\n".join(lines) + "\n").encode()


def mrmcaov(rows: Iterable[Rating]) -> Iterator[bytes]:
    """CSV with the columns reader, treatment, case, truth, rating."""
    cells: Iterator[list[Any]] = ([r.reader, r.treatment, r.case, r.truth, f"{r.rating:g}"] for r in rows)
    return csv_pieces(cells, ["reader", "treatment", "case", "truth", "rating"])

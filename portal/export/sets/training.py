"""A folder that trainings read (`inference.datasets.table`): DICOM files as archived, and labels.csv from the truth.

labels.csv: `image`, `patient` (pseudonym, so that a split does not part a patient), `view`, `age`, `sex`, `positive`
(the case's truth), and a column of 0 and 1 for each label of the protocol: whether the truth has such a mark there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.core import storage
from portal.export.scope import Scope
from portal.export.sets.common import cases, images, labels_of

PIECE = 1 << 20
HEAD = ["image", "patient", "view", "age", "sex", "positive"]


def files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """images/*.dcm of every case whose truth says whether it is positive, then labels.csv."""
    labels = list(dict.fromkeys(labels_of(scope).values()))
    columns = [label.lower().replace(" ", "_") for label in labels]
    rows: list[list[str]] = []
    for one in cases(scope):
        if one.truth is None or one.truth.positive is None:
            continue
        study = one.case.study
        about = ["" if study.patient_age is None else str(study.patient_age), study.patient.sex]
        for n, instance in enumerate(images(one.case), 1):
            name = f"images/{one.name}-{n:04d}.dcm"
            here = {shape.label for shape in one.decided if shape.sop_uid == instance.sop_uid}
            yield name, _bytes(instance)
            said = [str(int(one.truth.positive)), *(str(int(label in here)) for label in labels)]
            rows.append([name, study.patient.pseudonym, instance.view, *about, *said])
    out = io.StringIO()
    csv.writer(out).writerows([[*HEAD, *columns], *rows])
    yield "labels.csv", iter([out.getvalue().encode()])


def _bytes(instance: Instance) -> Iterator[bytes]:
    with local_copy(storage.archive(), instance.name) as path, path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece

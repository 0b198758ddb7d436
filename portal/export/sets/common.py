"""What data sets are made of: cases, their images, and the shapes that readers, truth and models drew on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from portal.archive.models import Instance
from portal.consensus.models import Truth
from portal.export.returns.contents import run_shapes
from portal.export.scope import Scope
from portal.export.shapes import Shape, of_box, of_mark
from portal.infer.models import Run
from portal.infer.queries import newest_runs
from portal.programmes.models import Assignment, Case
from portal.read.models import Reading
from portal.read.queries import mark_json


@dataclass
class CaseFiles:
    """A case with what was drawn on it; readers are numbered by their key, never named."""

    case: Case
    truth: Truth | None
    readers: dict[str, list[Shape]] = field(default_factory=dict)
    decided: list[Shape] = field(default_factory=list)
    model: dict[str, list[Shape]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The case in file names."""
        return f"case-{self.case.number:05d}"


def labels_of(scope: Scope) -> dict[str, str]:
    """Code → name of every label that any version of the protocol had, in order."""
    found: dict[str, str] = {}
    for protocol in scope.protocols.order_by("number"):
        found |= {str(label["code"]): str(label["name"]) for label in protocol.labels}
    return found


def reader_name(pk: int) -> str:
    """A reader in a data set."""
    return f"reader-{pk}"


def readings(case: Case) -> list[Reading]:
    """Submitted readings of a case but arbitrations, in the order of submission."""
    rows = Reading.objects.filter(case=case, state=Reading.State.SUBMITTED)
    rows = rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION).prefetch_related("marks")
    return list(rows.order_by("submitted_at", "pk"))


def cases(scope: Scope) -> Iterator[CaseFiles]:
    """Every case that was read or settled, in order, one at a time."""
    labels = labels_of(scope)
    for case in scope.cases.select_related("study__patient", "protocol").order_by("number").iterator(50):
        truth = Truth.objects.filter(case=case).first()
        read = readings(case)
        if truth is None and not read:
            continue
        found = CaseFiles(case, truth)
        for reading in read:
            layer = reader_name(reading.reader_id)
            marks = reading.marks.order_by("client_id")
            found.readers[layer] = [of_mark(mark_json(mark), labels, layer) for mark in marks]
        for number, mark in enumerate(truth.marks if truth else [], 1):
            code = str(mark.get("label") or "")
            label = labels.get(code, code or "Finding")
            frame = int(mark.get("frame") or 1)
            found.decided.append(of_box(mark["box"], mark["sop_uid"], frame, label, "truth", str(number), ""))
        for run in newest_runs(case.study):
            if run.state == Run.State.DONE:
                found.model[str(run.version)] = list(run_shapes(run))
        yield found


def images(case: Case) -> list[Instance]:
    """A case's images in the order in which they are read."""
    rows = Instance.objects.filter(study=case.study_id, rows__gt=0, opinion=False)
    rows = rows.select_related("series")
    return list(rows.defer("headers", "frame_table").order_by("series__number", "series_id", "number", "pk"))

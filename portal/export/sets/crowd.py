"""Answers as Crowd-Kit takes them (crowd-kit, pandas frames): task, worker, label; and ground truth task, label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from portal.consensus.models import Truth
from portal.export.scope import Scope
from portal.export.sets.common import reader_name, readings
from portal.export.sets.tables import csv_pieces


def files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """answers/<question>.csv and ground_truth/<question>.csv for yes-no questions and choices; several choices one by
    one as `<task>/<choice>` with labels 0 and 1."""
    questions: dict[str, dict[str, Any]] = {}
    for protocol in scope.protocols.order_by("number"):
        questions |= {q["key"]: q for q in protocol.form if q["type"] in {"boolean", "choice", "multi"}}
    for key, question in questions.items():
        yield f"answers/{key}.csv", csv_pieces(_answers(scope, question), ["task", "worker", "label"])
        yield f"ground_truth/{key}.csv", csv_pieces(_truth(scope, question), ["task", "label"])


def _answers(scope: Scope, question: dict[str, Any]) -> Iterator[list[Any]]:
    for case in scope.cases.order_by("number").iterator(200):
        for reading in readings(case):
            for task, label in labels(f"case-{case.number:05d}", question, reading.answers.get(question["key"])):
                yield [task, reader_name(reading.reader_id), label]


def _truth(scope: Scope, question: dict[str, Any]) -> Iterator[list[Any]]:
    rows = Truth.objects.filter(case__in=scope.cases).select_related("case").order_by("case__number")
    for row in rows.iterator(200):
        for task, label in labels(f"case-{row.case.number:05d}", question, row.answers.get(question["key"])):
            yield [task, label]


def labels(task: str, question: dict[str, Any], value: Any) -> Iterator[tuple[str, str]]:
    """(task, label) of an answer; none for no answer."""
    if question["type"] == "multi" and isinstance(value, list):
        for choice in question.get("choices", ()):
            yield f"{task}/{choice['value']}", str(int(choice["value"] in value))
    elif isinstance(value, bool):
        yield task, str(int(value))
    elif value not in (None, "", []):
        yield task, str(value)

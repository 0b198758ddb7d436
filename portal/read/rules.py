"""What a reading must hold to be submitted: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q

MAX_MARKS, MAX_POINTS, MAX_TEXT, MAX_MEASUREMENTS = 500, 4000, 10_000, 20
Answers = Mapping[str, Any]
POINTS = {"length": 2, "rectangle": 2, "ellipse": 2, "freehand": 3, "arrow": 2}


ALL, UNNAMED, NOTHING = "all", "unnamed", "nothing"


# Whether what is said of a case is hidden from someone who reads, or may come to read, in its programme; a condition on
#   mode       of the protocol
#   submitted  the person's own reading is final
#   settled    the case is settled: nobody will read it any more
#   asked      the output was shown to the person on demand
#   alerted    the person's reading differed from the output and the protocol answers that by showing the outlines
#   oversees   the person also coordinates, or looks after functions or archive, in the organisation
# In the independent modes a mere reader never sees the output unless alerted; docs/decisions/0004 says why.
_INDEPENDENT, _ON_DEMAND = Q(mode__in=("blinded", "second_reader")), Q(mode="on_demand")
HIDDEN = (
    (_INDEPENDENT & ~(Q(alerted=True) | Q(settled=True, oversees=True)))
    | (_ON_DEMAND & ~(Q(submitted=True) | Q(asked=True) | Q(settled=True)))
    | (~_INDEPENDENT & ~_ON_DEMAND & ~(Q(submitted=True) | Q(settled=True)))
)


def sight(*, settled: bool, reader: bool, arbiter: bool, holds: str | None, taken: bool, submitted: bool) -> str:
    """How much of what readers and model said of a case someone may see who may see the case at all.

    reader, arbiter  on the programme's panel, available or not
    holds            "reading", "arbitration" or None: the person's own assignment of the case
    taken            that assignment is claimed or submitted, not only offered to the person
    submitted        that assignment is submitted
    returns          ALL; UNNAMED: everything, readers without names (arbiters decide so); NOTHING
    """
    if settled and (holds is None or submitted):
        return ALL
    if holds == "arbitration" and taken:
        return UNNAMED
    if holds == "reading" or (reader and not settled):
        return NOTHING
    return UNNAMED if arbiter or holds else ALL


def shown(question: Mapping[str, Any], answers: Answers) -> bool:
    """Whether a question is asked, given the other answers."""
    return all(answers.get(key) == value for key, value in (question.get("show_if") or {}).items())


def check_answers(form: Sequence[Mapping[str, Any]], answers: Answers) -> dict[str, str]:
    """Question key → what is missing or wrong; empty when the form is complete."""
    known = {q["key"] for q in form}
    faults = {key: "This question is not in the form." for key in answers if key not in known}
    for question in form:
        value = answers.get(question["key"])
        if not shown(question, answers):
            continue
        if value is None or value == "" or value == []:
            if question.get("required"):
                faults[question["key"]] = "Needs an answer."
        elif fault := _check(question, value):
            faults[question["key"]] = fault
    return faults


def _check(question: Mapping[str, Any], value: Any) -> str:
    kind = question["type"]
    choices = {c["value"] for c in question.get("choices", [])}
    if kind == "boolean":
        return "" if isinstance(value, bool) else "Answer yes or no."
    if kind == "choice":
        return "" if isinstance(value, str) and value in choices else "Choose one of the answers."
    if kind == "multi":
        fits = isinstance(value, list) and all(isinstance(v, str) and v in choices for v in value)
        return "" if fits and len(set(value)) == len(value) else "Choose from the list."
    if kind == "scale":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        low, high = question.get("min", 0), question.get("max", 100)
        return "" if number and low <= value <= high else f"Give a number from {low} to {high}."
    if kind == "text":
        return "" if isinstance(value, str) and len(value) <= MAX_TEXT else f"At most {MAX_TEXT} characters."
    return "This kind of question is not known."


def kept_answers(form: Sequence[Mapping[str, Any]], answers: Answers) -> dict[str, Any]:
    """The answers that count: those of questions that are asked."""
    return {q["key"]: answers[q["key"]] for q in form if q["key"] in answers and shown(q, answers)}


def check_marks(marks: Any, images: Mapping[str, tuple[int, int, int]], margin: float = 2.0) -> str:
    """What is wrong with a list of marks, else "".

    images  SOP Instance UID → (rows, columns, frames) of the case
    margin  pixels by which a point may lie outside its image
    """
    if not isinstance(marks, list) or len(marks) > MAX_MARKS:
        return f"At most {MAX_MARKS} marks."
    seen: set[str] = set()
    for mark in marks:
        if not isinstance(mark, dict) or not isinstance(mark.get("id"), str) or not 1 <= len(mark["id"]) <= 64:
            return "A mark has no id."
        if mark["id"] in seen:
            return "Two marks have the same id."
        seen.add(mark["id"])
        if fault := _check_mark(mark, images, margin):
            return fault
    return ""


def _check_mark(mark: Mapping[str, Any], images: Mapping[str, tuple[int, int, int]], margin: float) -> str:
    tool, sop_uid = mark.get("tool"), mark.get("sop_uid")
    if not isinstance(tool, str) or tool not in POINTS:
        return "A mark is of an unknown kind."
    if not isinstance(sop_uid, str) or sop_uid not in images:
        return "A mark lies on an image that is not part of the case."
    rows, columns, frames = images[sop_uid]
    frame = mark.get("frame", 1)
    if not isinstance(frame, int) or isinstance(frame, bool) or not 1 <= frame <= frames:
        return "A mark lies on a frame that the image does not have."
    points = mark.get("points_px")
    if not isinstance(points, list) or not POINTS[tool] <= len(points) <= MAX_POINTS:
        return "A mark has too few or too many points."
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(_finite(v) for v in point):
            return "A mark has a point that is no pair of numbers."
        if not (-margin <= point[0] <= columns - 1 + margin and -margin <= point[1] <= rows - 1 + margin):
            return "A mark lies outside its image."
    rating = mark.get("rating")
    if rating is not None and not (_finite(rating) and 0 <= rating <= 100):
        return "A mark's rating is from 0 to 100."
    world = mark.get("points_mm")
    if world is not None and not (
        isinstance(world, list)
        and len(world) <= MAX_POINTS
        and all(isinstance(p, list) and len(p) == 3 and all(_finite(v) for v in p) for p in world)
    ):
        return "A mark's patient coordinates are not triples of numbers."
    return _check_words(mark)


def check_display(display: Any, images: Mapping[str, tuple[int, int, int]]) -> str:
    """What is wrong with the windows under which images were read, else "".

    display  SOP Instance UID → {"centre", "width" > 0, "inverted"}, in the image's values after rescale
    """
    if not isinstance(display, dict):
        return "The display is a table of images."
    for sop_uid, shown in display.items():
        if sop_uid not in images:
            return "A window is of an image that is not part of the case."
        if not isinstance(shown, dict) or set(shown) - {"centre", "width", "inverted"}:
            return "A window has a centre and a width."
        if not (_finite(shown.get("centre")) and _finite(shown.get("width")) and shown["width"] > 0):
            return "A window has a centre and a width above 0."
        if not isinstance(shown.get("inverted", False), bool):
            return "A window is inverted or not."
    return ""


def _check_words(mark: Mapping[str, Any]) -> str:
    for name, longest in (("text", 500), ("label", 64)):
        value = mark.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= longest):
            return f"A mark's {name} is a text of at most {longest} characters."
    measured = mark.get("measurements")
    if measured is None:
        return ""
    if not isinstance(measured, dict) or len(measured) > MAX_MEASUREMENTS:
        return "A mark's measurements are names with values."
    for name, value in measured.items():
        if len(name) > 40 or not (value is None or _finite(value) or (isinstance(value, str) and len(value) <= 40)):
            return "A mark's measurement is no number and no short text."
    return ""


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e7

"""Report text from settled answers. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TEMPLATE_ID, TEMPLATE_VERSION = "plain", "1"


def report_text(
    title: str, form: Sequence[Mapping[str, Any]], answers: Mapping[str, Any], marks: int, origin: str
) -> str:
    """Title, one line for each answered question in the form's order, marks, how it was settled."""
    lines = [title.upper(), ""]
    for question in form:
        value = answers.get(question["key"])
        if value in (None, "", []):
            continue
        lines.append(f"{question['label']}: {_words(question, value)}")
    lines.append(f"Marks: {marks}" if marks else "Marks: none")
    lines += ["", f"Settled by {origin}.", "Research use only. Not a diagnosis."]
    return "\n".join(lines)


def _words(question: Mapping[str, Any], value: Any) -> str:
    names = {c["value"]: c["label"] for c in question.get("choices", [])}
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(names.get(v, str(v)) for v in value)
    if question["type"] == "scale":
        return f"{value:g} of {question.get('max', 100)}"
    return names.get(value, str(value))

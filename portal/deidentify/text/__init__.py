"""Identifiers in text: lists, finder, and the verdict on one line (`judge`). Pure: no Django, no input or output."""

from portal.deidentify.text.finder import Context, find
from portal.deidentify.text.judge import judge
from portal.deidentify.text.lists import KINDS, MARKERS, Lists, Span, Term, Verdict

__all__ = ["KINDS", "MARKERS", "Context", "Lists", "Span", "Term", "Verdict", "find", "judge"]

"""JSON as the database can keep it; anything else is the sender's error (400, with the field named), never ours."""

from __future__ import annotations

import json
import math
import re
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
LONGEST_NUMBER = 30  # digits; the interpreter itself refuses some thousands
SURROGATE = re.compile("[\ud800-\udfff]")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Unstorable(ParseError):
    """A value that no column keeps; `fields` names the top-level field."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"{field or 'body'}: {words}")
        self.fields = {field[:100] or "body": words}


def fault(data: Any) -> tuple[str, str] | None:
    """(top-level field, what is wrong) of the first value that a jsonb column would not take; None when all fit.

    Walks without recursion: what the parser let through may be deeper than the interpreter's stack.
    """
    stack: list[tuple[Any, str, int]] = [(data, "", 0)]
    while stack:
        value, field, depth = stack.pop()
        if isinstance(value, dict | list):
            if depth >= MAX_DEPTH:
                return field, f"Nested more than {MAX_DEPTH} levels deep."
            if isinstance(value, list):
                stack += [(item, field, depth + 1) for item in value]
                continue
            for key, item in value.items():
                if words := _text(key):
                    return field, words
                stack.append((item, field or key, depth + 1))
        elif isinstance(value, str):
            if words := _text(value):
                return field, words
        elif isinstance(value, float) and not math.isfinite(value):
            return field, "Not a finite number."
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            return field, "A whole number beyond 64 bits."
    return None


def _text(value: str) -> str:
    if "\0" in value:
        return "Text with the character NUL."
    return "Text that is not Unicode (half of a surrogate pair)." if SURROGATE.search(value) else ""


def _integer(text: str) -> float:
    return int(text) if len(text) <= LONGEST_NUMBER else math.inf


def _deep_field(text: str) -> str:
    """The top-level field in which a text first nests too deeply."""
    field, last, depth = "", "", 0
    for token in TOKEN.finditer(text):
        word = token[0]
        if word[0] == '"':
            last = word[1:-1] if depth == 1 else last
        elif word in "[{":
            field = last if depth == 1 else field
            depth += 1
            if depth > MAX_DEPTH:
                break
        else:
            depth -= 1
    return field


class StorableJSONParser(JSONParser):
    """DRF's parser, for what `fault` finds nothing in. Raises ParseError, with the field Unstorable (400)."""

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ParseError("JSON parse error: the text is not UTF-8.") from error
        try:
            data = json.loads(text, parse_int=_integer)
        except RecursionError as error:
            raise Unstorable(_deep_field(text), f"Nested more than {MAX_DEPTH} levels deep.") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from error
        if found := fault(data):
            raise Unstorable(*found)
        return data

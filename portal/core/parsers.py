"""JSON as the database can keep it: anything else is the sender's error (400), never the server's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {text[:20]}")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"not JSON: {constant}")


def loads(raw: bytes) -> Any:
    """Parse strict JSON in UTF-8.

    Raises ValueError for NaN and infinities, NUL and lone surrogates (a jsonb column takes none of them), and
    nesting beyond the interpreter's depth.
    """
    try:
        data = json.loads(raw.decode("utf-8"), parse_float=_finite, parse_constant=_refuse)
        if b"\\u" in raw:  # only an escape can bring them past the decoder
            text = json.dumps(data, ensure_ascii=False)
            text.encode("utf-8")
            if "\\u0000" in text:
                raise ValueError("text holds NUL")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return data


class StorableJSONParser(JSONParser):
    """DRF's JSON parser, with `loads`."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Mapping[str, Any]:
        try:
            return loads(stream.read())  # type: ignore[no-any-return]
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from error

"""JSON that no column can keep is refused at the door, with the field named."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from portal.core.parsers import MAX_DEPTH, StorableJSONParser, Unstorable


def parse(raw: bytes | str) -> Any:
    return StorableJSONParser().parse(io.BytesIO(raw.encode() if isinstance(raw, str) else raw))


def deep(levels: int, inner: str = "1") -> str:
    return "[" * levels + inner + "]" * levels


@pytest.mark.parametrize(
    "value",
    [
        "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 20, "9" * 31, "9" * 5000, '"a\\u0000b"', '"\\ud800"',
        '{"a\\u0000": 1}', '{"\\udfff": 1}', '[{"x": ["\\ud83d"]}]', deep(MAX_DEPTH), deep(1000), deep(100_000),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_with_its_field(value: str) -> None:
    with pytest.raises(Unstorable) as caught:
        parse('{"key": {"inner": "marks"}, "marks": ' + value + ', "after": 1}')
    assert caught.value.status_code == 400 and list(caught.value.fields) == ["marks"]


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b'{"a": \xff}', b"\x00", b'{"a": 01}', b'"\xed\xa0\x80"'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse(raw)
    assert not isinstance(caught.value, Unstorable)


@pytest.mark.parametrize("value", ["[NaN]", deep(5000), '"\\u0000"'])
def test_a_body_without_fields_is_refused_too(value: str) -> None:
    with pytest.raises(Unstorable) as caught:
        parse(value)
    assert list(caught.value.fields) == ["body"]


# what PostgreSQL's jsonb takes (its manual, 8.14): finite numbers, text without NUL and half surrogates
STORABLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["answers", "marks"]), STORABLE), st.booleans())
def test_everything_else_is_read_as_it_is(data: dict[str, Any], escaped: bool) -> None:
    assert parse(json.dumps(data, ensure_ascii=escaped)) == data


def test_pairs_of_surrogates_and_escaped_backslashes_are_text() -> None:
    assert parse('{"a": "\\ud83d\\ude00 \\\\u0000"}') == {"a": "\U0001f600 \\u0000"}
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}

"""Headers of any shape are understood or refused in words, and XML says what the JSON said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from portal.archive import delivery, media
from portal.core import native_xml
from portal.core.errors import Refused

WORDS = ["multipart/related", "type=", "application/dicom", "image/jls", "*/*", ";", ",", "=", '"', "q=", "nan", "0.5",
         "transfer-syntax=*", "transfer-syntax=1.2.840.10008.1.2.5", " ", "-1", "\x00", "é", "/"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=14).map("".join))
def test_any_accept_header(header: str) -> None:
    ranges = media.parse_accept(header)
    weights = [one.quality for one in ranges]
    assert weights == sorted(weights, reverse=True) and all(weight > 0 for weight in weights)
    for stored in (str(ExplicitVRLittleEndian), str(JPEGBaseline8Bit)):
        for offer in (media.frame_offer(ranges, stored), media.instance_offer(ranges, stored)):
            assert offer is None or offer.decode == (offer.syntax != stored)
    assert media.picture_type(ranges) in {None, *media.PICTURES}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["bytes=", "bytes", "", "pages="]), st.text("0123456789-, ٣", max_size=22), st.integers(0, 1000))
def test_any_range_header(unit: str, rest: str, size: int) -> None:
    try:
        found = delivery.byte_range(unit + rest, size)
    except Refused as refused:
        assert refused.status == 416
        return
    assert found is None or 0 <= found[0] <= found[1] < size


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Zl", "Zp"]), max_size=9)
PLAIN = TEXT.filter(lambda text: text == text.strip() and "^" not in text)
ELEMENTS = st.one_of(
    st.fixed_dictionaries({"vr": st.just("LO"), "Value": st.lists(PLAIN, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"vr": st.just("US"), "Value": st.lists(st.integers(0, 65535), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"vr": st.just("FD"), "Value": st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"vr": st.just("PN"), "Value": st.just([{"Alphabetic": "A^B^^Dr", "Ideographic": "山^太"}])}),
    st.fixed_dictionaries({"vr": st.just("OB"), "InlineBinary": st.just("AAEC")}),
    st.fixed_dictionaries({"vr": st.just("OW"), "BulkDataURI": PLAIN.filter(bool)}),
    st.just({"vr": "CS"}),
)
TAGS = st.sampled_from(["00080060", "00100010", "00091001", "7FE00010", "00281050"])
DATA_SETS = st.recursive(
    st.dictionaries(TAGS, ELEMENTS, max_size=4),
    lambda inner: st.dictionaries(
        st.just("00081140"),
        st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(DATA_SETS)
def test_xml_and_back(dataset: dict[str, Any]) -> None:
    assert native_xml.decode(native_xml.encode(dataset)) == dataset


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.text("<>/ab=\"'& NativeDicomModel", max_size=60).map(str.encode))
def test_any_text_is_xml_or_a_value_error(text: bytes) -> None:
    try:
        native_xml.decode(text)
    except ValueError:
        return
    pytest.fail("nonsense was understood")

"""Acknowledgements of HL7 v2 messages, read by two libraries that did not write them."""

from __future__ import annotations

import hl7
import pytest
from hl7apy.parser import parse_message

from portal.peers.messages.answers import BAD_CONTENT, Head, Reply, acknowledgement
from tests.factories.reports import message
from tests.factories.senders import code


@pytest.mark.parametrize(
    ("fifteen", "sixteen", "good", "expected"),
    [
        ("", "", True, "AA"), ("AL", "NE", True, "CA"), ("AL", "AL", False, "CE"), ("ER", "", True, None),
        ("ER", "", False, "CE"), ("SU", "", True, "CA"), ("NE", "AL", True, "AA"), ("NE", "NE", False, None),
    ],
)  # fmt: skip
def test_enhanced_mode(fifteen: str, sixteen: str, good: bool, expected: str | None) -> None:
    raw = message().replace(b"|2.5.1||||||", f"|2.5.1|||{fifteen}|{sixteen}||".encode())
    answer = acknowledgement(Head.of(raw), Reply("AA" if good else "AE", "Words | and ^ marks."))
    found = answer and hl7.parse(answer.decode())
    assert (found and code(found)[0]) == expected
    if found:
        assert found.unescape(str(found.segment("MSA")[3])) == "Words | and ^ marks."


def test_other_delimiters_come_back_as_they_were() -> None:
    raw = message().replace(b"|", b"#").replace(b"^", b"*").replace(b"#*~\\&#", b"#*~\\&#")
    answer = acknowledgement(Head.of(raw), Reply("AA", "One # two."))
    assert answer is not None
    found = hl7.parse(answer.decode())
    assert (str(found.segment("MSA")(1)), str(found.segment("MSA")(2))) == ("AA", "77")
    assert str(found.segment("MSH")(9)) == "ACK*R01*ACK"


def test_another_library_reads_the_same() -> None:
    answer = acknowledgement(Head.of(message()), Reply("AE", "The report has no text.", BAD_CONTENT))
    assert answer is not None
    found = parse_message(answer.decode(), find_groups=False)
    assert (found.msa.msa_1.value, found.msa.msa_2.value) == ("AE", "77")
    assert (found.err.err_3.err_3_1.value, found.err.err_4.value) == ("207", "E")
    assert found.err.err_8.value == found.msa.msa_3.value == "The report has no text."
    assert found.msh.msh_9.value == "ACK^R01^ACK"


def test_what_has_no_head_is_answered_all_the_same() -> None:
    assert Head.of(b"PID|1") is Head.of(b"MSH|^~") is Head.of(b"") is None
    answer = acknowledgement(None, Reply("AR", "This is no HL7 v2 message."))
    assert answer is not None and code(hl7.parse(answer.decode())) == ("AR", "")

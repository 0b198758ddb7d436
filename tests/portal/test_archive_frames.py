"""Where frames lie in a file, however their fragments are listed; and what clients accept."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, itemize_frame
from pydicom.uid import JPEG2000Lossless, RLELossless

from portal.archive import media
from portal.archive.delivery import byte_range, fresh
from portal.archive.headers import Parsed, Unstorable, parse
from portal.core.errors import Refused
from tests.factories import archive as make

FRAMES = [bytes([n]) * (20 + 7 * n) + b"\xff\xd9" for n in range(1, 4)]


def parsed(folder: Path, pixels: bytes, frames: int = 3, syntax: str = JPEG2000Lossless, **values: object) -> Parsed:
    ds = make.image("CT", NumberOfFrames=frames, PixelData=pixels, **values)
    ds.file_meta.TransferSyntaxUID = syntax
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = folder / "x.dcm"
    path.write_bytes(make.encoded(ds))
    return parse(path)


def cut(folder: Path, found: Parsed) -> list[bytes]:
    content = (folder / "x.dcm").read_bytes()
    return [
        b"".join(content[o : o + n] for o, n in zip(table[::2], table[1::2], strict=True)).rstrip(b"\0")
        for table in found.frames
    ]


def items(*parts: bytes, table: bytes = b"") -> bytes:
    out = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(table)) + table
    for part in parts:
        out += b"\xfe\xff\x00\xe0" + struct.pack("<L", len(part)) + part
    return out


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("with_table", [True, False])
def test_frames_by_basic_table_or_by_the_end_of_their_codestreams(
    tmp_path: Path, fragments: int, with_table: bool
) -> None:
    found = parsed(tmp_path, encapsulate(FRAMES, fragments_per_frame=fragments, has_bot=with_table))
    assert cut(tmp_path, found) == FRAMES
    assert {len(table) for table in found.frames} == {2 * fragments}


def test_frames_by_extended_table_leave_out_the_padding(tmp_path: Path) -> None:
    odd = [frame + b"x" for frame in FRAMES]
    pixels, offsets, _ = encapsulate_extended(odd)
    lengths = struct.pack("<3Q", *map(len, odd))
    found = parsed(tmp_path, pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    assert [table[1] for table in found.frames] == [len(frame) for frame in odd]
    assert cut(tmp_path, found) == odd


@pytest.mark.parametrize("table", [struct.pack("<3L", 0, 4, 9), struct.pack("<3L", 0, 0, 0), struct.pack("<2L", 0, 8)])
def test_a_table_that_does_not_fit_is_not_believed(tmp_path: Path, table: bytes) -> None:
    parts = [piece for frame in FRAMES for piece in itemized(frame)]
    assert cut(tmp_path, parsed(tmp_path, items(*parts, table=table))) == FRAMES


def itemized(frame: bytes) -> list[bytes]:
    return [item[8:] for item in itemize_frame(frame, 2)]


def test_one_frame_of_many_fragments(tmp_path: Path) -> None:
    found = parsed(tmp_path, items(b"ab", b"cd", b"ef"), frames=1)
    assert cut(tmp_path, found) == [b"abcdef"]


@pytest.mark.parametrize(
    ("pixels", "syntax"),
    [
        (items(), JPEG2000Lossless),  # no fragment
        (items(b"abcd", b"efgh"), RLELossless),  # two fragments for three frames
        (items(b"abcd", b"ef\xff\xd9"), JPEG2000Lossless),  # one codestream for three frames
        (b"\xfe\xff\x00\xe0\x00\x00\x00\x00abcdefgh", JPEG2000Lossless),  # no items after the table
        (b"\xfe\xff\x00\xe0\xff\xff\xff\x7f", JPEG2000Lossless),  # longer than the file
    ],
)
def test_broken_fragments_are_refused(tmp_path: Path, pixels: bytes, syntax: str) -> None:
    with pytest.raises(Unstorable) as caught:
        parsed(tmp_path, pixels, syntax=syntax)
    assert caught.value.code in {"pixel_mismatch", "unreadable"}


@given(st.binary(max_size=400))
def test_noise_never_escapes(noise: bytes) -> None:
    good = make.encoded(make.image())
    with tempfile.NamedTemporaryFile() as file:
        file.write(good[: 132 + len(noise)] + noise)
        file.flush()
        try:
            found = parse(Path(file.name))
        except Unstorable:
            return
        assert found.study_uid and found.series_uid and found.sop_uid


J2K, EXPLICIT = str(JPEG2000Lossless), "1.2.840.10008.1.2.1"
PART = "multipart/related; type="


@pytest.mark.parametrize(
    ("accept", "stored", "sent"),
    [
        (PART + "application/octet-stream; transfer-syntax=*", J2K, (J2K, False)),
        (PART + '"application/octet-stream"; transfer-syntax=*', EXPLICIT, (EXPLICIT, False)),
        (PART + '"application/octet-stream"', J2K, (EXPLICIT, True)),
        (PART + '"application/octet-stream"', "1.2.840.10008.1.2", (EXPLICIT, False)),
        (PART + f'"application/octet-stream"; transfer-syntax={EXPLICIT}', J2K, (EXPLICIT, True)),
        (PART + f'"application/octet-stream"; transfer-syntax={J2K}', J2K, (J2K, False)),
        (PART + '"image/jp2"', J2K, (J2K, False)),
        ("*/*", J2K, (J2K, False)),
        ("", EXPLICIT, (EXPLICIT, False)),
        ("image/jpeg", J2K, None),
        (PART + f'"application/octet-stream"; transfer-syntax={J2K}', EXPLICIT, (J2K, True)),
        ("text/html, " + PART + '"application/octet-stream"; transfer-syntax=*; q=0.5', J2K, (J2K, False)),
        ("nonsense, ;;;, */*;q=0", J2K, None),
    ],
)
def test_what_is_sent_for_what_is_accepted(accept: str, stored: str, sent: tuple[str, bool] | None) -> None:
    offer = media.frame_offer(media.parse_accept(accept), stored)
    assert (None if offer is None else (offer.syntax, offer.decode)) == sent


@given(st.text(max_size=120))
def test_any_accept_header_is_read(header: str) -> None:
    for one in media.parse_accept(header):
        assert "/" in one.media and one.quality > 0


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("bytes=0-3", (0, 3)), ("bytes=4-", (4, 9)), ("bytes=-2", (8, 9)), ("bytes=5-99", (5, 9)),
     ("bytes=-", None), ("bytes=3-1", None), ("bytes=0-1,3-4", None), ("lines=1-2", None), ("", None)],
)  # fmt: skip
def test_ranges(header: str, wanted: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == wanted


def test_a_range_of_which_nothing_is_there() -> None:
    with pytest.raises(Refused) as refused:
        byte_range("bytes=10-", 10)
    assert refused.value.status == 416


def test_entity_tags() -> None:
    assert fresh('"a", W/"b"', '"b"') and fresh("*", '"a"')
    assert not fresh("", '"a"') and not fresh('"ab"', '"a"')

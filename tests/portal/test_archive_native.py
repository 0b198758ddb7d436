"""Frames that are read as they are stored are what pydicom makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, examples
from pydicom.data import get_testdata_files
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian

from portal.archive.decode import native_frame
from portal.archive.frames import frame_count
from portal.archive.render import shown
from tests.factories.archive import encoded, image


def test_every_file_of_pydicom() -> None:
    read = 0
    for name in get_testdata_files("*.dcm"):
        ds = dcmread(name, force=True)
        for frame in range(1, frame_count(ds) + 1):
            found = native_frame(Path(name), frame)
            if found is not None:
                header, pixels = found
                wanted = pixel_array(ds, index=frame - 1)
                assert np.array_equal(pixels, wanted) and pixels.dtype.kind == wanted.dtype.kind, name
                assert header.SOPClassUID == ds.SOPClassUID
                read += 1
    assert read > 20


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_shades_of_every_kind_of_pixel(signed: int, bits: int, tmp_path: Path) -> None:
    """A window by PS3.3 C.11.2.1.2.1, worked out pixel by pixel in float64."""
    kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    ends = np.iinfo(kind)
    pixels = np.random.default_rng(bits + signed).integers(ends.min, ends.max, (300, 260), kind, endpoint=True)
    ds = image("CT", Rows=300, Columns=260, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1,
               PixelRepresentation=signed, PixelData=pixels.tobytes(), RescaleSlope=2, RescaleIntercept=-7)  # fmt: skip
    ds["PixelData"].VR = "OW"
    path = tmp_path / "a.dcm"
    path.write_bytes(encoded(ds))
    found = native_frame(path, 1)
    assert found is not None and np.array_equal(found[1], pixels)
    centre, width = 10.0, 101.0 if bits == 8 else 30_001.0
    values = pixels.astype(np.float64) * 2 - 7
    wanted = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    assert np.abs(shown(*found, (centre, width, "LINEAR")).astype(np.float64) - wanted).max() <= 0.502


def test_what_is_left_to_the_decoders(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    overlay = image("CT")  # something in the bits above Bits Stored
    overlay.PixelData = (overlay.pixel_array | 0x8000).astype(np.uint16).tobytes()
    short = image("CT")
    short.PixelData = short.PixelData[:-100]
    colour = examples.rgb_color
    for ds in (overlay, short, colour, examples.jpeg2k):
        path.write_bytes(encoded(ds))
        assert native_frame(path, 1) is None
    path.write_bytes(encoded(image("CT")))
    assert native_frame(path, 1) is not None and native_frame(path, 2) is None
    big = image("CT")
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    out = io.BytesIO()
    big.save_as(out, implicit_vr=False, little_endian=False, enforce_file_format=True)
    path.write_bytes(out.getvalue())
    assert native_frame(path, 1) is None
    path.write_bytes(b"no DICOM at all")
    assert native_frame(path, 1) is None

"""The profile on real and planted headers: what identifies is gone, what is needed stays."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from portal.deidentify import rules
from portal.deidentify.files import write_instance
from portal.deidentify.keys import Keys
from portal.deidentify.profile import deidentify
from portal.deidentify.table import Options, rows
from portal.ingest.inspect import opened

KEYS = Keys(ids=b"i" * 32, uids=b"u" * 32, organisation=7, patient="PAAAABBBBCCCCD", days=-1000)
FULL = Options()


def cleaned(path: str | Path, options: Options = FULL) -> tuple[bytes, Dataset]:
    """Bytes of the clean file, and the data set read back from them."""
    with opened(Path(path)) as found:
        deidentify(found.dataset, KEYS, options)
        out = io.BytesIO()
        write_instance(out, found.dataset, found)
    return out.getvalue(), pydicom.dcmread(io.BytesIO(out.getvalue()))


def planted() -> Dataset:
    """A small header with an identity in every kind of place."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Müller-Lüdenscheidt^Heinrich", "HN-4711-99", "19310704"
    ds.PatientSex, ds.PatientSize, ds.EthnicGroup = "M", "1.80", "unknown"
    ds.StudyDate, ds.StudyTime, ds.AcquisitionDateTime = "20240131", "101112.5", "20240131101500.25+0100"
    ds.AccessionNumber, ds.InstitutionName = "ACC-778812", "Klinik am Entenweiher"
    ds.ReferringPhysicianName, ds.OperatorsName = "Doktor^Sommerfeld", "Winterberg^Anna"
    ds.StudyDescription = "CT Thorax Müller-Lüdenscheidt HN-4711-99 04.07.1931"
    ds.ImageComments = "call Heinrich"
    ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber = "ACME", "Scanner 3000", "SN0815"
    ds.add_new(0x00090010, "LO", "ACME PRIVATE")
    ds.add_new(0x00091001, "LO", "Heinrich again")
    item = Dataset()
    item.PatientID, item.ReferencedSOPInstanceUID = "HN-4711-99", generate_uid()
    item.CodeMeaning = "seen by Sommerfeld in room 4"
    inner = Dataset()
    inner.PersonName, inner.DateTime = "Müller-Lüdenscheidt^Heinrich", "20240131"
    inner.add_new(0x00111001, "UN", b"Heinrich")
    item.ContentSequence = Sequence([inner])
    ds.ReferencedImageSequence = Sequence([item])
    return ds


NAMES = ["Müller", "Lüdenscheidt", "Heinrich", "HN-4711", "19310704", "04.07.1931", "ACC-778812", "Entenweiher"]
NAMES += ["Sommerfeld", "Winterberg", "20240131"]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_no_planted_value_is_in_any_byte(syntax: str, tmp_path: Path) -> None:
    ds = planted()
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.SourceApplicationEntityTitle = "ENTENWEIHER"
    path = tmp_path / "in.dcm"
    ds.save_as(path, enforce_file_format=True)
    path.write_bytes(b"Heinrich".ljust(128, b"\0") + path.read_bytes()[128:])
    for name in NAMES:  # the plant itself works
        assert name.encode() in path.read_bytes() or name == "Entenweiher"
    raw, clean = cleaned(path)
    for name in NAMES:
        assert name.casefold().encode() not in raw.lower(), name
    for uid in (ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID):
        assert uid.encode() not in raw
    assert clean.PatientID == clean.PatientName == KEYS.patient
    assert clean.PatientIdentityRemoved == "YES"
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108", "113109", "113105"]
    assert (clean.PatientSex, clean.PatientSize, clean.PatientAge) == ("M", 1.8, "089Y")
    assert (clean.Manufacturer, clean.DeviceSerialNumber) == ("ACME", "SN0815")
    assert clean.StudyDescription == "CT Thorax %PATIENT NAME% %ID% %DATE%"
    assert not any(e.tag.is_private for e in clean.iterall())
    assert clean.StudyDate == rules.shift_date("20240131", -1000)
    assert clean.StudyTime == "101112.5"


def test_uids_stay_consistent_and_options_are_kept(tmp_path: Path) -> None:
    ds = planted()
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = ds.SOPInstanceUID
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    _, clean = cleaned(tmp_path / "in.dcm")
    assert clean.ReferencedImageSequence[0].ReferencedSOPInstanceUID == clean.SOPInstanceUID
    assert clean.file_meta.MediaStorageSOPInstanceUID == clean.SOPInstanceUID
    assert clean.SOPClassUID == ds.SOPClassUID
    _, kept = cleaned(tmp_path / "in.dcm", Options(uids=True))
    assert kept.SOPInstanceUID == ds.SOPInstanceUID
    assert kept.PatientID == KEYS.patient
    assert "113110" in [item.CodeValue for item in kept.DeidentificationMethodCodeSequence]


def place(dataset: Dataset, depth: int, tag: int, vr: str, value: object) -> None:
    for _ in range(depth):
        item = Dataset()
        dataset.add_new(0x00082112, "SQ", Sequence([item]))
        dataset = item
    dataset.add_new(tag, vr, value)


PLACES = [
    (0x00081030, "LO"), (0x0008103E, "LO"), (0x00104000, "LT"), (0x00204000, "LT"), (0x00400254, "LO"),
    (0x00181030, "LO"), (0x00080070, "LO"), (0x00081090, "LO"), (0x00181020, "LO"), (0x00081010, "SH"),
    (0x00100010, "PN"), (0x00081070, "PN"), (0x0040A123, "PN"), (0x0040A160, "UT"), (0x00080104, "LO"),
    (0x00091001, "LO"), (0x60000022, "LO"), (0x00321060, "LO"), (0x00102160, "SH"), (0x00181200, "DA"),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    depth=st.integers(0, 4),
    where=st.sampled_from(PLACES),
    before=st.sampled_from(["", "MG ", "(", "x-"]),
    after=st.sampled_from(["", " left", ")", "_2"]),
)
def test_a_planted_name_goes_from_anywhere(depth: int, where: tuple[int, str], before: str, after: str) -> None:
    ds = Dataset()
    ds.PatientName, ds.PatientID = "Quisenberry^Ottoline", "QX-90210"
    tag, vr = where
    place(ds, depth, tag, vr, f"{before}quisenberry{after}")
    deidentify(ds, KEYS, FULL)
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, implicit_vr=False, little_endian=True)
    assert b"quisenberry" not in out.getvalue().lower()


@pytest.mark.parametrize(
    "name",
    [
        "CT_small",
        "MR_small_RLE",
        "JPEG2000",
        "MR_small_bigendian",
        "SC_rgb_jpeg_dcmtk",
        "SC_rgb_rle_2frame",
        "MR_small_implicit",
    ],
)
def test_pixel_data_stay_byte_identical(name: str) -> None:
    path = Path(get_testdata_file(f"{name}.dcm"))
    before = pydicom.dcmread(path)
    _, after = cleaned(path)
    assert after.PixelData == before.PixelData
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert (after.Rows, after.Columns) == (before.Rows, before.Columns)


def test_nothing_behind_the_pixels_is_copied(tmp_path: Path) -> None:
    ds = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    ds.add_new(0x7FE10010, "LO", "ACME")
    ds.add_new(0x7FE11001, "LO", "Quisenberry")
    ds.add_new(0xFFFCFFFC, "OB", b"Quisenberry ")
    ds.save_as(tmp_path / "in.dcm")
    assert b"Quisenberry" in (tmp_path / "in.dcm").read_bytes()
    raw, clean = cleaned(tmp_path / "in.dcm")
    assert b"Quisenberry" not in raw
    assert clean.PixelData == ds.PixelData


def test_overlays_and_curves_go(tmp_path: Path) -> None:
    _, clean = cleaned(get_testdata_file("examples_overlay.dcm"))
    assert not [e for e in clean if e.tag.group >> 8 in {0x50, 0x60}]


def test_the_same_header_gives_the_same_bytes() -> None:
    path = get_testdata_file("CT_small.dcm")
    assert cleaned(path)[0] == cleaned(path)[0]


def test_worked_rows_of_table_e_1_1() -> None:
    """Rows as printed in PS3.15 2026c, with the options that are in force."""
    table = rows(FULL)
    wanted = {
        0x00080050: "Z",  # Accession Number: Z
        0x00080018: "U",  # SOP Instance UID: U
        0x00080020: "T",  # Study Date: Z, modified dates C
        0x00080080: "Z",  # Institution Name: X/Z/D
        0x00080081: "X",  # Institution Address: X
        0x00081030: "C",  # Study Description: X, clean descriptors C
        0x00100020: "D",  # Patient ID: Z/D
        0x00100030: "Z",  # Patient's Birth Date: Z
        0x00100040: "K",  # Patient's Sex: Z, patient characteristics K
        0x00101040: "X",  # Patient's Address: X
        0x00181000: "K",  # Device Serial Number: X/Z/D, device identity K
        0x0020000D: "U",  # Study Instance UID: U
        0x00081140: "U",  # Referenced Image Sequence: X/Z/U*
        0x00400275: "X",  # Request Attributes Sequence: X
        0x0040A730: "D",  # Content Sequence: D
    }
    assert {tag: table[tag].action for tag in wanted} == wanted
    assert len(table) > 620
    bare = rows(Options(modified_dates=False, patient_characteristics=False, device_identity=False, descriptors=False))
    assert (bare[0x00080020].action, bare[0x00100040].action, bare[0x00081030].action) == ("Z", "Z", "X")


@pytest.mark.parametrize("decoded", [False, True])
def test_geometry_survives_whether_or_not_it_was_decoded_before(decoded: bool) -> None:
    wanted = {
        "PixelSpacing": [0.661468, 0.661468],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-158.135803, -179.035797, -75.699997],
    }  # as dcmdump prints CT_small.dcm
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    if decoded:
        for _ in ds.iterall():
            pass
    deidentify(ds, Keys(b"a" * 32, b"b" * 32, 1, "P", -5), Options())
    assert {keyword: [float(v) for v in ds[keyword].value] for keyword in wanted} == wanted

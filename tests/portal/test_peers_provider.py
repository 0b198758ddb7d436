"""Concord as provider of C-FIND, C-MOVE and C-GET, asked by dcmtk's tools as real peers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from deploy.embedded.config import free_port
from portal.accounts.models import Organisation
from portal.archive.models import Study
from portal.core import storage
from portal.peers.listener import listen
from tests.factories import archive
from tests.factories.peers import dcmtk, orthanc, peer, run_dcmtk
from tests.factories.returns import pacs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lakeside(transactional_db: Any) -> Organisation:
    return archive.organisation("lakeside")


@pytest.fixture
def port(lakeside: Organisation) -> Iterator[int]:
    number = free_port()
    server = listen("127.0.0.1", number)
    yield number
    server.shutdown()


def ct(organisation: Organisation, slices: int = 3, **values: Any) -> Study:
    study, series = generate_uid(), generate_uid()
    images = [
        archive.image("CT", study=study, series=series, seed=n, InstanceNumber=n + 1, **values) for n in range(slices)
    ]
    return archive.settled(images, organisation)


def find(port: int, folder: Path, *keys: str, model: str = "-S", calling: str = "PACS1") -> list[pydicom.Dataset]:
    """What findscu gets, from the files that it writes."""
    for old in folder.glob("rsp*.dcm"):
        old.unlink()
    options = [part for key in keys for part in ("-k", key)]
    dcmtk("findscu", port, model, "-X", "-od", str(folder), *options, calling=calling)
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def test_find_at_every_level_of_both_models(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    peer(lakeside)
    mine = ct(lakeside, 3, PatientID="P-1", StudyDescription="Thorax nüchtern", SpecificCharacterSet="ISO_IR 192")
    other = ct(lakeside, 2, PatientID="P-2", StudyDate="20200101", StudyDescription="Head")
    ct(archive.organisation("harbour"), 2, PatientID="P-1")
    keys = ("PatientID=P-1", "StudyInstanceUID", "StudyDescription", "NumberOfStudyRelatedInstances")
    (answer,) = find(port, tmp_path, "QueryRetrieveLevel=STUDY", *keys)
    assert answer.StudyInstanceUID == mine.study_uid and answer.NumberOfStudyRelatedInstances == 3
    assert answer.StudyDescription == "Thorax nüchtern"
    assert answer.RetrieveAETitle == "CONCORD" and answer.QueryRetrieveLevel == "STUDY"
    both = find(port, tmp_path, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID=P-*")
    assert {a.StudyInstanceUID for a in both} == {mine.study_uid, other.study_uid}
    old = find(port, tmp_path, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", "StudyDate=20190101-20210101")
    assert [a.StudyInstanceUID for a in old] == [other.study_uid]
    listed = find(port, tmp_path, "QueryRetrieveLevel=STUDY", rf"StudyInstanceUID={mine.study_uid}\{other.study_uid}")
    assert len(listed) == 2
    assert find(port, tmp_path, "QueryRetrieveLevel=STUDY", "StudyDescription=head", "StudyInstanceUID")
    (series,) = find(
        port,
        tmp_path,
        "QueryRetrieveLevel=SERIES",
        f"StudyInstanceUID={mine.study_uid}",
        "SeriesInstanceUID",
        "Modality",
    )
    assert series.Modality == "CT" and series.SeriesInstanceUID == mine.series.get().series_uid
    images = find(
        port, tmp_path, "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={mine.study_uid}",
        f"SeriesInstanceUID={series.SeriesInstanceUID}", "SOPInstanceUID", "InstanceNumber", "Rows",
    )  # fmt: skip
    assert sorted(int(i.InstanceNumber) for i in images) == [1, 2, 3] and {i.Rows for i in images} == {40}
    patients = find(port, tmp_path, "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", model="-P")
    assert {p.PatientID for p in patients} == {"P-1", "P-2"}
    (one,) = find(port, tmp_path, "QueryRetrieveLevel=STUDY", "PatientID=P-2", "StudyInstanceUID", model="-P")
    assert one.StudyInstanceUID == other.study_uid


def test_bad_questions_get_a_status_and_the_next_is_answered(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    peer(lakeside)
    study = ct(lakeside, 1)
    for keys in (["StudyInstanceUID"], ["QueryRetrieveLevel=PATIENT"], ["QueryRetrieveLevel=STUDY", "StudyDate=never"]):
        options = [part for key in keys for part in ("-k", key)]
        assert "A900" in run_dcmtk("findscu", port, "-d", "-S", *options).stdout.upper()
    (found,) = find(port, tmp_path, "QueryRetrieveLevel=STUDY", "StudyInstanceUID")
    assert found.StudyInstanceUID == study.study_uid


def test_rights_are_each_peers_own(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    ct(lakeside, 1)
    peer(lakeside, "MUTE", may_query=False, may_retrieve=False)
    peer(archive.organisation("harbour"), "OTHER")
    told = run_dcmtk("findscu", port, "-S", "-k", "QueryRetrieveLevel=STUDY", calling="MUTE").stdout
    assert "No Acceptable Presentation Contexts" in told
    assert find(port, tmp_path, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", calling="OTHER") == []
    assert dcmtk("echoscu", port, calling="MUTE")
    quiet = peer(lakeside, "READER", may_store=False)
    refused = run_dcmtk("storescu", port, get_testdata_file("CT_small.dcm"), calling="READER")
    assert refused.returncode != 0 and quiet.source.receipts.count() == 0


def stored_files(study: Study) -> dict[str, bytes]:
    return {
        row.sop_uid: Path(storage.archive().path(row.name)).read_bytes() for row in study.instances.order_by("number")
    }


def data_set(content: bytes) -> bytes:
    """The bytes behind the file meta information."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def test_getscu_receives_what_is_stored_byte_for_byte(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    peer(lakeside)
    study = ct(lakeside, 4)
    ct(lakeside, 2)
    told = dcmtk(
        "getscu",
        port,
        "-S",
        "-od",
        str(tmp_path),
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={study.study_uid}",
    )
    assert "Number of Completed Suboperations : 4" in told
    got = {pydicom.dcmread(p).SOPInstanceUID: p.read_bytes() for p in tmp_path.iterdir()}
    kept = stored_files(study)
    assert got.keys() == kept.keys()
    for uid, content in kept.items():
        assert data_set(got[uid]) == data_set(content)


@pytest.mark.parametrize(
    ("name", "option", "syntax"),
    [
        ("JPEG2000.dcm", "+xw", "1.2.840.10008.1.2.4.91"),  # taken as it is stored
        ("JPEG2000.dcm", "+xe", "1.2.840.10008.1.2.1"),  # decoded
        ("MR_small_RLE.dcm", "+xi", "1.2.840.10008.1.2"),
        ("MR_small_bigendian.dcm", "+xi", "1.2.840.10008.1.2"),
    ],
)
def test_movescu_is_sent_what_its_destination_takes(
    port: int, lakeside: Organisation, tmp_path: Path, name: str, option: str, syntax: str
) -> None:
    """The destination is storescp, which takes one syntax only; the pixels are those of pydicom's own decoder."""
    original = pydicom.dcmread(get_testdata_file(name))
    study = archive.settled([Path(get_testdata_file(name)).read_bytes()], lakeside)
    peer(lakeside)
    with pacs(tmp_path / "got", None, option) as taker:
        peer(lakeside, "TAKER", port=taker.port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.study_uid}")
        told = dcmtk("movescu", port, "-d", "-S", "-aem", "TAKER", *keys)
    assert re.search(r"Completed Suboperations\s+: 1", told), told[-3000:]
    (got,) = taker.objects()
    assert got.file_meta.TransferSyntaxUID == syntax and got.SOPInstanceUID == original.SOPInstanceUID
    assert (got.pixel_array == original.pixel_array).all()


def test_move_counts_and_knows_its_destinations(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    peer(lakeside)
    study = ct(lakeside, 5)
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.study_uid}")
    unknown = run_dcmtk("movescu", port, "-d", "-S", "-aem", "NOBODY", *keys)
    assert "0xa801" in unknown.stdout.lower()
    with pacs(tmp_path / "pacs") as there:
        peer(archive.organisation("harbour"), "HARBOURS", port=there.port)
        assert "0xa801" in run_dcmtk("movescu", port, "-d", "-S", "-aem", "HARBOURS", *keys).stdout.lower()
        peer(lakeside, "PACS", port=there.port)
        told = dcmtk("movescu", port, "-d", "-S", "-aem", "PACS", *keys)
        assert re.findall(r"Remaining Suboperations\s+: (\d)", told) == ["4", "3", "2", "1", "0", "0"]
        assert {o.SOPInstanceUID for o in there.objects()} == set(stored_files(study))
    assert "0xa801" in run_dcmtk("movescu", port, "-d", "-S", "-aem", "PACS", *keys).stdout.lower()


def test_a_cancelled_move_stops_and_says_what_is_left(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    peer(lakeside)
    study = ct(lakeside, 60)
    with pacs(tmp_path / "pacs") as there:
        peer(lakeside, "PACS", port=there.port)
        ae = AE(ae_title="PACS1")
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
        assoc = ae.associate("127.0.0.1", port, ae_title="CONCORD")
        keys = pydicom.Dataset()
        keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", study.study_uid
        seen = []
        for status, _ in assoc.send_c_move(keys, "PACS", StudyRootQueryRetrieveInformationModelMove, msg_id=7):
            seen.append(status)
            if len(seen) == 3:
                assoc.send_c_cancel(7, None, StudyRootQueryRetrieveInformationModelMove)
        assoc.release()
        assert seen[-1].Status == 0xFE00
        assert seen[-1].NumberOfRemainingSuboperations + seen[-1].NumberOfCompletedSuboperations == 60
        assert 3 <= len(there.objects()) == seen[-1].NumberOfCompletedSuboperations < 60


def test_a_cancelled_find_stops(port: int, lakeside: Organisation) -> None:
    peer(lakeside)
    for number in range(30):
        ct(lakeside, 1, PatientID=f"P-{number}")
    ae = AE(ae_title="PACS1")
    ae.add_requested_context(PatientRootQueryRetrieveInformationModelFind)
    assoc = ae.associate("127.0.0.1", port, ae_title="CONCORD")
    keys = pydicom.Dataset()
    keys.QueryRetrieveLevel, keys.PatientID = "PATIENT", ""
    answers = [status.Status for status, _ in assoc.send_c_find(keys, PatientRootQueryRetrieveInformationModelFind)]
    assert answers == [0xFF00] * 30 + [0x0000]
    assoc.release()


def test_orthanc_finds_and_moves(port: int, lakeside: Organisation, tmp_path: Path) -> None:
    study = ct(lakeside, 3)
    with orthanc(tmp_path, port) as there:
        peer(lakeside, "ORTHANC", port=there.port)
        assert there.post("/modalities/concord/echo", {}) == {}
        query = {"Level": "Study", "Query": {"PatientID": "P-0001", "StudyDate": "20240101-"}}
        found = there.post("/modalities/concord/query", query)
        assert len(there.get(f"{found['Path']}/answers")) == 1
        there.post(f"{found['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
        kept = {there.get(f"/instances/{key}/simplified-tags")["SOPInstanceUID"] for key in there.get("/instances")}
    assert kept == set(stored_files(study))

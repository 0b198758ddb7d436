"""DICOMweb as dicomweb-client uses it: search, metadata, frames bit for bit, whole instances."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from portal.accounts.models import Organisation
from portal.archive.models import Instance, Study
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lakeside() -> Organisation:
    return make.organisation()


@pytest.fixture
def session(lakeside: Organisation) -> requests.Session:
    out = requests.Session()
    out.trust_env = False
    out.headers["Authorization"] = f"Bearer {make.token(make.user('dave', lakeside, 'pacs_admin'), lakeside)}"
    return out


@pytest.fixture
def root(live_server: Any) -> str:
    return f"{live_server.url}/dicomweb"


@pytest.fixture
def client(root: str, session: requests.Session) -> DICOMwebClient:
    return DICOMwebClient(url=root, session=session)


# name in pydicom's data: what is special about it
SYNTAXES = {
    "CT_small.dcm": "explicit little-endian",
    "MR_small_implicit.dcm": "implicit little-endian",
    "MR_small_bigendian.dcm": "big-endian",
    "SC_rgb_expb_16bit_2frame.dcm": "big-endian, colour, frames",
    "image_dfl.dcm": "deflated",
    "MR_small_RLE.dcm": "RLE",
    "SC_rgb_rle_2frame.dcm": "RLE, colour planes, frames",
    "emri_small_RLE.dcm": "RLE, ten frames",
    "MR_small_jpeg_ls_lossless.dcm": "JPEG-LS",
    "MR_small_jp2klossless.dcm": "JPEG 2000",
    "emri_small_jpeg_2k_lossless.dcm": "JPEG 2000, ten frames",
    "693_J2KI.dcm": "JPEG 2000, irreversible",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "JPEG lossless",
    "JPEG2000.dcm": "JPEG 2000, several fragments",
    "SC_rgb_jpeg_gdcm.dcm": "JPEG baseline, colour",
    "liver_1frame.dcm": "packed bits",
    "liver.dcm": "packed bits, frames",
    "SC_rgb_small_odd.dcm": "odd length",
    "OBXXXX1A_2frame.dcm": "palette, frames",
    "rtdose.dcm": "32 bits, frames",
    "color3d_jpeg_baseline.dcm": "JPEG baseline, 120 frames",
}


def sample(name: str) -> pydicom.Dataset:
    path = Path(get_testdata_file(name, download=False) or "")
    ds = pydicom.dcmread(path)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, generate_uid())  # some of the samples share theirs
    if not ds.get("SOPClassUID"):
        ds.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def uids(ds: pydicom.Dataset) -> tuple[str, str, str]:
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def test_every_transfer_syntax_comes_back_bit_for_bit(
    subtests: Any, lakeside: Organisation, client: DICOMwebClient, session: requests.Session, root: str
) -> None:
    for name, kind in SYNTAXES.items():
        with subtests.test(kind, file=name):
            check_syntax(name, lakeside, client, session, root)


def check_syntax(
    name: str, lakeside: Organisation, client: DICOMwebClient, session: requests.Session, root: str
) -> None:
    """Store the file; fetch it whole, its frames as stored and plain, and its pictures."""
    ds = sample(name)
    out = io.BytesIO()
    ds.save_as(out)
    content = out.getvalue()
    make.stored(content, lakeside)
    study, series, sop = uids(ds)
    address = f"{root}/studies/{study}/series/{series}/instances/{sop}"

    whole = session.get(address, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert whole.content == content
    kept = client.retrieve_instance(study, series, sop, media_types=(("application/dicom", "*"),))
    assert kept.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID

    frames = int(ds.get("NumberOfFrames", 1) or 1)
    wanted = sorted({1, frames, (frames + 1) // 2})
    stored = client.retrieve_instance_frames(
        study, series, sop, wanted, media_types=(("application/octet-stream", "*"),)
    )
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        parts = list(generate_frames(ds.PixelData, number_of_frames=frames))
        assert list(stored) == [parts[n - 1] for n in wanted]
    else:
        assert stored == [plain_frame(ds, n) for n in wanted]
    plain = client.retrieve_instance_frames(
        study, series, sop, wanted, media_types=(("application/octet-stream", str(ExplicitVRLittleEndian)),)
    )
    if str(ds.get("PhotometricInterpretation")) == "YBR_FULL_422":
        assert plain == [np.ascontiguousarray(pixel_array(ds, index=n - 1)).tobytes() for n in wanted]
    else:
        assert plain == [plain_frame(ds, n) for n in wanted]

    one = session.get(
        f"{address}/frames/1", headers={"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    )  # as Cornerstone asks
    sent = str(syntax) if syntax.is_encapsulated else str(ExplicitVRLittleEndian)
    assert f"\r\nContent-Type: application/octet-stream; transfer-syntax={sent}\r\n\r\n".encode() in one.content
    for way in ("rendered", "thumbnail", "frames/1/rendered"):
        picture = session.get(f"{address}/{way}")
        assert picture.status_code == 200 and picture.content[:2] == b"\xff\xd8", picture.text[:300]


def plain_frame(ds: pydicom.Dataset, number: int) -> bytes:
    """One frame as little-endian bytes, worked out from pydicom's whole array."""
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    array = pixel_array(ds, raw=True)
    frame = array[number - 1] if frames > 1 else array
    if ds.BitsAllocated == 1:
        return np.packbits(frame.ravel(), bitorder="little").tobytes()
    if frame.ndim == 3 and ds.get("PlanarConfiguration") == 1:
        frame = np.moveaxis(frame, -1, 0)
    return frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def test_metadata_is_the_header_without_bulk(lakeside: Organisation, client: DICOMwebClient,
                                             session: requests.Session, root: str, settings: Any) -> None:  # fmt: skip
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 64
    icon.BitsAllocated, icon.PixelData = 8, bytes(range(256)) * 16
    icon["PixelData"].VR = "OB"
    images = [make.image("CT", InstanceNumber=n, study="1.2.3", series="1.2.3.4", seed=n) for n in range(1, 6)]
    images[0].IconImageSequence = [icon]
    study = make.settled(images, lakeside)
    found = client.retrieve_study_metadata(study.study_uid)
    assert [entry["00200013"]["Value"] for entry in found] == [[1], [2], [3], [4], [5]]
    again = pydicom.Dataset.from_json(found[1], bulk_data_uri_handler=lambda *_: b"")
    for element in images[1]:
        if element.keyword != "PixelData":
            assert again[element.tag].value == element.value, element.keyword
    assert "BulkDataURI" in found[0]["7FE00010"]
    inner = found[0]["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"]
    assert inner.startswith(settings.PUBLIC_URL)
    bulk = session.get(
        inner.replace(f"{settings.PUBLIC_URL}/dicomweb", root), headers={"Accept": "application/octet-stream"}
    )
    assert bulk.content == icon.PixelData
    address = f"{root}/studies/{study.study_uid}/metadata"
    packed = session.get(address)
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Content-Type"] == "application/dicom+json"
    same = session.get(address, headers={"If-None-Match": packed.headers["ETag"]})
    assert same.status_code == 304 and not same.content
    bare = session.get(address, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in bare.headers and bare.json() == packed.json()
    assert len(client.retrieve_series_metadata(study.study_uid, "1.2.3.4")) == 5
    sop = images[0].SOPInstanceUID
    assert client.retrieve_instance_metadata(study.study_uid, "1.2.3.4", sop)["00080018"]["Value"] == [sop]
    # a late image is there at once, before the study settles again
    make.stored(make.image("CT", InstanceNumber=6, study="1.2.3", series="1.2.3.4"), lakeside)
    assert len(client.retrieve_study_metadata("1.2.3")) == 6
    assert session.get(address, headers={"If-None-Match": packed.headers["ETag"]}).status_code == 200


@pytest.fixture
def shelf(lakeside: Organisation) -> list[Study]:
    """Twelve studies of three patients over twelve days."""
    out = []
    for n in range(12):
        values = {
            "PatientID": f"P-{n % 3}", "PatientName": f"Anon^{'ABC'[n % 3]}lpha", "StudyDate": f"202401{n + 1:02d}",
            "AccessionNumber": f"A{n}", "StudyDescription": f"Screening 100%_{n}", "SeriesDescription": f"Series {n}",
        }  # fmt: skip
        out.append(make.settled([make.image("MG" if n % 2 else "CT", **values)], lakeside))
    return out


FOUND: list[tuple[dict[str, str], Any]] = [
    ({}, range(12)),
    ({"PatientID": "P-1"}, [1, 4, 7, 10]),
    ({"00100020": "P-1"}, [1, 4, 7, 10]),
    ({"PatientID": "p-1"}, []),  # identifiers are matched to the letter
    ({"PatientID": "P-*"}, range(12)),
    ({"PatientID": "P-?"}, range(12)),
    ({"PatientName": "anon^b*"}, [1, 4, 7, 10]),  # names are not
    ({"PatientName": "Anon^Alpha"}, [0, 3, 6, 9]),
    ({"PatientName": "*LPHA"}, range(12)),
    ({"AccessionNumber": "A7"}, [7]),
    ({"AccessionNumber": "A1*"}, [1, 10, 11]),
    ({"StudyDate": "20240103"}, [2]),
    ({"StudyDate": "20240103-20240105"}, [2, 3, 4]),
    ({"StudyDate": "20240111-"}, [10, 11]),
    ({"StudyDate": "-20240102"}, [0, 1]),
    ({"ModalitiesInStudy": "MG"}, [1, 3, 5, 7, 9, 11]),
    ({"ModalitiesInStudy": "MG,CT"}, range(12)),
    ({"ModalitiesInStudy": "US"}, []),
    ({"Modality": "CT"}, [0, 2, 4, 6, 8, 10]),
    ({"StudyDescription": "screening 100%_5"}, [5]),
    ({"StudyDescription": "*%_1*"}, [1, 10, 11]),  # % and _ are letters
    ({"PatientAge": "061Y"}, range(12)),
    ({"PatientAge": "001Y"}, []),
    ({"fuzzymatching": "false", "PatientID": "P-0", "ModalitiesInStudy": "CT"}, [0, 6]),
]


def test_studies_are_found(subtests: Any, shelf: list[Study], client: DICOMwebClient) -> None:
    by_uid = {study.study_uid: n for n, study in enumerate(shelf)}
    for filters, wanted in FOUND:
        with subtests.test(str(filters)):
            found = client.search_for_studies(search_filters=filters)
            assert sorted(by_uid[entry["0020000D"]["Value"][0]] for entry in found) == sorted(wanted)


def test_answers_hold_what_the_standard_asks(shelf: list[Study], client: DICOMwebClient, root: str,
                                             session: requests.Session) -> None:  # fmt: skip
    study = shelf[5]
    [entry] = client.search_for_studies(search_filters={"StudyInstanceUID": study.study_uid}, fields=["00081030"])
    for tag, value in {"00080061": "MG", "00201206": 1, "00201208": 1, "00080020": "20240106", "00080050": "A5",
                       "00100020": "P-2"}.items():  # fmt: skip
        assert entry[tag]["Value"] == [value], tag
    several = ",".join(s.study_uid for s in shelf[2:5])
    assert len(client.search_for_studies(search_filters={"StudyInstanceUID": several})) == 3
    [series] = client.search_for_series(study.study_uid)
    assert series["00080060"]["Value"] == ["MG"] and series["00201209"]["Value"] == [1]
    assert len(client.search_for_series()) == 12
    assert len(client.search_for_series(search_filters={"Modality": "CT", "PatientID": "P-0"})) == 2
    [instance] = client.search_for_instances(study.study_uid)
    assert instance["00280010"]["Value"] == [40] and instance["00083002"]["Value"] == [str(ExplicitVRLittleEndian)]
    assert "00280101" not in instance
    [fuller] = client.search_for_instances(study.study_uid, fields=["BitsStored"])
    assert fuller["00280101"]["Value"] == [12]
    assert len(client.search_for_instances(search_filters={"SOPClassUID": make.CLASSES["CT"]})) == 6
    series_uid = series["0020000E"]["Value"][0]
    assert len(client.search_for_instances(study.study_uid, series_uid)) == 1
    none = session.get(f"{root}/studies", params={"PatientID": "nobody"})
    assert none.status_code == 204 and not none.content


def test_pages_by_offset_and_by_key(shelf: list[Study], root: str, session: requests.Session) -> None:
    newest_first = [study.study_uid for study in reversed(shelf)]

    def uids_of(answer: requests.Response) -> list[str]:
        return [entry["0020000D"]["Value"][0] for entry in answer.json()]

    assert uids_of(session.get(f"{root}/studies", params={"limit": 5, "offset": 3})) == newest_first[3:8]
    address, seen = f"{root}/studies?limit=5", []
    while address:
        answer = session.get(address)
        seen += uids_of(answer)
        address = answer.links.get("next", {}).get("url", "")
    assert seen == newest_first


NONSENSE = ("limit=x", "offset=-1", "offset=99999999", "StudyDate=2024", "StudyDate=a-b", "Nonsense=1",
            "PatientName=*a*b*c*d*e*f*g*h*i*")  # fmt: skip


def test_nonsense_is_named(subtests: Any, shelf: list[Study], root: str, session: requests.Session) -> None:
    for query in NONSENSE:
        with subtests.test(query):
            answer = session.get(f"{root}/studies?{query}")
            assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_query"
    assert session.get(f"{root}/studies?Modality=%00").status_code == 200  # nothing left: universal matching


def test_a_whole_study_and_transcoding(lakeside: Organisation, client: DICOMwebClient, session: requests.Session,
                                       root: str) -> None:  # fmt: skip
    images = make.case_of_four()
    study = make.settled(images, lakeside)
    got = client.retrieve_study(study.study_uid)
    assert {ds.SOPInstanceUID for ds in got} == {ds.SOPInstanceUID for ds in images}
    assert len(client.retrieve_series(study.study_uid, images[0].SeriesInstanceUID)) == 4
    packed = sample("MR_small_RLE.dcm")
    out = io.BytesIO()
    packed.save_as(out)
    make.stored(out.getvalue(), lakeside)
    plain = client.retrieve_instance(*uids(packed), media_types=(("application/dicom", str(ExplicitVRLittleEndian)),))
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (plain.pixel_array == packed.pixel_array).all()
    study_uid, series_uid, sop = uids(images[0])
    address = f"{root}/studies/{study_uid}/series/{series_uid}/instances/{sop}"
    part = session.get(address, headers={"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=128-131"})
    assert (part.status_code, part.content) == (206, b"DICM")


def test_frames_are_kept_by_the_browser_and_wrong_ones_refused(
    lakeside: Organisation, session: requests.Session, root: str
) -> None:
    ds = make.image("CT", NumberOfFrames=3)
    make.stored(ds, lakeside)
    address = "{}/studies/{}/series/{}/instances/{}".format(root, *uids(ds))
    first = session.get(f"{address}/frames/2")
    assert "immutable" in first.headers["Cache-Control"] and "private" in first.headers["Cache-Control"]
    assert session.get(f"{address}/frames/2", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    single = session.get(f"{address}/frames/2", headers={"Accept": "application/octet-stream"})
    size = 40 * 32 * 2
    assert single.content == ds.PixelData[size : 2 * size]
    for numbers, accept, status in (("4", "*/*", 404), ("0", "*/*", 404), ("1,2", "application/octet-stream", 406),
                                    ("1", "image/gif", 406), ("1", "text/html", 406)):  # fmt: skip
        assert session.get(f"{address}/frames/{numbers}", headers={"Accept": accept}).status_code == status
    assert session.post(f"{address}/frames/1").status_code == 405
    assert session.get(f"{address}/rendered?window=40,0").status_code == 400
    assert session.get(f"{address}/rendered?viewport=100000,100000").status_code == 400
    assert session.get(f"{address}/bulkdata/00100010").status_code == 404


ADDRESSES = [
    "studies/{}", "studies/{}/series", "studies/{}/instances", "studies/{}/metadata", "studies/{}/thumbnail",
    "studies/{}/rendered", "studies/{}/series/{}", "studies/{}/series/{}/metadata", "studies/{}/series/{}/instances",
    "studies/{}/series/{}/thumbnail", "studies/{}/series/{}/instances/{}", "studies/{}/series/{}/instances/{}/metadata",
    "studies/{}/series/{}/instances/{}/frames/1", "studies/{}/series/{}/instances/{}/rendered",
    "studies/{}/series/{}/instances/{}/thumbnail", "studies/{}/series/{}/instances/{}/bulkdata/7FE00010",
]  # fmt: skip


def test_who_may_read(lakeside: Organisation, live_server: Any) -> None:
    ds = make.image()
    make.stored(ds, lakeside)
    harbour = make.organisation("harbour")
    people = {
        200: [(lakeside, "reader"), (lakeside, "coordinator"), (lakeside, "engineer"), (lakeside, "pacs_admin"),
              (lakeside, "auditor")],
        404: [(lakeside, "account_admin"), (harbour, "pacs_admin")],
    }  # fmt: skip
    addresses = [f"{live_server.url}/dicomweb/" + a.format(*uids(ds)) for a in ADDRESSES]
    everywhere = [f"{live_server.url}/dicomweb/{level}" for level in ("studies", "series", "instances")]
    for status, those in people.items():
        for org, role in those:
            token = make.token(make.user(f"{org.slug}-{role}", org, role), org)
            headers = {"Authorization": f"Bearer {token}"}
            for address in addresses:
                assert requests.get(address, headers=headers, timeout=30).status_code == status, (role, address)
            for address in everywhere:
                found = requests.get(address, headers=headers, timeout=30)
                assert found.status_code == (200 if status == 200 else 204)
    for address in [*addresses, *everywhere]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "sessionid=wrong"}):
            answer = requests.get(address, headers=headers, allow_redirects=False, timeout=30)
            assert answer.status_code == 401 and "WWW-Authenticate" in answer.headers
            assert answer.json()["error"]["code"] == "not_signed_in"


def test_nothing_ever_changes_a_stored_file(lakeside: Organisation, session: requests.Session, root: str) -> None:
    ds = make.image()
    make.stored(ds, lakeside)
    row = Instance.objects.get()
    address = "{}/studies/{}/series/{}/instances/{}".format(root, *uids(ds))
    got = session.get(address, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert hashlib.sha256(got.content).hexdigest() == row.sha256 and len(got.content) == row.size

"""What a client may ask of WADO beyond stored bytes: other syntaxes, ranges, versions, pictures, and WADO-URI."""

from __future__ import annotations

import io
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from django.test import Client
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from portal.accounts.models import Organisation
from tests.factories import archive as make

pytestmark = pytest.mark.django_db
SAMPLES = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb.dcm", "SC_rgb_rle_2frame.dcm",
           "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]  # fmt: skip
LOSSLESS = [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]


@pytest.fixture
def lakeside() -> Organisation:
    return make.organisation()


@pytest.fixture
def client(lakeside: Organisation) -> Client:
    return Client(HTTP_AUTHORIZATION=f"Bearer {make.token(make.user('dave', lakeside, 'pacs_admin'), lakeside)}")


def address(ds: pydicom.Dataset) -> str:
    return f"/dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def get(client: Client, path: str, accept: str = "*/*", **headers: str) -> Any:
    answer = client.get(path, headers={"Accept": accept, **{k.replace("_", "-"): v for k, v in headers.items()}})
    if answer.streaming:
        answer.body = b"".join(answer.streaming_content)
    else:
        answer.body = answer.content
    return answer


def parts(answer: Any) -> list[tuple[str, bytes]]:
    """(Content-Type, content) of each part, by the standard library's parser."""
    head = f"Content-Type: {answer['Content-Type']}\r\n\r\n".encode()
    whole = message_from_bytes(head + answer.body)
    return [(part["Content-Type"], part.get_payload(decode=True)) for part in whole.get_payload()]


def sample(name: str) -> pydicom.Dataset:
    ds = pydicom.dcmread(Path(get_testdata_file(name, download=False) or ""))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, generate_uid())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


@pytest.mark.parametrize("name", SAMPLES)
def test_any_lossless_syntax_is_made_of_any(lakeside: Organisation, client: Client, name: str) -> None:
    ds = sample(name)
    make.stored(make.encoded(ds), lakeside)
    before = ds.pixel_array
    for syntax in LOSSLESS:
        answer = get(client, address(ds), f"application/dicom; transfer-syntax={syntax}")
        after = pydicom.dcmread(io.BytesIO(answer.body))
        assert after.file_meta.TransferSyntaxUID == syntax, answer.body[:200]
        assert np.array_equal(after.pixel_array, before), (name, syntax)
        assert after.SOPInstanceUID == ds.SOPInstanceUID
        one = f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
        [(kind, frame)] = parts(get(client, f"{address(ds)}/frames/1", one))
        assert kind.endswith(f"transfer-syntax={syntax}")
        if syntax.is_encapsulated:
            after.PixelData = encapsulate([frame])
            after.NumberOfFrames = 1
            again = after.pixel_array
            assert np.array_equal(again, before[0] if name == "SC_rgb_rle_2frame.dcm" else before), (name, syntax)


def test_an_image_type_means_its_syntax(lakeside: Organisation, client: Client) -> None:
    ds = make.image("CT")
    make.stored(ds, lakeside)
    for kind, syntax in (
        ("image/jls", JPEGLSLossless),
        ("image/jp2", JPEG2000Lossless),
        ("image/dicom-rle", RLELossless),
    ):
        [(found, _)] = parts(get(client, f"{address(ds)}/frames/1", f'multipart/related; type="{kind}"'))
        assert found == f"{kind}; transfer-syntax={syntax}"
    octets = f"application/octet-stream;transfer-syntax={ImplicitVRLittleEndian}"
    by_weight = f"image/jls;q=0.1, multipart/related;type=image/jp2;q=0.8, {octets}"
    assert get(client, f"{address(ds)}/frames/1", by_weight)["Content-Type"].startswith("application/octet-stream")
    for refused in ("image/jphc", "image/jpeg", "text/html", "application/dicom; transfer-syntax=1.2.3", "*/*;q=0"):
        answer = get(client, f"{address(ds)}/frames/1", refused)
        assert answer.status_code == 406 and answer.json()["error"]["message"], refused
    named = get(client, f"{address(ds)}/metadata?accept=application/dicom%2Bjson", "text/html")
    assert named.status_code == 200
    assert get(client, f"{address(ds)}/metadata?accept=text/html").status_code == 406


def test_ranges_and_versions(lakeside: Organisation, client: Client) -> None:
    ds = make.image("CT")
    ds.add_new(0x00420011, "OB", bytes(range(256)) * 8)
    content = make.encoded(ds)
    make.stored(content, lakeside)
    whole, bulk = "application/dicom; transfer-syntax=*", "application/octet-stream"
    for path, accept, wanted in (
        (address(ds), whole, content),
        (f"{address(ds)}/bulkdata/00420011", bulk, ds[0x00420011].value),
    ):
        first = get(client, path, accept)
        tag, size = first["ETag"], len(wanted)
        assert first.body == wanted
        for asked, start, end in (
            ("bytes=10-19", 10, 20),
            ("bytes=-7", size - 7, size),
            (f"bytes={size - 3}-", size - 3, size),
            ("bytes=5-999999999", 5, size),
        ):
            answer = get(client, path, accept, Range=asked)
            assert (answer.status_code, answer.body) == (206, wanted[start:end]), asked
            assert answer["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert get(client, path, accept, Range=f"bytes={size}-").status_code == 416
        assert get(client, path, accept, Range="bytes=0-1", If_Range='"other"').body == wanted
        assert get(client, path, accept, Range="bytes=0-1", If_Range=tag).body == wanted[:2]
        assert get(client, path, accept, Range="pages=1-2").body == wanted
        assert get(client, path, accept, If_None_Match=f'"x", {tag}').status_code == 304
        assert get(client, path, accept, If_Match='"x"').status_code == 412
        assert get(client, path, accept, If_Match=tag).status_code == 200
    study = address(ds).partition("/series")[0]
    several = get(client, study)
    assert parts(several)[0][1] == content
    assert get(client, study, If_None_Match=several["ETag"]).status_code == 304
    make.stored(make.image("CT", study=ds.StudyInstanceUID), lakeside)
    assert len(parts(get(client, study, If_None_Match=several["ETag"]))) == 2


def picture(answer: Any) -> Image.Image:
    assert answer.status_code == 200, answer.body[:300]
    return Image.open(io.BytesIO(answer.body))


def test_pictures(lakeside: Organisation, client: Client) -> None:
    ds = make.image("CT", NumberOfFrames=4, FrameTime="50", WindowCenter=2048, WindowWidth=4096)
    make.stored(ds, lakeside)
    path = address(ds)
    moving = picture(get(client, f"{path}/rendered", "image/gif"))
    assert moving.format == "GIF" and moving.n_frames == 4 and moving.info["duration"] == 50  # type: ignore[attr-defined]
    several = parts(get(client, f"{path}/frames/1,3/rendered", "image/png"))
    assert [kind for kind, _ in several] == ["image/png"] * 2
    for (_, content), number in zip(several, (0, 2), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(content))).astype(float)
        wanted = (ds.pixel_array[number] - 2047.5) / 4095 + 0.5  # PS3.3 C.11.2.1.2.1
        assert np.abs(shown - np.clip(wanted, 0, 1) * 255).max() <= 1
    plain = picture(get(client, f"{path}/rendered?viewport=320,400", "image/png"))
    marked = picture(get(client, f"{path}/rendered?viewport=320,400&annotation=patient", "image/png"))
    technique = picture(get(client, f"{path}/rendered?viewport=320,400&annotation=patient,technique", "image/png"))
    assert plain.size == (320, 400)
    changed = [np.argwhere(np.asarray(image) != np.asarray(plain)) for image in (marked, technique)]
    assert 50 < len(changed[0]) < len(changed[1])
    assert changed[0][:, 1].max() < 160 < changed[1][:, 1].max()  # the patient stands left, the technique right
    for query in ("annotation=phone", "iccprofile=rommrgb", "window=1", "window=a,b", "quality=0", "quality=101",
                  "viewport=1,2,3", "viewport=-5,5", "window=1,1,cubic"):  # fmt: skip
        assert get(client, f"{path}/rendered?{query}").status_code == 400, query
    assert get(client, f"{path}/rendered", "image/webp").status_code == 406
    study = path.partition("/series")[0]
    make.stored(make.image("CT", study=ds.StudyInstanceUID), lakeside)
    together = parts(get(client, f"{study}/rendered", 'multipart/related; type="image/jpeg"'))
    assert len(together) == 2 and all(content[:2] == b"\xff\xd8" for _, content in together)
    for level in (study, path.partition("/instances")[0], path, f"{path}/frames/2"):
        small = picture(get(client, f"{level}/thumbnail"))
        assert max(small.size) == 256


def test_colour_carries_a_profile_where_asked(lakeside: Organisation, client: Client) -> None:
    ds = sample("SC_rgb.dcm")
    make.stored(make.encoded(ds), lakeside)
    assert "icc_profile" not in picture(get(client, f"{address(ds)}/rendered")).info
    for wanted in ("yes", "srgb"):
        assert b"RGB XYZ " in picture(get(client, f"{address(ds)}/rendered?iccprofile={wanted}")).info["icc_profile"]


def test_wado_uri(lakeside: Organisation, client: Client) -> None:
    ds = sample("MR_small_RLE.dcm")
    content = make.encoded(ds)
    make.stored(content, lakeside)
    uids = {"studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID, "objectUID": ds.SOPInstanceUID}

    def ask(**more: Any) -> Any:
        return get(
            client, "/dicomweb/wado?" + "&".join(f"{k}={v}" for k, v in {"requestType": "WADO", **uids, **more}.items())
        )

    assert picture(ask()).format == "JPEG" and picture(ask(contentType="image/png,image/jpeg")).format == "PNG"
    file = ask(contentType="application/dicom", anonymize="yes")
    got = pydicom.dcmread(io.BytesIO(file.body))
    assert file["Content-Type"] == "application/dicom" and got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(got.pixel_array, ds.pixel_array)
    assert ask(contentType="application/dicom", transferSyntax=RLELossless).body == content
    rows, columns = ds.Rows, ds.Columns
    assert picture(ask(columns=32)).size == (32, round(32 * rows / columns))
    assert picture(ask(region="0.25,0.5,0.75,1")).size == (columns // 2, rows // 2)
    low, high = (
        np.asarray(picture(ask(windowCenter=c, windowWidth=400, contentType="image/png"))) for c in (100, 3000)
    )
    assert low.mean() > high.mean() + 20
    for wrong in ({"requestType": "X"}, {"objectUID": ""}, {"frameNumber": "x"}, {"region": "1"}, {"windowCenter": 5},
                  {"rows": 99999}, {"presentationUID": "1.2"}, {"imageQuality": 900}):  # fmt: skip
        assert ask(**wrong).status_code == 400, wrong
    for gone in ({"frameNumber": 2}, {"objectUID": "1.2.3"}):
        assert ask(**gone).status_code == 404, gone
    assert ask(contentType="text/html").status_code == 406

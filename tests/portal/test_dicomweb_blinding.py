"""Blinding over DICOMweb: what others say of a scan comes through no door to who reads it without being told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage, generate_uid

from portal.accounts.models import ApiToken, Membership, Organisation, Role, User
from portal.archive import rules
from portal.archive.actions import settle_study
from portal.archive.fastpath import FastFrames
from portal.archive.fastsearch import FastSearch
from portal.archive.models import Study
from portal.consensus.actions import merge_case
from portal.export import gsps, masks
from portal.export.returns.contents import headers, images_of
from portal.export.shapes import Shape
from portal.programmes.models import Case, PanelMember, Protocol
from portal.second_read.actions import compare_reading
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case, submit
from tests.portal.test_archive_fastsearch import Ways
from tests.support import in_own_loop

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 1, 2, 3, 4, 5)
WORD = "SuspiciousMass"  # in the series' descriptions of what is said, and nowhere else
ANY = 'multipart/related; type="{}"; transfer-syntax=*'


@dataclass
class Scan:
    """A mammography case, and what came with it: reports, masks, a drawing, a document, a picture of a result."""

    case: Case
    image: Dataset
    said: dict[str, Dataset]

    @property
    def study(self) -> str:
        return str(self.image.StudyInstanceUID)

    def hints(self) -> list[str]:
        """What none may find who is not told."""
        return [WORD, *(str(ds.SOPInstanceUID) for ds in self.said.values())]


def report(study: str, series: str = "") -> Dataset:
    ds = dcmread(str(get_testdata_file("test-SR.dcm")))
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series or generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientID, ds.SeriesDescription = "P-0001", WORD
    return ds


@pytest.fixture
def scan(cast: Cast) -> Scan:
    case = open_case(cast)
    study = case.study
    first = study.instances.select_related("series").order_by("pk")[0]
    source = headers(images_of(study).filter(pk=first.pk))
    shapes = [Shape(first.sop_uid, 1, "rectangle", ((3.0, 4.0), (10.0, 12.0)), "Mass", "READER 1", "a", "Mass", 80.0)]
    (state,) = gsps.build(source, gsps.Overlay(shapes, {}, "u", "s", NOW, WORD, "d", "1", "s"))
    (mask,) = masks.build(source, masks.Marked(shapes, "u2", "s2", NOW, "1"))
    mask.SeriesDescription = WORD
    paper = make.image("MG", study=study.study_uid, SOPClassUID=EncapsulatedPDFStorage, Modality="DOC",
                       SeriesDescription=WORD, EncapsulatedDocument=b"%PDF-1.4" + bytes(3000), Rows=None, Columns=None,
                       SamplesPerPixel=None, BitsAllocated=None, BitsStored=None, HighBit=None, PixelData=b"",
                       PhotometricInterpretation=None, PixelRepresentation=None)  # fmt: skip
    del paper.PixelData
    paper["EncapsulatedDocument"].VR = "OB"
    picture = make.image("MG", study=study.study_uid, SOPClassUID=SecondaryCaptureImageStorage, Manufacturer="Concord",
                         SeriesDescription=WORD)  # fmt: skip
    said = {
        "report": report(study.study_uid),
        "stray report": report(study.study_uid, first.series.series_uid),  # in the series of an image
        "state": state,
        "mask": mask,
        "paper": paper,
        "picture": picture,
    }
    for ds in said.values():
        make.stored(ds, cast.lakeside)
    assert settle_study(study.pk)
    return Scan(Case.objects.get(pk=case.pk), source[0], said)


def doors(ds: Dataset) -> dict[str, tuple[str, str]]:
    """Name → (address, Accept) of every way to one instance, or to its series."""
    series = f"/dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    one = f"{series}/instances/{ds.SOPInstanceUID}"
    uri = (
        f"/dicomweb/wado?requestType=WADO&studyUID={ds.StudyInstanceUID}&seriesUID={ds.SeriesInstanceUID}"
        f"&objectUID={ds.SOPInstanceUID}&contentType="
    )
    whole, octets, json_ = ANY.format("application/dicom"), ANY.format("application/octet-stream"), "application/json"
    found = {
        "instance": (one, whole),
        "file": (one, "application/dicom; transfer-syntax=*"),
        "instance metadata": (f"{one}/metadata", json_),
        "file by URI": (f"{uri}application/dicom", "*/*"),
        "page of a layer": (f"/api/v1/studies/{ds.StudyInstanceUID}/layers/{ds.SOPInstanceUID}/", json_),
    }
    if ds.get("Rows"):
        found |= {
            "frame": (f"{one}/frames/1", octets),
            "pixels": (f"{one}/bulkdata/7FE00010", octets),
            "rendered": (f"{one}/rendered", "image/jpeg"),
            "rendered frame": (f"{one}/frames/1/rendered", "image/png"),
            "thumbnail": (f"{one}/thumbnail", "image/jpeg"),
            "frame's thumbnail": (f"{one}/frames/1/thumbnail", "image/jpeg"),
            "picture by URI": (f"{uri}image/jpeg", "*/*"),
            "series rendered": (f"{series}/rendered", "image/jpeg"),
            "series thumbnail": (f"{series}/thumbnail", "image/jpeg"),
        }
    if "EncapsulatedDocument" in ds:
        found["document"] = (f"{one}/bulkdata/00420011", octets)
    found |= {
        "series": (series, whole),
        "series metadata": (f"{series}/metadata", json_),
        "search in series": (f"{series}/instances", json_),
    }
    return found


def searches(study: str) -> dict[str, str]:
    """Name → address of whatever tells of several instances at once."""
    root = "/dicomweb/studies"
    return {
        "studies": f"{root}?StudyInstanceUID={study}&includefield=all",
        "studies by what is said": f"{root}?SeriesDescription={WORD}&StudyInstanceUID={study}",
        "studies by class": f"{root}?SOPClassUID={EncapsulatedPDFStorage}&StudyInstanceUID={study}",
        "series of study": f"{root}/{study}/series",
        "instances of study": f"{root}/{study}/instances?includefield=all",
        "all series": f"/dicomweb/series?StudyInstanceUID={study}",
        "all instances": f"/dicomweb/instances?StudyInstanceUID={study}&includefield=all",
        "all instances by modality": f"/dicomweb/instances?Modality=SEG&StudyInstanceUID={study}",
        "metadata": f"{root}/{study}/metadata",
        "whole study": f"{root}/{study}",
        "layers": f"/api/v1/studies/{study}/layers/",
        "page": f"/scans/{study}/",
        "page of layers": f"/scans/{study}/layers/",
    }


class Whole(Ways):
    """All doors one behind the other, as the server has them."""

    def __init__(self) -> None:
        super().__init__()
        self.door = FastSearch(FastFrames(self.door.app))


def signed_in(user: User) -> dict[str, str]:
    """A session's headers."""
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def by_token(user: User, used: bool = True) -> dict[str, str]:
    """A token's; one that was not used lately takes Django's way."""
    org: Organisation = user.memberships.get().organisation
    token = make.token(user, org)
    if used:
        ApiToken.objects.filter(prefix=token[:8]).update(last_used_at=timezone.now())
    return {"Authorization": f"Bearer {token}"}


async def open_to(ways: Ways, who: dict[str, str], scan: Scan) -> set[str]:
    """The doors through which who asks comes to what is said, each asked twice: some answers are remembered."""
    found = set()
    hints = [hint.encode() for hint in scan.hints()]
    for _ in range(2):
        for kind, ds in scan.said.items():
            for name, (address, accept) in doors(ds).items():
                status, _, body = await ways.get(address, **who, Accept=accept)
                assert status < 500, (address, status, body[:200])
                mixed = kind == "stray report" and "series" in name  # holds an image as well
                if status == 200 and (not mixed or any(hint in body for hint in hints)):
                    found.add(f"{name} of {kind}")
        for name, address in searches(scan.study).items():
            status, _, body = await ways.get(address, **who)
            assert status < 500, (address, status, body[:200])
            # by words only that are not in the question
            if any(hint in body for hint in hints) or (name.startswith("studies by") and status == 200):
                found.add(name)
    return found


def all_doors(scan: Scan, *, pages: bool) -> set[str]:
    """What `open_to` finds for who may see everything; answers about a study alone hold no hint."""
    found = {f"{name} of {kind}" for kind, ds in scan.said.items() for name in doors(ds)}
    found -= {f"page of a layer of {kind}" for kind in ("paper", "picture")}  # are no layers that can be shown
    layered = {"page of layers", "page"} if pages else set[str]()
    return found | (searches(scan.study).keys() - {"studies", "page", "page of layers"}) | layered


async def check(ways: Ways, who: dict[str, str], scan: Scan, told: bool) -> None:
    pages = "Cookie" in who
    assert await open_to(ways, who, scan) == (all_doors(scan, pages=pages) if told else set())
    # the images are there for everybody
    for name, (address, accept) in doors(scan.image).items():
        if name != "page of a layer":
            status, _, body = await ways.get(address, **who, Accept=accept)
            assert status == 200 and body, name
    _, _, body = await ways.get(f"/dicomweb/studies?StudyInstanceUID={scan.study}", **who)
    (answer,) = json.loads(body)
    kept = [answer[tag]["Value"] for tag in ("00080061", "00201206", "00201208")]
    assert (kept == [["MG"], [4], [4]]) is not told, kept


WAYS = {"session": signed_in, "token": by_token, "token by the long way": lambda user: by_token(user, used=False)}


@pytest.mark.parametrize("way", WAYS)
@in_own_loop
async def test_nothing_that_is_said_reaches_a_blinded_reader(cast: Cast, scan: Scan, way: str) -> None:
    people = {}
    for name in ("erin", "alice", "bob", "carol"):
        people[name] = await sync_to_async(lambda name=name: WAYS[way](getattr(cast, name)))()
    async with Whole() as ways:
        await check(ways, people["erin"], scan, told=True)  # reads nowhere
        for name in ("alice", "bob"):  # on the panel
            await check(ways, people[name], scan, told=False)
        await check(ways, people["erin"], scan, told=True)
        await check(ways, people["carol"], scan, told=True)  # coordinates


def read_and_settle(cast: Cast, case: Case) -> None:
    reading = submit(cast.alice, case.assignments.get(kind="first"), answers(True, 81))
    compare_reading(reading.pk)
    merge_case(case.pk)
    case.refresh_from_db()
    assert case.state == Case.State.SETTLED


@in_own_loop
async def test_the_same_reader_is_told_when_the_case_is_settled(cast: Cast, scan: Scan) -> None:
    """In the independent modes that is who also coordinates; in the others every reader."""

    @sync_to_async
    def first() -> dict[str, dict[str, str]]:
        Membership.objects.filter(user=cast.bob).update(roles=[Role.READER, Role.COORDINATOR])
        return {name: signed_in(getattr(cast, name)) for name in ("alice", "bob")}

    people = await first()
    async with Whole() as ways:
        for name in ("alice", "bob"):
            await check(ways, people[name], scan, told=False)
        await sync_to_async(read_and_settle)(cast, scan.case)
        await check(ways, people["alice"], scan, told=False)
        await check(ways, people["bob"], scan, told=True)
        await Protocol.objects.filter(pk=scan.case.protocol_id).aupdate(mode="verification")
        await check(ways, people["alice"], scan, told=True)


@in_own_loop
async def test_auditors_see_scans_and_nothing_that_is_said_of_them(cast: Cast, scan: Scan) -> None:
    pat = await sync_to_async(make.user)("pat", cast.lakeside, Role.AUDITOR)
    async with Whole() as ways:
        for credential in (signed_in, by_token):
            await check(ways, await sync_to_async(credential)(pat), scan, told=False)


@in_own_loop
async def test_who_reads_nowhere_is_answered_by_the_short_way(cast: Cast, scan: Scan) -> None:
    erin, alice = await sync_to_async(lambda: (by_token(cast.erin), by_token(cast.alice)))()
    search = f"/dicomweb/studies?StudyInstanceUID={scan.study}"
    async with Whole() as ways:
        assert (await ways.get(search, **erin))[0] == 200 and ways.passed == 0
        assert (await ways.get(search, **alice))[0] == 200 and ways.passed == 1
        # a scan of which nothing is said is nobody's secret
        plain = await sync_to_async(lambda: make.settled(make.case_of_four(), cast.lakeside))()
        assert (await ways.get(f"/dicomweb/studies/{plain.study_uid}/series", **alice))[0] == 200
        assert ways.passed == 1
        await PanelMember.objects.filter(user=cast.alice).adelete()
        assert (await ways.get(search, **alice))[0] == 200 and ways.passed == 1


@pytest.mark.parametrize(
    ("name", "sop_class", "manufacturer", "says"),
    [  # names and UIDs as PS3.6 table A-1
        ("Comprehensive SR", "1.2.840.10008.5.1.4.1.1.88.33", "GE", True),
        ("Key Object Selection", "1.2.840.10008.5.1.4.1.1.88.59", "GE", True),
        ("Grayscale Softcopy Presentation State", "1.2.840.10008.5.1.4.1.1.11.1", "GE", True),
        ("Segmentation", "1.2.840.10008.5.1.4.1.1.66.4", "", True),
        ("Surface Segmentation", "1.2.840.10008.5.1.4.1.1.66.5", "", True),
        ("Parametric Map", "1.2.840.10008.5.1.4.1.1.30", "", True),
        ("Encapsulated PDF", "1.2.840.10008.5.1.4.1.1.104.1", "", True),
        ("RT Structure Set", "1.2.840.10008.5.1.4.1.1.481.3", "", True),
        ("Secondary Capture", "1.2.840.10008.5.1.4.1.1.7", "Concord", True),
        ("Secondary Capture", "1.2.840.10008.5.1.4.1.1.7", "GE", False),
        ("Digital Mammography", "1.2.840.10008.5.1.4.1.1.1.2", "GE", False),
        ("Digital X-Ray", "1.2.840.10008.5.1.4.1.1.1.1", "GE", False),
        ("Spatial Registration", "1.2.840.10008.5.1.4.1.1.66.1", "GE", False),
        ("RT Image", "1.2.840.10008.5.1.4.1.1.481.1", "GE", False),
        ("Enhanced MR", "1.2.840.10008.5.1.4.1.1.4.1", "GE", False),
    ],
)
def test_which_objects_say_something(name: str, sop_class: str, manufacturer: str, says: bool) -> None:
    assert rules.opinion(sop_class, manufacturer) is says


def test_the_rows_say_what_they_hold(scan: Scan) -> None:
    study = Study.objects.get(study_uid=scan.study)
    assert study.opinions and study.instances.filter(opinion=False).count() == 4
    said = study.series.filter(opinion=True)
    assert all(row.description.startswith(WORD) for row in said) and study.series.filter(opinion=False).count() == 4
    late: Any = make.image("MG", study=scan.study, series=said[0].series_uid)  # an image among reports
    make.stored(late, study.organisation)
    assert not study.series.get(series_uid=said[0].series_uid).opinion

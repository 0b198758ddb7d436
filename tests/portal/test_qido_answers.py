"""What a search answers with: attributes by level, media types, packing, refusals, what the server says it can do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest
import requests
import zstandard
from django.db import connection
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from deploy.conformance import FILE, filled
from portal.accounts.models import Organisation
from portal.archive import queries
from portal.archive.capabilities import statement_tables
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)

NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
WADL = "{http://wadl.dev.java.net/2009/02}"


@pytest.fixture
def org() -> Organisation:
    org = make.organisation()
    values = {
        "PatientID": "P-2",
        "PatientName": "Müller^Jörg",
        "PatientWeight": 70.5,
        "Manufacturer": "ACME",
        "PatientComments": "<&>",
    }
    private = make.image("CT", study="1.2.3", series="1.2.3.4", SpecificCharacterSet="ISO_IR 192", **values)
    private.private_block(0x0009, "TEST", create=True).add_new(1, "LO", "kept")
    make.stored(private, org)
    for n in range(3):
        make.stored(make.image("MG", study="1.2.4", series="1.2.4.5", InstanceNumber=3 - n), org)
    return org


@pytest.fixture
def session(org: Organisation) -> requests.Session:
    out = requests.Session()
    out.trust_env = False
    out.headers["Authorization"] = f"Bearer {make.token(make.user('dave', org, 'pacs_admin'), org)}"
    return out


@pytest.fixture
def root(live_server: Any) -> str:
    return f"{live_server.url}/dicomweb"


def names(entry: dict[str, Any]) -> set[str]:
    return {keyword_for_tag(int(tag, 16)) for tag in entry}


def value(entry: dict[str, Any], keyword: str) -> Any:
    return entry[f"{tag_for_keyword(keyword):08X}"]["Value"][0]


# PS3.18 tables 10.6.3-3 to 10.6.3-5, what is not conditional
STUDY = {"StudyDate", "StudyTime", "AccessionNumber", "InstanceAvailability", "ModalitiesInStudy", "RetrieveURL",
         "PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "NumberOfStudyRelatedSeries",
         "NumberOfStudyRelatedInstances"}  # fmt: skip
SERIES = {"Modality", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances", "RetrieveURL"}
INSTANCE = {"SOPClassUID", "SOPInstanceUID", "InstanceAvailability", "InstanceNumber", "Rows", "Columns",
            "BitsAllocated", "RetrieveURL"}  # fmt: skip


def test_each_level_has_its_attributes(org: Organisation, root: str, session: requests.Session, settings: Any) -> None:
    for address, has, lacks in (
        ("studies", STUDY, {"Modality", "Rows"}),
        ("series", STUDY | SERIES, {"Rows", "SOPInstanceUID"}),
        ("instances", STUDY | SERIES | INSTANCE, {"BitsStored"}),
        ("studies/1.2.3/series", SERIES, {"PatientID", "Rows"}),
        ("studies/1.2.3/instances", SERIES | INSTANCE, {"PatientID", "BitsStored"}),
        ("studies/1.2.3/series/1.2.3.4/instances", INSTANCE, {"PatientID", "SeriesNumber"}),
    ):
        answer = session.get(f"{root}/{address}")
        for entry in answer.json():
            assert has <= names(entry) and not lacks & names(entry), address
        assert len(json.loads(answer.text, object_pairs_hook=once)) == len(answer.json())
    for address in ("studies?PatientName=m*", "series?PatientWeight=70.5", "instances?PatientName=m*"):
        [entry] = session.get(f"{root}/{address}").json()
        public = value(entry, "RetrieveURL")
        assert public.startswith(f"{settings.PUBLIC_URL}/dicomweb/studies/1.2.3")
        assert session.get(public.replace(f"{settings.PUBLIC_URL}/dicomweb", root)).status_code == 200
    numbers = [value(e, "InstanceNumber") for e in session.get(f"{root}/studies/1.2.4/instances").json()]
    assert numbers == [1, 2, 3]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), "a name stands twice in one object"
    return found


def test_more_attributes_where_they_are_asked_for(org: Organisation, root: str, session: requests.Session) -> None:
    def one(address: str) -> dict[str, Any]:
        return session.get(f"{root}/{address}").json()[0]

    study = one("studies?PatientName=m*&includefield=PatientWeight,Manufacturer,Rows")
    assert value(study, "PatientWeight") == 70.5
    assert not {"Manufacturer", "Rows"} & names(study)  # of levels below: never
    assert value(one("studies?PatientWeight=70.5"), "PatientWeight") == 70.5  # what matched is shown
    everything = one("studies?PatientName=m*&includefield=all")
    assert {"PatientWeight", "PatientComments", "PatientAge"} <= names(everything) and "Rows" not in names(everything)
    series = one("studies/1.2.3/series?includefield=00101030&includefield=Manufacturer,Rows")
    assert value(series, "PatientWeight") == 70.5 and value(series, "Manufacturer") == "ACME"
    assert "Rows" not in names(series)
    instance = one("studies/1.2.3/instances?includefield=all")
    assert value(instance, "BitsStored") == 12 and value(instance, "PatientWeight") == 70.5
    assert instance["7FE00010"]["BulkDataURI"].startswith("http")
    private = one("studies/1.2.3/instances?includefield=00091001")
    assert private["00091001"]["Value"] == ["kept"] and private["00090010"]["Value"] == ["TEST"]
    assert session.get(f"{root}/studies?includefield=Nonsense").status_code == 400


def test_the_same_as_xml(org: Organisation, root: str, session: requests.Session) -> None:
    address = f"{root}/studies?includefield=all"
    wanted = session.get(address).json()
    kind = 'multipart/related; type="application/dicom+xml"'
    answer = session.get(address, headers={"Accept": kind})
    assert answer.headers["Content-Type"].startswith(kind)
    header = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(header + answer.content).get_payload()
    assert len(parts) == len(wanted)
    for part, entry in zip(parts, wanted, strict=True):
        assert part.get_content_type() == "application/dicom+xml"
        document = ET.fromstring(part.get_payload(decode=True))
        assert document.tag == f"{NATIVE}NativeDicomModel"
        rows = {node.get("tag"): node for node in document}
        assert {*rows} == {*entry}
        for tag, element in entry.items():
            assert (rows[tag].get("vr"), rows[tag].get("keyword")) == (element["vr"], keyword_for_tag(int(tag, 16)))
            if element["vr"] == "PN" and "Value" in element:
                alphabetic = rows[tag].find(f"{NATIVE}PersonName/{NATIVE}Alphabetic")
                assert "^".join(n.text or "" for n in alphabetic or []) == element["Value"][0]["Alphabetic"]
            elif element["vr"] != "SQ":
                held = [n.text or "" for n in rows[tag].findall(f"{NATIVE}Value")]
                assert held == [str(v) for v in element.get("Value", [])]


def test_packing_and_choice_of_type(org: Organisation, root: str, session: requests.Session) -> None:
    plain = session.get(f"{root}/studies", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    with session.get(f"{root}/studies", headers={"Accept-Encoding": "zstd"}, stream=True) as packed:
        assert packed.headers["Content-Encoding"] == "zstd" and "Accept-Encoding" in packed.headers["Vary"]
        assert zstandard.ZstdDecompressor().decompress(packed.raw.read(decode_content=False)) == plain.content
    gzip = session.get(f"{root}/studies", headers={"Accept-Encoding": "gzip, zstd;q=0"})
    assert gzip.headers["Content-Encoding"] == "gzip" and gzip.content == plain.content
    tags = {answer.headers["ETag"] for answer in (plain, packed, gzip)}
    assert len(tags) == 3
    for accept, status in (("application/json", 200), ("*/*", 200), ("text/html, application/dicom+json;q=0.1", 200),
                           ("application/dicom+xml", 200), ("text/html", 406), ("image/jpeg", 406)):  # fmt: skip
        assert session.get(f"{root}/studies", headers={"Accept": accept}).status_code == status, accept
    for words in ("PatientID=" + "x" * 300, "StudyTime=noon", "fuzzymatching=maybe", "orderby=Rows", "limit=-1",
                  "after=5&orderby=StudyDate", "RequestAttributesSequence=x", "PatientID.PatientName=x",
                  "SliceThickness=thick", "PatientName." + "x=1"):  # fmt: skip
        assert session.get(f"{root}/studies?{words}").status_code == 400, words


def test_the_server_says_when_it_cuts(
    org: Organisation, root: str, session: requests.Session, monkeypatch: Any
) -> None:
    monkeypatch.setattr("portal.archive.qido.DEFAULT_LIMIT", 2)
    answer = session.get(f"{root}/instances")
    assert len(answer.json()) == 2 and "additional results" in answer.headers["Warning"] and answer.links["next"]
    assert "Warning" not in session.get(f"{root}/instances?limit=2").headers  # as asked for


@pytest.fixture
def locked() -> Iterator[None]:
    """The studies are held by someone else: a search waits for them."""
    own = connection.settings_dict
    address = {"host": own["HOST"], "port": own["PORT"], "user": own["USER"], "password": own["PASSWORD"]}
    done, held = threading.Event(), threading.Event()

    def hold() -> None:
        with psycopg.connect(dbname=own["NAME"], **address) as link:
            link.execute("LOCK TABLE archive_study IN ACCESS EXCLUSIVE MODE")
            held.set()
            done.wait(60)
            link.rollback()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    yield
    done.set()
    thread.join()


def test_a_search_that_takes_too_long(
    org: Organisation, root: str, session: requests.Session, monkeypatch: Any, locked: None
) -> None:
    monkeypatch.setattr(queries, "SEARCH_SECONDS", 1)
    answer = session.get(f"{root}/studies")
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_broad"


def test_capabilities(org: Organisation, root: str, session: requests.Session, settings: Any) -> None:
    answer = session.options(f"{root}/")
    assert answer.headers["Content-Type"] == "application/vnd.sun.wadl+xml"
    document = ET.fromstring(answer.content)
    [resources] = document
    assert resources.get("base") == f"{settings.PUBLIC_URL}/dicomweb"
    # every search with every parameter it names is understood by the server itself
    some = {"study": "1.2.4", "series": "1.2.4.5"}
    asked = 0
    for resource in resources:
        path = resource.get("path", "")
        for method in resource.findall(f"{WADL}method"):
            if not method.get("id", "").startswith("SearchFor"):
                continue
            request = method.find(f"{WADL}request")
            assert request is not None
            named = [param.get("name", "") for param in request.findall(f"{WADL}param[@style='query']")]
            # in groups, so that a name that is refused can be told
            for names in (named[n : n + 12] for n in range(0, len(named), 12)):
                found = session.get(f"{root}/{path.format(**some)}", params=dict.fromkeys(names, ""))
                # dave reads nothing: his worklist is empty
                wanted = 204 if path == "workitems" else 200
                assert found.status_code == wanted, (path, names, found.text)
                asked += len(names)
    assert asked > 150
    assert session.get(f"{root}/", headers={"Accept": "image/png"}).status_code == 406
    assert requests.options(f"{root}/", timeout=60).status_code == 401


def test_the_conformance_statement_fits_the_code() -> None:
    text = FILE.read_text()
    assert filled(text, statement_tables()) == text
    with pytest.raises(KeyError):
        filled(text.replace("<!-- begin parameters -->", ""), statement_tables())

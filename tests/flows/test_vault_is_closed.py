"""Where an identity is after a scan has gone through the doors: in the identity zone, and nowhere else.

A CT with invented words in its header is sent by C-STORE, STOW-RS and as a broken file; then everything that the app
zone's role can read is searched for the words: tables, files, the broker's traffic, pages, logs.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import psycopg
import pydicom
import pytest
from django.contrib import admin
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from redis import Redis

from tests.support import Client, Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

# letters that no language, identifier or hash of the house has by chance
WORDS = ("Qwxzvane", "Borislavqa", "Yqorvathy", "Qmarspital", "ZQKVMRN77", "ACCQXJWV9", "Hjqwstrasse")
PAGES = 120


def scan(number: int) -> Dataset:
    """CT_small of an invented patient, with the words in tags, nested, private and free text."""
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.StudyInstanceUID = ds.SeriesInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Qwxzvane^Borislavqa", f"ZQKVMRN77{number}", "19410213"
    ds.AccessionNumber, ds.ReferringPhysicianName = f"ACCQXJWV9{number}", "Yqorvathy^Ute"
    ds.InstitutionName, ds.PatientAddress = "Qmarspital", "Hjqwstrasse 7"
    ds.StudyDescription = "CT thorax, Borislavqa Qwxzvane"
    ds.ImageComments = "Seen with Dr. Yqorvathy at Qmarspital; Qwxzvane B., ZQKVMRN77"
    item = Dataset()
    item.RequestingPhysician, item.ReasonForTheRequestedProcedure = "Yqorvathy^Ute", "Ms Qwxzvane has a cough"
    ds.RequestAttributesSequence = [item]
    ds.private_block(0x0009, "QMARSPITAL", create=True).add_new(0x01, "LO", "Qwxzvane")
    return ds


def encoded(ds: Dataset) -> bytes:
    out = BytesIO()
    ds.save_as(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def valkey(stack: Stack) -> Redis:
    ports = json.loads((stack.home.path / "run" / "ports.json").read_text())
    return Redis(port=int(ports["valkey"]), password=stack.home.secrets["valkey"], socket_timeout=None)


@pytest.fixture(scope="module")
def traffic(stack: Stack, valkey: Redis, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every command that the broker and the live channel got while the scans went through."""
    heard: list[str] = []
    stop = threading.Event()
    with valkey.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                heard.append(str(command.get("command", "")))
                if stop.is_set():
                    return

        ear = threading.Thread(target=listen, daemon=True)
        ear.start()
        _send(stack, tmp_path_factory.mktemp("words"))
        stop.set()
        valkey.ping()
        ear.join(10)
    return heard


def _send(stack: Stack, folder: Path) -> None:
    erin = stack.as_("erin")
    before = len(erin.get("/api/v1/studies/?limit=500")["results"])
    paths = []
    for number in range(2):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(encoded(scan(number)))
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port), *map(str, paths)]
    subprocess.run(command, check=True, timeout=120)
    broken = encoded(scan(5))[:-1000]
    boundary = "words"
    parts = b"".join(
        b"--words\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in (encoded(scan(2)), broken)
    )
    answer = httpx.post(
        f"{stack.url}/dicomweb/studies",
        content=parts + b"--words--\r\n",
        headers={
            "Authorization": f"Bearer {stack.user('dave')['token']}",
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        },
        timeout=60,
    )
    assert answer.status_code == 202, answer.text  # one taken, one refused
    assert not found_in(answer.content)

    def settled() -> bool:
        now = len(erin.get("/api/v1/studies/?limit=500")["results"])
        owed = stack.query("SELECT count(*) AS n FROM core_outboxevent WHERE state IN ('waiting', 'leased')")
        return now >= before + 3 and owed[0]["n"] == 0

    wait_for(settled, 180, "the scans are archived and everything that follows is done")


def found_in(data: bytes) -> set[str]:
    """The words that stand in the data, also as hexadecimal digits."""
    low = data.lower()
    return {w for w in WORDS if w.lower().encode() in low or w.encode().hex().encode() in low}


def test_the_identity_is_known_where_it_belongs(stack: Stack, traffic: list[str]) -> None:
    """The search itself works: the landed originals are full of the words."""
    landed = stack.home.path / "storage" / "identities" / "landing"
    words = set().union(*(found_in(path.read_bytes()) for path in landed.rglob("*.dcm")))
    assert words == set(WORDS)
    assert len(traffic) > 50


def readable(db: psycopg.Connection) -> Iterator[str]:
    """Tables and views that this role may read, in any schema."""
    rows = db.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
        "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    )
    yield from (name for (name,) in rows.fetchall())


def test_not_in_any_table_that_the_app_role_reads(stack: Stack, traffic: list[str]) -> None:
    with psycopg.connect(stack.home.database_url("app"), autocommit=True) as db:
        tables = list(readable(db))
        assert {"public.archive_study", "public.core_outboxevent", "public.ingest_receipt"} <= set(tables)
        assert not [name for name in tables if name.startswith("identities.")]
        for table in tables:
            rows = db.execute(f"SELECT t::text FROM {table} t")  # type: ignore[call-overload]
            for (text,) in rows:
                assert not found_in(text.encode()), table
        for (name,) in db.execute(
            "SELECT relname FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'identities'::regnamespace"
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f'SELECT * FROM identities."{name}"')  # type: ignore[call-overload]


def test_not_in_a_task_an_event_or_a_cache(valkey: Redis, traffic: list[str]) -> None:
    assert any("portal.deidentify.tasks" in command for command in traffic)
    assert not [command[:80] for command in traffic if found_in(command.encode("utf-8", "replace"))]
    for key in valkey.scan_iter():
        assert not found_in(valkey.dump(key) or b""), key


def test_not_in_a_file_of_the_other_zones(stack: Stack, traffic: list[str]) -> None:
    """Logs, metrics, caches and the archive; all but the identity zone's store and the database's own files."""
    home, looked = stack.home.path, 0
    for path in home.rglob("*"):
        first = path.relative_to(home).parts[0]
        if not path.is_file() or first in {"postgres", "secrets"}:
            continue
        if path.is_relative_to(home / "storage" / "identities"):
            continue
        looked += 1
        assert not found_in(path.read_bytes()), path
    assert looked > 10 and "ingest.quarantined" in stack.log("web")  # which tells of the broken file, without the words


def test_not_in_what_leaves(stack: Stack, traffic: list[str]) -> None:
    """Whole studies and their metadata by WADO-RS, a data set in each format."""
    erin, carol = stack.as_("erin"), stack.as_("carol")
    for study in erin.get("/api/v1/studies/?limit=500")["results"]:
        for rest in ("", "/metadata"):
            answer = erin.raw("GET", f"/dicomweb/studies/{study['study_uid']}{rest}")
            assert answer.status_code == 200 and len(answer.content) > 1000
            assert not found_in(answer.content), study["study_uid"]
    address = "/api/v1/programmes/screening-mammography/data-sets/"
    for kind in ("csv", "json", "coco"):
        made = carol.post(address, {"format": kind})["id"]
        answer = wait_for(
            lambda made=made: (a := carol.raw("GET", f"{address}{made}/file/")).status_code == 200 and a,
            60, f"the data set ({kind}) is made",
        )  # fmt: skip
        with zipfile.ZipFile(BytesIO(answer.content)) as packed:
            assert packed.namelist()
            assert not [name for name in packed.namelist() if found_in(name.encode() + packed.read(name))]


def test_not_on_an_error_page(stack: Stack, traffic: list[str]) -> None:
    """What a sender or a person is told when something is wrong with a file that names someone."""
    dave = stack.user("dave")
    broken = encoded(scan(6))[:-1000]
    headers = {"Authorization": f"Bearer {dave['token']}"}
    bodies = [
        ("application/dicom", broken),
        ('multipart/related; type="application/dicom"; boundary=words', b"--words\r\n\r\n" + broken),
        ("application/dicom+json", b'[{"00100010": {"vr": "PN", "Value": ["Qwxzvane"]}}]'),
        ("application/octet-stream", broken),
    ]
    for kind, body in bodies:
        answer = httpx.post(
            f"{stack.url}/dicomweb/studies", content=body, headers=headers | {"Content-Type": kind}, timeout=60
        )
        assert 400 <= answer.status_code < 500, (kind, answer.status_code)
        assert not found_in(answer.content), kind


def links(page: httpx.Response) -> Iterator[str]:
    for href in re.findall(r'(?:href|src)="([^"#]+)', page.text):
        url = urljoin(str(page.url), href.replace("&amp;", "&"))
        if urlsplit(url).netloc == urlsplit(str(page.url)).netloc and "sign-out" not in url and "/static/" not in url:
            yield url


@pytest.mark.parametrize("who", ["dave", "erin"])
def test_not_on_any_page_or_answer(stack: Stack, traffic: list[str], who: str) -> None:
    """Everything that can be reached by links from the first page, the quarantine and the API's lists."""
    person: Client = stack.as_(who)
    starts = ["/api/v1/studies/", "/dicomweb/studies?includefield=all", "/dicomweb/instances?includefield=all"]
    web = httpx.Client(base_url=stack.url, follow_redirects=True, timeout=60)
    form = web.get("/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token
    login = {"login": who, "password": stack.user(who)["password"], "csrfmiddlewaretoken": token.group(1)}
    home = web.post(str(form.url), data=login, headers={"Referer": str(form.url)})
    assert home.status_code == 200 and "login" not in str(home.url)
    for path in starts:
        assert not found_in(person.raw("GET", path).content), path
    waiting, seen = [str(home.url), f"{stack.url}/ingest/quarantine/", f"{stack.url}/ingest/"], set[str]()
    while waiting and len(seen) < PAGES:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.add(url)
        page = web.get(url)
        assert page.status_code < 500, url
        assert not found_in(page.content), url
        if "text/html" in page.headers.get("content-type", ""):
            waiting += links(page)
    assert len(seen) > 15


def test_not_in_the_admin() -> None:
    """No page of the admin has a table of the identity zone."""
    assert not [model for model in admin.site._registry if model._meta.db_table.startswith('"identities"')]

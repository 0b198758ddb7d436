"""Every kind of matching, asked for with dicomweb-client, against what pydicom's data sets say themselves."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from portal.accounts.models import Organisation
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["Robert^Anna", "Rupert^Anne", "Rubin^Karl", "Ashcraft^Bo", "Ashcroft^Li", "Müller^Jörg", "Tymczak^X", None]
TIMES = ["0915", "101500", "101559.5", "235959.999", "00", "1200", "", None]
REFERRER = ["House^Gregory", "house^lisa", "Wilson^James", None]
UID_KEYS = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}


def request_item(number: int) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS{number % 3}", f"RP-{number}"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = f"C{number % 2}", "99TEST", "a code"
    item.ScheduledProtocolCodeSequence = [code]
    return item


@pytest.fixture
def corpus() -> list[Dataset]:
    """24 images in 16 studies; every value that is matched for differs within it, and some are absent or empty."""
    out = []
    for n in range(16):
        study = generate_uid()
        for m in range(1 + n % 2):
            values: dict[str, Any] = {
                "PatientID": f"P-{n % 5}", "PatientName": NAMES[n % 5 % len(NAMES)], "StudyTime": TIMES[n % len(TIMES)],
                "StudyDate": None if n == 9 else f"2024{1 + n % 12:02d}{1 + n:02d}", "AccessionNumber": f"A{n}_%",
                "StudyDescription": None if n == 3 else f"Screening {n}", "ReferringPhysicianName": REFERRER[n % 4],
                "StudyID": f"S{n}" if n % 3 else "", "PatientAge": f"{50 + n:03d}Y", "SeriesNumber": m + 1,
                "SeriesDescription": f"Series {n}.{m}", "BodyPartExamined": "BREAST" if n % 2 else "CHEST",
                "PerformedProcedureStepStartDate": f"202401{1 + n:02d}", "InstanceNumber": n + 1,
                "RequestAttributesSequence": [request_item(n), request_item(n + 7)] if n % 4 else None,
                "SliceThickness": 1.25 * (n % 3), "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL" if n % 2 else "OTHER"],
                "SpecificCharacterSet": "ISO_IR 192", "AcquisitionDateTime": f"202401{1 + n:02d}1030",
            }  # fmt: skip
            modality = "MG" if (n + m) % 2 else "CT"
            image = make.image(modality, study=study, **{k: v for k, v in values.items() if v is not None})
            for keyword in (k for k, v in values.items() if v is None and k in image):
                del image[keyword]
            out.append(image)
    return out


# --- the other opinion: PS3.4 C.2.2.2 on pydicom's data sets --------------------------------------------------------


def values_of(ds: Dataset, keyword: str) -> list[Any]:
    element = ds.get(tag_for_keyword(keyword))
    value = None if element is None else element.value
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "insert") else [value]


def fits(ds: Dataset, path: str, value: str) -> bool:
    """Whether one data set matches one key."""
    keyword, _, rest = path.partition(".")
    if rest:
        return any(fits(item, rest, value) for item in ds.get(keyword) or [])
    vr, held = dictionary_VR(keyword), [str(v) for v in values_of(ds, keyword)]
    if vr in {"DA", "TM", "DT"}:
        low, dash, high = value.partition("-")
        first, last = (low, high) if dash else (low, low)
        return any(padded(first, "0") <= padded(h, "0") <= padded(last or "9", "9") for h in held)
    if vr == "UI":
        return bool({*held} & {*re.split(r"[,\\]", value)})
    if vr in {"IS", "US", "DS"}:
        return any(float(h) == float(value) for h in held)
    fold = vr == "PN" or keyword.endswith("Description")
    return any(wild(h.lower() if fold else h, value.lower() if fold else value) for h in held)


def padded(moment: str, with_: str) -> str:
    return moment.replace(".", "").ljust(20, with_)


def wild(held: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(held, re.sub(r"\[", "[[]", pattern))


def expected(corpus: list[Dataset], level: str, query: dict[str, str]) -> set[str]:
    return {
        str(ds[UID_KEYS[level]].value) for ds in corpus if all(fits(ds, key, value) for key, value in query.items())
    }


# --- the questions --------------------------------------------------------------------------------------------------

QUERIES: list[dict[str, str]] = [
    {}, {"PatientID": "P-1"}, {"PatientID": "p-1"}, {"PatientID": "P-?"}, {"PatientID": "*-3"}, {"PatientID": "*"},
    {"PatientName": "robert^anna"}, {"PatientName": "r*"}, {"PatientName": "*^?nn?"}, {"PatientName": "Nobody"},
    {"AccessionNumber": "A1_%"}, {"AccessionNumber": "A1*"}, {"AccessionNumber": "A?_%"},
    {"StudyDescription": "screening 1?"}, {"StudyDescription": "SCREENING*"}, {"StudyID": "S1*"}, {"StudyID": "S4"},
    {"StudyDate": "20240405"}, {"StudyDate": "20240301-20240630"}, {"StudyDate": "-20240303"},
    {"StudyDate": "20241001-"}, {"StudyTime": "1015"}, {"StudyTime": "101500"}, {"StudyTime": "10-12"},
    {"StudyTime": "-1014"}, {"StudyTime": "235959-"}, {"PatientAge": "053Y"},
    {"ReferringPhysicianName": "house^*"}, {"ReferringPhysicianName": "WILSON^JAMES"},
    {"Modality": "CT"}, {"SeriesNumber": "2"}, {"SeriesDescription": "series ?.1"}, {"BodyPartExamined": "BREAST"},
    {"PerformedProcedureStepStartDate": "20240105-20240107"}, {"PerformedProcedureStepStartDate": "20240103"},
    {"RequestAttributesSequence.ScheduledProcedureStepID": "SPS1"},
    {"RequestAttributesSequence.RequestedProcedureID": "RP-1*"},
    {"00400275.00401001": "RP-5"},
    {"RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue": "C1"},
    {"SOPClassUID": make.CLASSES["MG"]}, {"InstanceNumber": "5"}, {"Rows": "40"}, {"SliceThickness": "2.5"},
    {"ImageType": "AXIAL"}, {"ImageType": "AX*"}, {"AcquisitionDateTime": "20240103-20240105"},
    {"PatientID": "P-1", "StudyDate": "20240101-20240630", "Modality": "MG"},
]  # fmt: skip


@pytest.fixture
def org(corpus: list[Dataset]) -> Organisation:
    org = make.organisation()
    for image in corpus:
        make.stored(image, org)
    other = make.organisation("harbour")
    make.stored(make.image("CT", PatientID="P-1", StudyDate="20240405"), other)
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


@pytest.fixture
def client(root: str, session: requests.Session) -> DICOMwebClient:
    return DICOMwebClient(url=root, session=session)


def uids(answers: list[dict[str, Any]], level: str) -> set[str]:
    tag = f"{tag_for_keyword(UID_KEYS[level]):08X}"
    assert len({entry[tag]["Value"][0] for entry in answers}) == len(answers)
    return {entry[tag]["Value"][0] for entry in answers}


@pytest.mark.parametrize("level", UID_KEYS)
def test_every_kind_of_matching(
    subtests: Any, level: str, corpus: list[Dataset], client: DICOMwebClient, root: str, session: requests.Session
) -> None:
    ask: Callable[..., list[dict[str, Any]]] = getattr(client, f"search_for_{level}")
    some = 0
    for query in QUERIES:
        with subtests.test(str(query)):
            wanted = expected(corpus, level, {k: v for k, v in plainly(query).items() if v != "*"})
            if any("." in key for key in query):  # the client knows no paths
                answer = session.get(f"{root}/{level}", params=query)
                found = answer.json() if answer.status_code == 200 else []
            else:
                found = ask(search_filters=query)
            assert uids(found, level) == wanted
            some += 0 < len(wanted) < len(corpus)
    assert some > len(QUERIES) // 2  # most of the questions tell things apart


def plainly(query: dict[str, str]) -> dict[str, str]:
    names = {"00400275.00401001": "RequestAttributesSequence.RequestedProcedureID"}
    return {names.get(key, key): value for key, value in query.items()}


def test_one_item_of_a_sequence_must_match_in_everything(
    corpus: list[Dataset], root: str, session: requests.Session
) -> None:
    inside = "RequestAttributesSequence"
    query = {f"{inside}.ScheduledProcedureStepID": "SPS1", f"{inside}.RequestedProcedureID": "RP-8"}
    wanted = {
        ds.StudyInstanceUID
        for ds in corpus
        if any(i.ScheduledProcedureStepID == "SPS1" and i.RequestedProcedureID == "RP-8" for i in ds.get(inside, []))
    }
    assert wanted == set()  # RP-8 is SPS2's: two items of one study hold the two values
    assert expected(corpus, "studies", query)
    assert session.get(f"{root}/studies", params=query).status_code == 204
    query[f"{inside}.ScheduledProcedureStepID"] = "SPS2"
    assert len(session.get(f"{root}/studies", params=query).json()) == len(expected(corpus, "studies", query))


def test_date_and_time_are_one_range(corpus: list[Dataset], root: str, session: requests.Session) -> None:
    query = {"StudyDate": "20240303-20240707", "StudyTime": "1000-0930"}
    wanted = {
        ds.StudyInstanceUID
        for ds in corpus
        if ds.get("StudyDate") and ds.get("StudyTime")
        and (ds.StudyDate + padded(ds.StudyTime, "0"))[:14] >= "20240303100000"
        and ds.StudyDate + padded(ds.StudyTime, "0")[:6] <= "20240707093059"
    }  # fmt: skip
    between = {ds.StudyInstanceUID for ds in corpus if "20240303" < str(ds.get("StudyDate", "")) < "20240707"}
    assert uids(session.get(f"{root}/studies", params=query).json(), "studies") == wanted | between
    assert len(wanted | between) > 2


def test_names_that_sound_alike(corpus: list[Dataset], client: DICOMwebClient, root: str, session: Any) -> None:
    """The pairs are those of the National Archives' leaflet on the Soundex code."""

    def of(*names: str) -> set[str]:
        return {ds.StudyInstanceUID for ds in corpus if str(ds.get("PatientName", "")).split("^")[0] in names}

    for asked, names in (("Rupert", ("Robert", "Rupert")), ("Ashcroft", ("Ashcraft", "Ashcroft")), ("Ann", ())):
        found = client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": asked})
        wanted = of(*names) if names else of("Robert", "Rupert")  # Anna and Anne sound like Ann
        assert uids(found, "studies") == wanted and wanted
    plain = session.get(f"{root}/studies", params={"PatientName": "Rupert"})
    assert plain.status_code == 204
    both = {"PatientName": "Rupert", "ReferringPhysicianName": "House*", "fuzzymatching": "true"}
    answer = session.get(f"{root}/studies", params=both)
    assert "fuzzymatching parameter is not supported" in answer.headers["Warning"]


def test_empty_and_multiple_values(corpus: list[Dataset], root: str, session: requests.Session) -> None:
    for keyword in ("StudyDate", "StudyDescription", "StudyID", "StudyTime", "ReferringPhysicianName"):
        answer = session.get(f"{root}/studies", params={keyword: '""', "emptyvaluematching": "true"})
        wanted = {ds.StudyInstanceUID for ds in corpus if not str(ds.get(keyword) or "")}
        assert uids(answer.json(), "studies") == wanted and wanted, keyword
    both = session.get(f"{root}/studies", params={"ModalitiesInStudy": "CT\\MG", "multiplevaluematching": "true"})
    kinds: dict[str, set[str]] = {}
    for ds in corpus:
        kinds.setdefault(ds.StudyInstanceUID, set()).add(ds.Modality)
    assert uids(both.json(), "studies") == {uid for uid, held in kinds.items() if held == {"CT", "MG"}}
    assert len(session.get(f"{root}/studies", params={"ModalitiesInStudy": "CT,MG"}).json()) == 16
    types = session.get(f"{root}/instances", params={"ImageType": "AXIAL\\PRIMARY", "multiplevaluematching": "true"})
    assert uids(types.json(), "instances") == {ds.SOPInstanceUID for ds in corpus if ds.ImageType[2] == "AXIAL"}


def pages(session: requests.Session, address: str) -> Iterator[dict[str, Any]]:
    while address:
        answer = session.get(address)
        yield from answer.json()
        address = answer.links.get("next", {}).get("url", "")


@pytest.mark.parametrize(("level", "order"), [("studies", ""), ("series", ""), ("instances", ""),
                                              ("studies", "-StudyDate"), ("series", "SeriesNumber,-StudyDescription"),
                                              ("instances", "PatientName,InstanceNumber")])  # fmt: skip
def test_pages_hold_everything_once(
    corpus: list[Dataset], root: str, session: requests.Session, level: str, order: str
) -> None:
    found = list(pages(session, f"{root}/{level}?limit=5&orderby={order}"))
    assert uids(found, level) == expected(corpus, level, {})
    if order == "-StudyDate":
        days = [entry.get("00080020", {}).get("Value", [""])[0] for entry in found]
        assert days == sorted(days, reverse=True) and days[-1] == ""
    if order == "PatientName,InstanceNumber":
        keys = [(entry["00100010"]["Value"][0]["Alphabetic"], entry["00200013"]["Value"][0]) for entry in found]
        assert keys == sorted(keys)

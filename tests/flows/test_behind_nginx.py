"""Debian's nginx in front of the real processes: it sends the files that the portal tells it to, to nobody else."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pydicom
import pytest
from websockets.sync.client import connect

from inference.phantoms import breast_case
from tests.conftest import portal_of_its_own
from tests.factories.nginx import Nginx, nginx
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600), pytest.mark.xdist_group("nginx")]
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
KINDS = {
    "frames/1": ("application/octet-stream; transfer-syntax=*", OCTETS),
    "": ("application/dicom; transfer-syntax=*", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    "rendered": ("image/jpeg",),
    "thumbnail": ("image/jpeg",),
}
KEPT = ("etag", "content-type", "content-length", "cache-control", "vary", "x-content-type-options",
        "cross-origin-resource-policy")  # fmt: skip


class World:
    """A portal, nginx before it, and a case that came in through it."""

    def __init__(self, portal: Stack, front: Nginx, folder: Path) -> None:
        self.portal, self.front = portal, front
        self.files = breast_case(771, malignant=False, size=(256, 208)).write(folder)
        self.dave = self.client("dave")
        body = b"".join(
            b"--X\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n" for path in self.files
        )
        kind = 'multipart/related; type="application/dicom"; boundary=X'
        answer = self.dave.post("/dicomweb/studies", content=body + b"--X--\r\n", headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        rows = "SELECT s.study_uid, se.series_uid, i.sop_uid FROM archive_instance i JOIN archive_series se " \
               "ON se.id = i.series_id JOIN archive_study s ON s.id = i.study_id WHERE s.state = 'settled'"  # fmt: skip
        found = wait_for(lambda: (r := portal.query(rows)) and len(r) == 4 and r, 240, "the case is archived")
        self.places = [
            f"/dicomweb/studies/{r['study_uid']}/series/{r['series_uid']}/instances/{r['sop_uid']}" for r in found
        ]

    def client(self, name: str = "", *, direct: bool = False) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.portal.user(name)['token']}"} if name else {}
        base = self.portal.url if direct else self.front.url
        return httpx.Client(base_url=base, headers=headers, verify=self.front.trust, timeout=60, trust_env=False)

    def address(self, place: str, rest: str) -> str:
        return f"{place}/{rest}" if rest else place

    def sent_by_nginx(self, address: str) -> str:
        """The internal location from which the last answer to this address came; "" when the portal sent it.

        nginx writes an answer down when it has been sent, which its reader may be ahead of.
        """

        def written() -> tuple[str, str] | None:
            return next((one for one in reversed(self.front.sent()) if one[0] == address), None)

        return wait_for(written, 30, f"nginx writes {address} down")[1]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="concord-nginx-"))
    folder.chmod(0o755)
    try:
        with portal_of_its_own(CONCORD_X_ACCEL="1", CONCORD_BEHIND_PROXY="1") as portal:
            port = urlsplit(portal.url).port or 0
            with nginx(folder / "nginx", portal.home.path, port) as front:
                yield World(portal, front, folder / "scans")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def laid_ready(world: World, address: str, accept: str) -> httpx.Response:
    """The answer once nginx sends it."""

    def ask() -> httpx.Response | None:
        answer = world.dave.get(address, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        return answer if world.sent_by_nginx(address) else None

    return wait_for(ask, 30, f"nginx sends {address}")


@pytest.mark.parametrize("rest", KINDS)
def test_what_nginx_sends_is_what_the_portal_sends(world: World, rest: str) -> None:
    with world.client("dave", direct=True) as direct:
        for place in world.places:
            address = world.address(place, rest)
            for accept in KINDS[rest]:
                wait_for(lambda a=address, k=accept: "etag" in direct.get(a, headers={"Accept": k}).headers, 30, "made")
                own = direct.get(address, headers={"Accept": accept})
                front = laid_ready(world, address, accept)
                assert front.content == own.content and len(own.content) > 0
                assert {name: front.headers.get(name) for name in KEPT} == {n: own.headers.get(n) for n in KEPT}
                assert "x-accel-redirect" not in front.headers and "x-accel-redirect" not in own.headers
                again = world.dave.get(address, headers={"Accept": accept, "If-None-Match": own.headers["etag"]})
                assert (again.status_code, again.content) == (304, b"")
                other = {"Accept": accept, "If-None-Match": '"another"'}
                assert world.dave.get(address, headers=other).content == own.content
                assert world.dave.get(address, headers={"Accept": accept, "If-Match": '"another"'}).status_code == 412


def test_frames_are_the_pixels_that_were_sent(world: World) -> None:
    wanted = sorted(pydicom.dcmread(path).PixelData for path in world.files)
    got = [laid_ready(world, f"{place}/frames/1", KINDS["frames/1"][0]).content for place in world.places]
    assert sorted(got) == wanted


def test_ranges(world: World) -> None:
    address, accept = world.places[0], "application/dicom; transfer-syntax=*"
    whole = laid_ready(world, address, accept)
    for asked, part in (
        ("bytes=0-131", slice(0, 132)),
        ("bytes=-100", slice(-100, None)),
        ("bytes=99-", slice(99, None)),
    ):
        answer = world.dave.get(address, headers={"Accept": accept, "Range": asked, "If-Range": whole.headers["etag"]})
        assert (answer.status_code, answer.content) == (206, whole.content[part])
        assert answer.headers["etag"] == whole.headers["etag"]
    changed = world.dave.get(address, headers={"Accept": accept, "Range": "bytes=0-1", "If-Range": '"older"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    beyond = world.dave.get(address, headers={"Accept": accept, "Range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416


def test_nobody_without_the_right_gets_a_file(world: World) -> None:
    address, accept = f"{world.places[0]}/frames/1", KINDS["frames/1"][0]
    laid_ready(world, address, accept)
    before = len(world.front.sent())
    with world.client() as stranger, world.client("mallory") as mallory:
        for headers in ({}, {"X-Concord-Accel": "1"}, {"X-Accel-Redirect": "/_concord/archive/"}):
            for client, status in ((stranger, 401), (mallory, 404)):
                for one, kind in ((address, accept), (world.places[0], "application/dicom; transfer-syntax=*")):
                    answer = client.get(one, headers={"Accept": kind, **headers})
                    assert answer.status_code == status
    assert not any(where for _, where in world.front.sent()[before:])


def test_internal_locations_are_nobodys(world: World) -> None:
    laid_ready(world, f"{world.places[0]}/frames/1", KINDS["frames/1"][0])
    laid_ready(world, world.places[0], "application/dicom; transfer-syntax=*")
    known = {where for _, where in world.front.sent() if where}
    assert {where.split("/")[2] for where in known} == {"archive", "cache"}
    for path in [
        *known,
        "/_concord/",
        "/_concord/archive/../../secrets/secrets.json",
        "/_concord/cache/%2e%2e/secrets",
    ]:
        answer = world.dave.get(path)
        assert answer.status_code in {400, 404} and b"DICM" not in answer.content


def test_a_file_that_went_away_is_sent_by_the_portal(world: World) -> None:
    address, accept = f"{world.places[1]}/frames/1", OCTETS
    before = laid_ready(world, address, accept)
    shutil.rmtree(world.portal.home.path / "cache" / "framed")
    after = world.dave.get(address, headers={"Accept": accept})
    assert (after.status_code, after.content) == (200, before.content)
    assert laid_ready(world, address, accept).content == before.content


def test_a_token_that_ended_ends_it(world: World) -> None:
    query = "SELECT t.id FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.user_id WHERE u.username = 'erin'"
    [made] = world.portal.query(query)
    address, accept = f"{world.places[0]}/frames/1", KINDS["frames/1"][0]
    with world.client("erin") as erin:
        assert erin.get(address, headers={"Accept": accept}).status_code == 200
        world.portal.query("UPDATE accounts_apitoken SET revoked_at = now() WHERE id = %s RETURNING id", made["id"])
        wait_for(
            lambda: erin.get(address, headers={"Accept": accept}).status_code == 401, 10, "the token is no longer known"
        )


def test_a_client_that_comes_past_nginx_gets_bodies(world: World) -> None:
    address, accept = f"{world.places[0]}/frames/1", KINDS["frames/1"][0]
    wanted = laid_ready(world, address, accept).content
    with world.client("dave", direct=True) as direct:
        assert direct.get(address, headers={"Accept": accept}).content == wanted


def offered(carol: httpx.Client) -> set[str]:
    answer = carol.get("/dicomweb/workitems")
    return {one["00080018"]["Value"][0] for one in answer.json()} if answer.content else set()


def test_web_sockets_and_plain_http(world: World) -> None:
    worklist = "/dicomweb/workitems/1.2.840.10008.5.1.4.34.5/subscribers/WATCH"
    with world.client("carol") as carol:
        answer = carol.post(worklist)
        assert answer.status_code == 201
        offers = wait_for(lambda: offered(carol), 120, "the case is offered")
    headers = {"Authorization": f"Bearer {world.portal.user('carol')['token']}"}
    url = world.front.url.replace("https", "wss") + "/dicomweb/subscribers/WATCH"
    with connect(url, ssl=world.front.trust, additional_headers=headers, proxy=None) as link:
        told = json.loads(link.recv(timeout=30))
        assert told["00001000"]["Value"][0] in offers
    moved = httpx.get(f"{world.front.plain_url}/scans/?page=2", trust_env=False)
    assert (moved.status_code, moved.headers["location"]) == (301, "https://127.0.0.1/scans/?page=2")

"""Many senders at once while doors are killed: what they were told, and what is there afterwards.

Half of the associations are dcmtk's storescu, half pynetdicom's; the others send by STOW-RS. A sender that hears
nothing, or a refusal, sends the same instances again, as a scanner does. Afterwards each acknowledged instance is
looked for in the identity zone's store (its data set, byte for byte as it was sent) and by WADO-RS (its pixels).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import re
import secrets
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from tests.factories.archive import encoded, image
from tests.factories.peers import NO_NAGLE
from tests.support import Stack, wait_for

TITLE, PERSON = "BENCH", "bench"  # whose scans are kept as they come (portal/demo/people.py)
BATCH, GRACE = 4, 120.0  # instances at once; seconds after the end in which what was not acknowledged is sent again


def new_uid() -> str:
    """A UID of 44 characters, as all are here, so that one template does for all."""
    return f"2.25.{10**38 + secrets.randbelow(2**128 - 10**38)}"


@dataclass(frozen=True)
class Sent:
    """One instance: where it belongs, and SHA-256 of its data set and of its pixels."""

    study: str
    series: str
    sop: str
    data_set: str
    pixels: str
    content: bytes = field(repr=False, compare=False, default=b"")


class Images:
    """CT images under ever new UIDs, each with pixels of its own."""

    def __init__(self, sides: Sequence[int]) -> None:
        self.places = [new_uid() for _ in range(3)]
        study, series, sop = self.places
        self.plain = [
            encoded(image("CT", study=study, series=series, SOPInstanceUID=sop, Rows=side, Columns=side, seed=side))
            for side in sides
        ]
        self.sizes = [2 * side * side for side in sides]

    def batch(self, chance: random.Random) -> list[Sent]:
        """A series of a few images."""
        study, series = new_uid(), new_uid()
        return [self._one(study, series, chance) for _ in range(BATCH)]

    def _one(self, study: str, series: str, chance: random.Random) -> Sent:
        kind, sop = chance.randrange(len(self.plain)), new_uid()
        size, content = self.sizes[kind], self.plain[kind]
        pixels = (np.frombuffer(chance.randbytes(size), "<u2") & 0x0FFF).tobytes()
        content = content[:-size] + pixels
        for old, new in zip(self.places, (study, series, sop), strict=True):
            content = content.replace(old.encode(), new.encode())
        return Sent(study, series, sop, data_set_of(content), hashlib.sha256(pixels).hexdigest(), content)


def data_set_of(content: bytes) -> str:
    """SHA-256 of a file without preamble and file meta (PS3.10 7.1): every door writes its own."""
    assert content[128:138] == b"DICM\x02\x00\x00\x00UL"
    return hashlib.sha256(content[144 + int.from_bytes(content[140:144], "little") :]).hexdigest()


class Hammer:
    """The senders of one run, and what they were told."""

    def __init__(self, stack: Stack, folder: Path, sides: Sequence[int], pause: float = 0.0) -> None:
        """`sides` of the images in pixels, one of them by chance; `pause` of each sender between two batches."""
        self.pause = pause
        self.stack, self.folder, self.images = stack, folder, Images(sides)
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged: dict[str, Sent] = {}
        self.tried: dict[str, Sent] = {}
        self.heard: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        _config.STORE_SEND_CHUNKED_DATASET = True

    def run(self, seconds: float, kills: Sequence[tuple[float, str]], associations: int = 8, clients: int = 8) -> None:
        """Send for so long; `kills` are (seconds from the start, door) in order. Raises what a sender raised."""
        ways: list[Callable[[list[Sent]], set[str]]] = []
        for n in range(associations):
            ways.append(self._by_storescu if n % 2 else Association(self).send)
        for _ in range(clients):
            ways.append(Web(self).send)
        began = time.monotonic()
        with ThreadPoolExecutor(len(ways)) as pool:
            running = [pool.submit(self._sender, way, n, began + seconds) for n, way in enumerate(ways)]
            try:
                for at, door in kills:
                    time.sleep(max(0.0, began + at - time.monotonic()))
                    self._kill(door)
                time.sleep(max(0.0, began + seconds - time.monotonic()))
            finally:
                self.stop.set()
            for one in running:
                one.result()

    def _sender(self, way: Callable[[list[Sent]], set[str]], number: int, end: float) -> None:
        chance = random.Random(number)
        while not self.stop.is_set():
            left = self.images.batch(chance)
            with self.lock:
                self.tried.update((one.sop, _light(one)) for one in left)
            while left and time.monotonic() < end + GRACE:
                done = way(left)
                with self.lock:
                    self.acknowledged.update((one.sop, _light(one)) for one in left if one.sop in done)
                left = [one for one in left if one.sop not in done]
                if left:
                    time.sleep(0.2)
            self.stop.wait(self.pause)

    def _by_storescu(self, batch: list[Sent]) -> set[str]:
        place = self.folder / uuid.uuid4().hex
        place.mkdir(parents=True)
        for one in batch:
            (place / one.sop).write_bytes(one.content)
        files = [str(place / one.sop) for one in batch]
        command = ["storescu", "-v", "-to", "10", "-aet", TITLE, "-aec", self.stack.aet, "127.0.0.1",
                   str(self.stack.dicom_port), *files]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, env=NO_NAGLE, timeout=GRACE)
        for file in files:
            os.unlink(file)
        place.rmdir()
        # it says the file, then the answer
        words = re.findall(r"Sending file: \S*/(\S+)|Received Store Response \((.*?)\)", done.stdout + done.stderr)
        good, current = set(), ""
        for name, answer in words:
            current = name or current
            if answer:
                self.hear(f"C-STORE {answer}")
                good |= {current} if answer == "Success" else set()
        if len(good) < len(batch):
            self.hear("association broken off or refused")
        return good

    def hear(self, words: str) -> None:
        with self.lock:
            self.heard[words] += 1

    def _kill(self, door: str) -> None:
        """kill -9 a door that answers, or one of the listener's processes."""
        self.wait_answers(door)
        if door == "child":
            children = psutil.Process(self.stack.pid("dicom")).children()
            random.choice(children).send_signal(signal.SIGKILL)
        else:
            self.stack.kill(door)
        self.kills[door] += 1

    def wait_answers(self, door: str) -> None:
        """Return when a door is open."""
        wait_for(self._web_answers if door == "web" else self._dicom_answers, 90, f"{door} answers")

    def _web_answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.stack.url}/healthz", timeout=5).is_success
        return False

    def _dicom_answers(self) -> bool:
        ae = AE(ae_title=TITLE)
        ae.connection_timeout = ae.acse_timeout = 5
        ae.add_requested_context(Verification)
        line = ae.associate("127.0.0.1", self.stack.dicom_port, ae_title=self.stack.aet)
        if not line.is_established:
            return False
        line.release()
        return True

    # --- afterwards --------------------------------------------------------------------------------
    def drain(self, seconds: float) -> int:
        """Wait until everything that was received has gone on, at most so long; returns how much has not."""
        waiting = "SELECT count(*) AS n FROM ingest_receipt WHERE state IN ('received', 'deidentified')"
        end = time.monotonic() + seconds
        while (left := int(self.stack.query(waiting)[0]["n"])) and time.monotonic() < end:
            time.sleep(0.5)
        return left

    def kept(self) -> dict[str, list[str]]:
        """Kind of fault → SOP Instance UIDs: of what lies in the identity zone's store."""
        there = self._landed()
        return {
            "acknowledged, and not in the store": [uid for uid in self.acknowledged if uid not in there],
            "in the store with other bytes": [uid for uid, got in there.items() if got != {self.tried[uid].data_set}],
        }

    def archived(self) -> dict[str, list[str]]:
        """Kind of fault → SOP Instance UIDs: of what the archive should have, and of what WADO-RS gives."""
        rows = self.stack.query(
            "SELECT i.sop_uid, count(*) AS n FROM archive_instance i JOIN accounts_organisation o"
            " ON o.id = i.organisation_id WHERE o.slug = 'bench' GROUP BY i.sop_uid"
        )
        times = {row["sop_uid"]: row["n"] for row in rows}
        mine = self.acknowledged
        there = [one for uid, one in mine.items() if uid in times]
        with ThreadPoolExecutor(4) as pool:
            pixels = {one.sop: got for one, got in zip(there, pool.map(self._pixels, there), strict=True)}
        return {
            "acknowledged, and not in the archive": [uid for uid in mine if uid not in times],
            "in the archive more than once": [uid for uid, count in times.items() if count != 1],
            "in the archive with other pixels by WADO-RS": [
                uid for uid, got in pixels.items() if got != mine[uid].pixels
            ],
        }

    def _landed(self) -> dict[str, set[str]]:
        """SOP Instance UID → digests of the data sets that lie in the identity zone's store."""
        found: dict[str, set[str]] = {}
        root = self.stack.home.path / "storage" / "identities" / "landing"
        for path in root.glob("??/*.dcm"):
            uid = str(dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
            if uid in self.tried:
                found.setdefault(uid, set()).add(data_set_of(path.read_bytes()))
        return found

    def _pixels(self, one: Sent) -> str:
        address = f"/dicomweb/studies/{one.study}/series/{one.series}/instances/{one.sop}/frames/1"
        answer = self._reader().get(address, headers={"Accept": "application/octet-stream"})
        return hashlib.sha256(answer.content).hexdigest() if answer.is_success else f"{answer.status_code}"

    def _reader(self) -> httpx.Client:
        here = threading.current_thread()
        if not hasattr(here, "reader"):
            here.reader = self.stack.as_(PERSON).http  # type: ignore[attr-defined]
        client: httpx.Client = here.reader  # type: ignore[attr-defined]
        return client


def _light(one: Sent) -> Sent:
    return Sent(one.study, one.series, one.sop, one.data_set, one.pixels)


class Association:
    """pynetdicom's side of one association; opened again when it broke."""

    def __init__(self, hammer: Hammer) -> None:
        self.hammer, self.line = hammer, None
        self.ae = AE(ae_title=TITLE)
        self.ae.connection_timeout = self.ae.acse_timeout = 10
        self.ae.dimse_timeout = self.ae.network_timeout = 60
        self.ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)

    def send(self, batch: list[Sent]) -> set[str]:
        """Send; returns what was acknowledged."""
        stack, good = self.hammer.stack, set()
        if self.line is None or not self.line.is_established:
            self.line = self.ae.associate("127.0.0.1", stack.dicom_port, ae_title=stack.aet)
        for one in batch:
            if not self.line.is_established:
                self.hammer.hear("association broken off or refused")
                break
            path = self.hammer.folder / f"{uuid.uuid4().hex}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.content)
            try:
                code = self.line.send_c_store(path).get("Status")
            except (RuntimeError, ValueError):
                code = None
            finally:
                path.unlink()
            if code is not None:
                self.hammer.hear(f"C-STORE {'Success' if code == 0 else f'{code:#06x}'}")
            if code == 0:
                good.add(one.sop)
        if self.hammer.stop.is_set() and self.line.is_established:
            self.line.release()
        return good


class Web:
    """One client of STOW-RS."""

    def __init__(self, hammer: Hammer) -> None:
        self.hammer, self.http = hammer, hammer.stack.as_(PERSON).http

    def send(self, batch: list[Sent]) -> set[str]:
        """Store; returns what was acknowledged."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(itertools.chain.from_iterable((head, one.content, b"\r\n") for one in batch))
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        try:
            answer = self.http.post(
                "/dicomweb/studies", content=body + f"--{boundary}--\r\n".encode(), headers={"Content-Type": kind}
            )
        except httpx.HTTPError as error:
            self.hammer.hear(f"STOW {type(error).__name__}")
            return set()
        self.hammer.hear(f"STOW {answer.status_code}")
        if answer.status_code not in {200, 202, 409}:
            return set()
        stored = answer.json().get("00081199", {}).get("Value", [])
        return {item["00081155"]["Value"][0] for item in stored}

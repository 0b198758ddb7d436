"""QIDO-RS by kind of query, in an archive of 255 studies and of 100,000: p50, and the processor time of the server.

One client after another over HTTP with a token, one web process, PostgreSQL with its rows in memory. The archive is
made by the database itself (`archive_fill`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from deploy.embedded.config import ROOT, Home, free_port
from deploy.embedded.postgres import Postgres
from deploy.embedded.valkey import Valkey
from tests.bench.archive_fill import ROOT as UIDS
from tests.support import wait_for

SMALL, LARGE, REQUESTS = 254, 100_000, 200
QUERIES = {
    "studies, limit=50": "studies?limit=50",
    "page 41 by key": "studies?limit=50&after={middle}",
    "page 5 by offset": "studies?limit=50&offset=200",
    "PatientID": "studies?PatientID=P-7&limit=50",
    "PatientID=P-7*": "studies?PatientID=P-7*&limit=50",
    "PatientName=anon^hlpha7": "studies?PatientName=anon^hlpha7&limit=50",
    "AccessionNumber": "studies?AccessionNumber=A77&limit=50",
    "StudyInstanceUID": f"studies?StudyInstanceUID={UIDS}.1.5&limit=50",
    "StudyDate of one year": "studies?StudyDate=20180101-20181231&limit=50",
    "StudyDate and time": "studies?StudyDate=20180101-20181231&StudyTime=08-12&limit=50",
    "ModalitiesInStudy": "studies?ModalitiesInStudy=MG&limit=50",
    "ModalitiesInStudy, none": "studies?ModalitiesInStudy=US&limit=50",
    "StudyID (no column)": "studies?StudyID=S33&limit=50",
    "orderby=-StudyDate": "studies?orderby=-StudyDate&limit=50",
    "series of a study": f"studies/{UIDS}.1.5/series",
    "120 instances of a study": f"studies/{UIDS}.1.0/instances",
    "series, limit=50": "series?limit=50",
    "instances, limit=50": "instances?limit=50",
}


def cpu(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, token: str, pid: int, middle: int) -> dict[str, tuple[float, float]]:
    """(p50, processor time of the web process) in milliseconds by kind of query."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update({"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"})
    out = {}
    for name, query in QUERIES.items():
        address = f"{url}/dicomweb/{query.format(middle=middle)}"
        for _ in range(10):
            assert session.get(address).status_code in {200, 204}, address
        times, used = [], cpu(pid)
        for _ in range(REQUESTS):
            started = time.perf_counter()
            session.get(address)
            times.append(1000 * (time.perf_counter() - started))
        out[name] = statistics.median(times), 1000 * (cpu(pid) - used) / REQUESTS
    return out


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="concord-qido-"))
    folder.chmod(0o755)
    for variable in ("CONCORD_PG_PORT", "CONCORD_VALKEY_PORT", "CONCORD_PORT"):
        os.environ[variable] = str(free_port())
    home = Home.open(folder)
    postgres, valkey = Postgres(home), Valkey(home)
    valkey.start()
    postgres.start()
    try:
        owner = {**os.environ, **home.env("identities"), "DATABASE_URL": home.database_url("owner")}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=owner, check=True)
        small = at_size(home, owner, 0, SMALL)
        large = at_size(home, owner, SMALL + 1, LARGE)
        print(f"| query | {SMALL + 1} studies p50 ms | CPU ms | {LARGE:,} studies p50 ms | CPU ms | ratio of p50 |")
        print("|---|---|---|---|---|---|")
        for name, (p50, used) in small.items():
            p50_large, used_large = large[name]
            print(f"| {name} | {p50:.1f} | {used:.2f} | {p50_large:.1f} | {used_large:.2f} | {p50_large / p50:.2f} |")
    finally:
        postgres.stop()
        valkey.stop()


def at_size(home: Home, env: dict[str, str], first: int, last: int) -> dict[str, tuple[float, float]]:
    """Fill up to `last` and measure with a web process of its own."""
    command = [sys.executable, "-m", "tests.bench.archive_fill", str(first), str(last)]
    token = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.strip()
    port = env["CONCORD_PORT"]
    web = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", port, "--log-level", "error"]
    process = subprocess.Popen(web, cwd=ROOT, env=env)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return requests.get(f"{url}/dicomweb/studies", timeout=10).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        wait_for(ready, 120, "the web process answers")
        return measure(url, token, process.pid, last // 2)
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()

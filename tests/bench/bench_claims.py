"""Claims of the next case by 1,000 readers over 10,000 open cases: p50 and p95, every case once, none lost.

One web process for each core, each with its pool of connections, as the portal runs; PostgreSQL writes durably.
A claim is `claim_next` from the moment the reader asks, with the wait for a connection and the live event, without
HTTP. Three loads: one reader after another, with the processor time that a claim takes in the web process; a working
day (readers ask at random, each once in 90 s, the time a case is expected to take); and the worst moment (all 1,000
in the same instant).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.embedded.config import ROOT, Home, free_port
from deploy.embedded.postgres import Postgres
from deploy.embedded.valkey import Valkey

READERS, CASES, SECONDS_A_CASE, DAY, ALONE = 1000, 10_000, 90.0, 30.0, 300
LIMIT_MS = 50


def child(mode: str, first: int, count: int, begin: float) -> None:
    """One web process: `count` readers from `first` on; prints [[reader, case or null, milliseconds], …]."""
    import django

    django.setup()
    from django.db import connections

    from portal.accounts.models import User
    from portal.programmes.actions import claim_next
    from portal.programmes.models import Assignment

    connections["default"].settings_dict["OPTIONS"]["pool"]["timeout"] = 300
    users = list(User.objects.filter(username__startswith="bench-").order_by("pk")[first : first + count])
    connections["default"].close()
    rows: list[tuple[int, int | None, float]] = []

    def ask(user: User, at: float) -> None:
        time.sleep(max(0.0, at - time.time()))
        asked = at
        got = claim_next(user)
        rows.append((user.pk, got.case_id if got else None, 1000 * (time.time() - asked)))
        if mode != "instant" and got:  # read at once, so that the reader may ask again
            Assignment.objects.filter(pk=got.pk).update(state="submitted")
        connections["default"].close()

    rng = random.Random(first)
    if mode == "alone":
        ask(users[0], begin)  # plans, connections
        rows.clear()
        used = time.process_time()
        for user in users[:ALONE]:
            ask(user, begin := time.time())
        print(f"{1000 * (time.process_time() - used) / len(rows):.1f} ms of processor time a claim", file=sys.stderr)
    elif mode == "day":
        due, at = [], begin
        while (at := at + rng.expovariate(count / SECONDS_A_CASE)) < begin + DAY:
            due.append((rng.choice(users), at))
        with ThreadPoolExecutor(40) as pool:
            for user, at in due:
                time.sleep(max(0.0, at - time.time()))
                pool.submit(ask, user, at)
    else:
        threads = [threading.Thread(target=ask, args=(user, begin)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(rows))


def load(mode: str, env: dict[str, str]) -> None:
    """Run one load and print its line."""
    processes, begin = 1 if mode == "alone" else os.cpu_count() or 1, time.time() + 15
    share = READERS // processes
    command = [sys.executable, "-m", "tests.bench.bench_claims", mode]
    children = [
        subprocess.Popen(
            [*command, str(n * share), str(share), str(begin)], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        )
        for n in range(processes)
    ]
    rows = [tuple(row) for process in children for row in json.loads(process.communicate()[0])]
    times = sorted(ms for _, _, ms in rows)
    cases = [case for _, case, _ in rows if case is not None]
    doubled = len({(reader, case) for reader, case, _ in rows if case is not None}) - len(set(cases))
    p50, p95 = times[len(times) // 2], times[int(0.95 * len(times))]
    rate = len(rows) / {"day": DAY, "instant": times[-1] / 1000, "alone": sum(times) / 1000}[mode]
    print(
        f"| {mode} | {len(rows)} | {rate:.0f} | {p50:.1f} | {p95:.1f} | {times[-1]:.1f} | {LIMIT_MS} "
        f"| {doubled} | {len(rows) - len(cases)} |",
        flush=True,
    )


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="concord-claims-"))
    folder.chmod(0o755)
    for variable in ("CONCORD_PG_PORT", "CONCORD_VALKEY_PORT"):
        os.environ[variable] = str(free_port())
    home = Home.open(folder)
    postgres, valkey = Postgres(home), Valkey(home)
    valkey.start()
    postgres.start()
    try:
        env = {**os.environ, **home.env("identities"), "DATABASE_URL": home.database_url("owner")}
        env |= {"DJANGO_SETTINGS_MODULE": "portal.settings", "CONCORD_DB_POOL": "12"}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
        subprocess.run([sys.executable, "-m", "tests.bench.bench_claims", "fill"], cwd=ROOT, env=env, check=True)
        print("| load | claims | /s | p50 ms | p95 ms | longest ms | wanted p95 | given twice | got none |")
        print("|---|---|---|---|---|---|---|---|---|")
        for mode in ("alone", "day", "instant"):
            load(mode, env)
    finally:
        postgres.stop()
        valkey.stop()


def fill() -> None:
    """1,000 readers and 10,000 cases."""
    import django

    django.setup()
    from portal.accounts.models import Organisation
    from portal.programmes.models import Programme, Protocol
    from tests.factories.queue import panel, queued

    organisation = Organisation.objects.create(slug="bench", name="Bench")
    programme = Programme.objects.create(organisation=organisation, slug="bench", name="Bench", modalities=["MG"])
    Protocol.objects.create(programme=programme, number=1, qualification="MG")
    panel(programme, READERS, "bench")
    queued(programme, CASES)


if __name__ == "__main__":
    if sys.argv[1:] == ["fill"]:
        fill()
    elif len(sys.argv) == 5:
        child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()

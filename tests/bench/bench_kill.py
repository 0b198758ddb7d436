"""Eight associations and eight STOW clients at once for five minutes, the doors killed (kill -9) in between.

    python -m tests.bench kill        (CONCORD_BENCH_SECONDS=300, CONCORD_BENCH_KILL_EVERY=20)

Prints what was acknowledged, what was heard instead, and whether each acknowledged instance is there byte for byte.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from pathlib import Path

from tests.bench.house import configure, row
from tests.conftest import start_portal

SECONDS = int(os.environ.get("CONCORD_BENCH_SECONDS", "300"))
EVERY = float(os.environ.get("CONCORD_BENCH_KILL_EVERY", "20"))
PAUSE = float(os.environ.get("CONCORD_BENCH_PAUSE", "0.2"))  # of each sender, so that the workers come to their turn
DOORS = ("dicom", "web", "child")
PATIENCE = float(os.environ.get("CONCORD_BENCH_PATIENCE", "3600"))  # seconds for what was received to be archived
SIDES = (32, 128, 128, 256, 512)


def main() -> None:
    """Print the tables; ends with an error when something is missing."""
    folder = Path(tempfile.mkdtemp(prefix="concord-bench-"))
    folder.chmod(0o755)
    process, stack = start_portal(folder / "portal")
    try:
        configure(stack.home)
        from tests.factories.hammer import Hammer  # wants a configured Django

        hammer = Hammer(stack, folder / "out", SIDES, PAUSE)
        times = itertools.takewhile(lambda at: at < SECONDS, (EVERY * n for n in itertools.count(1)))
        began = time.monotonic()
        hammer.run(SECONDS, list(zip(times, itertools.cycle(DOORS), strict=False)))
        row("what", "number")
        row("---", "---")
        row("seconds of sending", f"{time.monotonic() - began:.0f}")
        row("instances tried, acknowledged", f"{len(hammer.tried)}, {len(hammer.acknowledged)}")
        for door, count in sorted(hammer.kills.items()):
            row(f"kill -9: {door}", count)
        for words, count in sorted(hammer.heard.items()):
            row(f"heard: {words}", count)
        faults = hammer.kept()
        for words, uids in faults.items():
            row(words, len(uids))
        left = hammer.drain(PATIENCE)
        row("seconds until then, still waiting to be archived", f"{time.monotonic() - began:.0f}, {left}")
        faults |= hammer.archived()
        for words in list(faults)[-3:]:
            row(words, len(faults[words]))
        if left:
            faults.pop("acknowledged, and not in the archive")  # nor could it be
        if any(faults.values()):
            raise SystemExit("something that was acknowledged is not there")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)

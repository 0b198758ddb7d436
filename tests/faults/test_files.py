"""Files that processes read of each other: whole at every moment."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from deploy.embedded.files import write_whole


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    write_whole(path, "[]")
    ended = threading.Event()

    def write() -> None:
        for size in range(400):
            write_whole(path, json.dumps(list(range(size * 20))))
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not ended.is_set():
        seen = json.loads(path.read_text())
        assert seen == list(range(len(seen)))
        reads += 1
    writer.join()
    assert reads > 10 and os.stat(path).st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["demo.json"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["secrets.json"]

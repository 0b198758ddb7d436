"""A disk that fails while several files arrive together: each sender hears the truth about its own."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest

from portal.core import storage
from portal.core.models import OutboxEvent
from portal.ingest import arrivals, landing
from portal.ingest.models import LandingFile, Receipt, Source
from tests.portal.test_ingest_receive import changed, lakeside, send, source  # noqa: F401

pytestmark = pytest.mark.django_db


def failing(monkeypatch: pytest.MonkeyPatch, bad: list[landing.Landed], folders: bool = False) -> None:
    def sync(path: Path) -> None:
        if path in [one.path for one in bad] or (folders and path.is_dir()):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(landing, "_sync", sync)


def kept() -> set[str]:
    root = storage.local_path(storage.landing(), "")
    assert root is not None
    return {str(path.relative_to(root)) for path in root.rglob("*.dcm")}


def test_one_that_cannot_be_written_does_not_spoil_the_others(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    there = kept()
    before = send(source, changed(SOPInstanceUID="1.2.3.1"))
    contents = [
        changed(SOPInstanceUID="1.2.3.1"),  # here already
        changed(SOPInstanceUID="1.2.3.2"),
        changed(SOPInstanceUID="1.2.3.3"),  # its sync fails
        changed(SOPInstanceUID="1.2.3.1", PatientName="Other^One"),  # a conflict, set aside
        changed(SOPInstanceUID="1.2.3.4"),
    ]
    bad: list[landing.Landed] = []
    failing(monkeypatch, bad)
    landed = [landing.land(io.BytesIO(one)) for one in contents]
    bad.append(landed[2])
    landed[2].sync_soon()
    group = [arrivals.arrive(source, one, None, None) for one in landed]
    arrivals.settle(group)
    assert [type(arrival.error) for arrival in group] == [type(None), type(None), OSError, type(None), type(None)]
    states = [arrival.receipt.state for arrival in group if arrival.error is None]
    assert states == ["duplicate", "received", "quarantined", "received"]
    names = dict(LandingFile.objects.values_list("receipt_id", "name"))
    assert set(names) == {before.pk} | {group[n].receipt.pk for n in (1, 3, 4)}
    assert kept() - there == set(names.values())
    assert not Receipt.objects.filter(pk=group[2].receipt.pk).exists()
    owed = OutboxEvent.objects.filter(topic="ingest.received").values_list("key", flat=True)
    assert sorted(owed) == sorted(str(pk) for pk in (before.pk, group[1].receipt.pk, group[4].receipt.pk))
    assert not list(landing.incoming().iterdir())


def test_a_folder_that_cannot_be_synced_keeps_nothing_and_says_so(
    source: Source,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = kept()
    failing(monkeypatch, [], folders=True)
    group = [
        arrivals.arrive(source, landing.land(io.BytesIO(changed(SOPInstanceUID=f"1.2.4.{n}"))), None, None)
        for n in range(3)
    ]
    arrivals.settle(group)
    assert all(isinstance(arrival.error, OSError) for arrival in group)
    assert not Receipt.objects.exists() and kept() == there and not list(landing.incoming().iterdir())
    monkeypatch.undo()
    assert send(source, changed(SOPInstanceUID="1.2.4.0")).state == "received"

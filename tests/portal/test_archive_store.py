"""Storing an instance: once, whole, by several workers at a time, and again after a crash."""

from __future__ import annotations

import gzip
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import connections
from django.utils import timezone
from pydicom.uid import generate_uid

from portal.accounts.models import Organisation
from portal.archive import actions, tasks
from portal.archive.models import Instance, Patient, Series, Study
from portal.core import storage
from portal.core.models import OutboxEvent
from portal.ingest.models import Receipt
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lakeside() -> Organisation:
    return make.organisation()


def on_disk(name: str) -> Path:
    return Path(storage.archive().path(name))


def test_one_file_becomes_its_rows(lakeside: Organisation) -> None:
    ds = make.image("MG", ImageLaterality="R", ViewPosition="MLO", BodyPartExamined="BREAST", PatientAge="093Y")
    receipt = make.stored(ds, lakeside)
    instance = Instance.objects.select_related("study__patient", "series").get()
    assert (instance.laterality, instance.view, instance.frames) == ("R", "MLO", 1)
    assert instance.study.patient_age == 89
    assert instance.study.modalities == ["MG"] and instance.study.body_part == "BREAST"
    assert (instance.study.instance_count, instance.study.series_count, instance.study.revision) == (1, 1, 1)
    assert instance.study.patient.pseudonym == "P-0001" and instance.study.patient.sex == "F"
    assert instance.name == f"lakeside/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
    [[offset, length]] = instance.frame_table
    assert on_disk(instance.name).read_bytes()[offset : offset + length] == ds.PixelData
    assert "7FE00010" in instance.headers and "Value" not in instance.headers["7FE00010"]
    assert (receipt.study_uid, receipt.sop_uid) == (ds.StudyInstanceUID, ds.SOPInstanceUID)
    assert not on_disk(storage.staged_name(receipt.pk)).exists()


def test_the_task_may_run_twice(lakeside: Organisation) -> None:
    receipt = make.staged(make.encoded(make.image()), lakeside)
    tasks.store_receipt(str(receipt.pk))
    tasks.store_receipt(str(receipt.pk))
    study = Study.objects.get()
    assert (Instance.objects.count(), study.revision, study.instance_count) == (1, 1, 1)


@pytest.mark.parametrize("step", ["portal.archive.actions.publish", "portal.archive.actions._grow",
                                  "portal.archive.actions._move"])  # fmt: skip
def test_a_crash_at_any_step_leaves_nothing_half_done(lakeside: Organisation, step: str) -> None:
    receipt = make.staged(make.encoded(make.image()), lakeside)
    with mock.patch(step, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        actions.store_receipt(receipt.pk)
    assert not Instance.objects.exists() and not Study.objects.exists()
    receipt.refresh_from_db()
    assert receipt.state == Receipt.State.DEIDENTIFIED
    assert actions.store_receipt(receipt.pk).state == Receipt.State.ARCHIVED
    assert on_disk(Instance.objects.get().name).is_file()


def test_a_crash_between_commit_and_clearing_up_is_cleared_up(lakeside: Organisation) -> None:
    receipt = make.stored(make.image(), lakeside)
    left_over = on_disk(storage.staged_name(receipt.pk))
    left_over.write_bytes(b"left by a crash")
    actions.store_receipt(receipt.pk)
    assert not left_over.exists() and Instance.objects.count() == 1


def test_several_workers_on_one_study(lakeside: Organisation) -> None:
    study, series = generate_uid(), [generate_uid() for _ in range(3)]
    images = [make.image(study=study, series=series[n % 3], InstanceNumber=n, seed=n) for n in range(24)]
    waiting = [make.staged(make.encoded(one), lakeside).pk for one in images]
    failed: list[Exception] = []

    def work(mine: list[Any]) -> None:
        try:
            for key in mine:
                actions.store_receipt(key)
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    # two workers are given each receipt, as after a lease that ran out too early
    threads = [threading.Thread(target=work, args=(waiting[n::4],)) for n in (0, 1, 2, 3, 0, 1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    found = Study.objects.get()
    assert (found.instance_count, found.series_count, found.revision) == (24, 3, 24)
    assert (Patient.objects.count(), Series.objects.count(), Instance.objects.count()) == (1, 3, 24)
    assert sorted(Series.objects.values_list("instance_count", flat=True)) == [8, 8, 8]
    assert set(Receipt.objects.values_list("state", flat=True)) == {"archived"}


def test_the_same_bytes_again_are_a_duplicate_and_other_bytes_a_conflict(lakeside: Organisation) -> None:
    ds = make.image()
    make.stored(ds, lakeside)
    again = actions.store_receipt(make.staged(make.encoded(ds), lakeside).pk)
    assert again.state == Receipt.State.DUPLICATE
    ds.StudyDescription = "Other"
    other = actions.store_receipt(make.staged(make.encoded(ds), lakeside).pk)
    assert (other.state, other.reason) == (Receipt.State.QUARANTINED, "conflict")
    assert Study.objects.get().instance_count == 1


def test_a_series_cannot_belong_to_two_studies(lakeside: Organisation) -> None:
    first = make.image()
    make.stored(first, lakeside)
    other = make.image(series=first.SeriesInstanceUID)
    receipt = actions.store_receipt(make.staged(make.encoded(other), lakeside).pk)
    assert (receipt.state, receipt.reason) == (Receipt.State.QUARANTINED, "contradiction")
    assert Study.objects.get().study_uid == first.StudyInstanceUID


@pytest.mark.parametrize(("content", "reason"), [(b"not DICOM at all", "unreadable"), (None, "not_archived")])
def test_what_cannot_be_stored_is_set_aside(lakeside: Organisation, content: bytes | None, reason: str) -> None:
    receipt = make.staged(content or b"", lakeside)
    if content is None:
        on_disk(storage.staged_name(receipt.pk)).unlink()
    after = actions.store_receipt(receipt.pk)
    assert (after.state, after.reason) == (Receipt.State.QUARANTINED, reason)


def test_a_truncated_file_is_set_aside(lakeside: Organisation) -> None:
    receipt = actions.store_receipt(make.staged(make.encoded(make.image())[:-700], lakeside).pk)
    assert (receipt.state, receipt.reason) == (Receipt.State.QUARANTINED, "pixel_mismatch")


def test_the_same_uids_in_two_organisations_are_two_studies(lakeside: Organisation) -> None:
    ds = make.image()
    make.stored(ds, lakeside)
    make.stored(ds, make.organisation("harbour"))
    assert Study.objects.count() == 2 == Instance.objects.count()


def test_a_quiet_study_settles_once_and_a_late_image_reopens_it(lakeside: Organisation) -> None:
    first = make.image(StudyDescription="")
    make.stored(first, lakeside)
    tasks.settle_studies()
    assert Study.objects.get().state == Study.State.ARRIVING  # three seconds have not passed
    for _ in range(2):
        Study.objects.update(last_instance_at=timezone.now() - timedelta(seconds=10))
        tasks.settle_studies()
    study = Study.objects.get()
    assert study.state == Study.State.SETTLED
    assert OutboxEvent.objects.filter(topic="archive.study_settled").values("task").distinct().count() == \
        OutboxEvent.objects.filter(topic="archive.study_settled").count()  # fmt: skip
    series = study.series.get()
    assert series.metadata_revision == 1
    assert json.loads(gzip.decompress(series.metadata))[0]["00080018"]["Value"] == [first.SOPInstanceUID]

    late = make.image(study=first.StudyInstanceUID, series=first.SeriesInstanceUID, StudyDescription="Late")
    make.stored(late, lakeside)
    study.refresh_from_db()
    assert (study.state, study.revision, study.description) == (Study.State.ARRIVING, 2, "Late")
    assert actions.settle_study(study.pk)
    assert study.series.get().metadata_revision == 2


def test_odd_values_do_not_stop_a_file(lakeside: Organisation) -> None:
    ds = make.image(PatientID=None, PatientAge="abc", StudyDate="2024", SeriesNumber=None)
    ds.add_new(0x00189073, "FD", float("nan"))
    ds.StudyDescription = "nul\0inside"
    make.stored(ds, lakeside)
    instance = Instance.objects.select_related("study__patient").get()
    assert instance.headers["00189073"]["Value"] == ["NaN"]
    assert instance.study.study_date is None and instance.study.patient_age is None
    assert instance.study.patient.pseudonym.startswith("study ")
    assert "\0" not in json.dumps(instance.headers)

"""Network inputs are made before the gpu worker, kept as long as there is room, and made again when they are lost."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from portal.accounts.models import Organisation
from portal.archive.models import Study
from portal.archive.shelf import Shelf
from portal.core import outbox, storage
from portal.core.models import OutboxEvent
from portal.core.tasks import QUEUES
from portal.infer import actions, execute, tasks
from portal.infer.models import Matrix, Run
from portal.pipeline import FOLLOWS
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)
EXECUTE = "portal.infer.tasks.execute_run"


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    return make.organisation()


def chest(org: Organisation, seed: int = 0) -> Study:
    return make.settled([make.image("DX", seed=seed, BodyPartExamined="CHEST", Rows=160, Columns=128)], org)


def planned(study: Study) -> Run:
    [run] = actions.plan_runs(study.pk)
    return run


def archived(study: Study) -> Path:
    return Path(storage.archive().path(study.instances.get().name))


def kept() -> list[Path]:
    return list((Path(django_settings.HOME) / "cache" / "prepared").glob("??/*"))


def said(run: Run) -> list[bytes]:
    rows = Matrix.objects.filter(image__run=run).order_by("row").values_list("data", flat=True)
    return [gzip.decompress(bytes(row)) for row in rows]


@pytest.fixture(autouse=True)
def own_shelf(settings: Any, tmp_path: Path) -> None:
    """Tests of other processes keep inputs at the same time."""
    settings.HOME = tmp_path


def test_inputs_are_made_on_a_cpu_and_the_gpu_worker_needs_the_image_no_more(lakeside: Organisation) -> None:
    assert QUEUES["portal.infer.tasks.prepare_run"] == "default" and QUEUES[EXECUTE] == "gpu"
    run = planned(chest(lakeside))
    assert not kept() and not OutboxEvent.objects.filter(task=EXECUTE).exists()
    for _ in range(2):
        tasks.prepare_run(str(run.pk))
    run.refresh_from_db()
    assert run.ready and run.state == Run.State.QUEUED and len(kept()) == 1
    assert OutboxEvent.objects.filter(task=EXECUTE, key=str(run.pk)).count() == 1
    path = archived(run.study)
    path.rename(path.with_suffix(".away"))
    done = execute.execute_run(run.pk)
    assert done.state == Run.State.DONE, done.error


@pytest.mark.parametrize("how", ["never made", "lost", "cut off", "spoilt"])
def test_a_missing_or_damaged_input_is_made_again_and_gives_the_same(lakeside: Organisation, how: str) -> None:
    study = chest(lakeside)
    first = planned(study)
    tasks.prepare_run(str(first.pk))
    execute.execute_run(first.pk)
    [path] = kept()
    whole = path.read_bytes()
    Study.objects.filter(pk=study.pk).update(revision=study.revision + 1)
    second = planned(Study.objects.get(pk=study.pk))
    if how in {"never made", "lost"}:
        path.unlink()
    elif how == "cut off":
        path.write_bytes(whole[:1000])
    else:
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    if how != "never made":
        tasks.prepare_run(str(second.pk))
    assert execute.execute_run(second.pk).state == Run.State.DONE
    assert said(second) == said(first) != []
    assert path.read_bytes() == whole


def test_what_cannot_be_prepared_goes_on_and_the_run_says_why(lakeside: Organisation) -> None:
    broken, odd, killed = (planned(chest(lakeside, seed)) for seed in range(3))
    path = archived(broken.study)
    path.write_bytes(path.read_bytes()[:1200])
    tasks.prepare_run(str(broken.pk))
    with mock.patch.object(actions, "prepare_study", side_effect=ZeroDivisionError):
        tasks.prepare_run(str(odd.pk))
    with mock.patch.object(actions, "prepare_study", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        tasks.prepare_run(str(killed.pk))
    killed.refresh_from_db()
    assert not killed.ready
    with mock.patch.object(actions, "prepare_study", side_effect=AssertionError("tried twice")):
        tasks.prepare_run(str(killed.pk))
    assert Run.objects.filter(ready=True).count() == 3 == OutboxEvent.objects.filter(task=EXECUTE).count()
    assert [execute.execute_run(run.pk).error_code for run in (broken, odd, killed)] == ["unreadable_image", "", ""]


def test_a_cancelled_run_is_not_handed_on(lakeside: Organisation) -> None:
    run = planned(chest(lakeside))
    actions.cancel(Run.objects.get(pk=run.pk))
    tasks.prepare_run(str(run.pk))
    assert not OutboxEvent.objects.filter(task=EXECUTE).exists() and not kept()


def row(run: Run) -> OutboxEvent:
    return OutboxEvent.objects.get(task=EXECUTE, key=str(run.pk))


def test_what_waits_is_taken_together_the_most_urgent_first(lakeside: Organisation, settings: Any) -> None:
    settings.INFERENCE_BATCH = settings.INFERENCE_GROUP = 3
    runs = [planned(chest(lakeside, seed)) for seed in range(6)]
    for run in runs:
        tasks.prepare_run(str(run.pk))
    Run.objects.filter(pk=runs[5].pk).update(priority=5)
    Run.objects.filter(pk=runs[1].pk).update(attempts=1)  # a worker died of it, or beside it
    groups: list[set[Any]] = []
    real = execute.execute_runs

    def seen(keys: list[str]) -> Any:
        groups.append(set(keys))
        return real(keys)

    with mock.patch.object(execute, "execute_runs", side_effect=seen):
        tasks.execute_run(str(runs[0].pk), outbox_id=row(runs[0]).pk)
        assert groups == [{str(runs[n].pk) for n in (0, 5, 2)}]
        tasks.execute_run(str(runs[0].pk), outbox_id=row(runs[0]).pk)  # its message is late: others are taken
        assert groups[1] == {str(runs[n].pk) for n in (3, 4)}
        tasks.execute_run(str(runs[1].pk), outbox_id=row(runs[1]).pk)
        assert groups[2] == {str(runs[1].pk)}
        tasks.execute_run(str(runs[1].pk), outbox_id=row(runs[1]).pk)
        assert groups[3] == set()
    assert set(Run.objects.values_list("state", flat=True)) == {Run.State.DONE}
    assert {row(run).state for run in runs} == {"done"} and {row(run).attempts for run in runs} == {1}
    assert OutboxEvent.objects.filter(topic="infer.run_finished").count() == 6 * len(FOLLOWS["infer.run_finished"])


def test_one_runs_odd_fault_puts_it_alone_back(lakeside: Organisation) -> None:
    runs = [planned(chest(lakeside, seed)) for seed in range(3)]
    for run in runs:
        tasks.prepare_run(str(run.pk))
    real = execute.store_findings

    def store(found: Any) -> None:
        if any(run.pk == runs[1].pk for run, _, _ in found):
            raise ZeroDivisionError("odd")
        real(found)

    with mock.patch.object(execute, "store_findings", side_effect=store):
        tasks.execute_run(str(runs[0].pk), outbox_id=row(runs[0]).pk)
    states = [Run.objects.get(pk=run.pk).state for run in runs]
    assert states == [Run.State.DONE, Run.State.QUEUED, Run.State.DONE]
    assert [row(run).state for run in runs] == ["done", "waiting", "done"] and "odd" in row(runs[1]).error
    tasks.execute_run(str(runs[1].pk), outbox_id=row(runs[1]).pk)
    assert Run.objects.get(pk=runs[1].pk).state == Run.State.DONE


def test_rows_that_are_held_are_renewed_and_closed_together() -> None:
    rows = [OutboxEvent.objects.create(topic="t", task="x", key=str(n)) for n in range(3)]
    other = OutboxEvent.objects.create(topic="t", task="y", key="2")
    with outbox.lease(rows[0].pk, "0", "x", more=True) as held:
        assert sorted(held.take(["1", "2", "3"])) == ["1", "2"] and held.take(["1"]) == []
        with outbox.lease(rows[1].pk, "1", "x") as second:
            assert second.keys == []
        held.again("1", ValueError("no"))
    states = [OutboxEvent.objects.get(pk=one.pk).state for one in (*rows, other)]
    assert states == ["done", "waiting", "done", "waiting"]


def test_a_shelf_holds_no_more_than_it_may(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HOME = tmp_path
    monkeypatch.setattr("portal.archive.shelf.TRIM_CHANCE", 0)  # it trims when told to, not now and then
    shelf = Shelf("things", 2500)
    for n in range(5):
        shelf.keep(f"{n}{n}{n}", bytes(1000))
    assert shelf.has("000")
    shelf.trim()
    assert sum(shelf.has(f"{n}{n}{n}") for n in range(5)) == 2
    assert shelf.find("unknown") is None
    (tmp_path / "cache").rename(tmp_path / "gone")
    (tmp_path / "cache").write_text("no folder")
    shelf.keep("555", b"x")  # a disk that takes nothing is no error
    assert shelf.find("555") is None

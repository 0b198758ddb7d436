"""The rules of ARCHITECTURE.md, held by tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from deploy.embedded.config import ROOT
from portal.core.tasks import QUEUES
from portal.pipeline import FOLLOWS

PYTHON = [p for part in ("portal", "inference", "deploy", "tests") for p in (ROOT / part).rglob("*.py")]
SOURCES = [*PYTHON, *(p for p in (ROOT / "static").rglob("*.ts") if "node_modules" not in p.parts)]
LONGEST = 400


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in PYTHON:
        if "migrations" not in path.parts:
            yield path, ast.parse(path.read_text())


def test_steps_import_no_later_step_and_inference_no_django() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Contracts: 2 kept, 0 broken." in done.stdout


def test_nobody_assigns_a_state() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in trees()
        if path.is_relative_to(ROOT / "portal") and path.name != "states.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and target.attr == "state" and not _fresh(path, target)
    ]
    assert faults == []


def _fresh(path: Path, target: ast.Attribute) -> bool:
    """A row that is not saved yet may be given its first state (the receipt at the door)."""
    return path.name == "actions.py" and path.parent.name == "ingest" and ast.unparse(target) == "receipt.state"


def test_raw_celery_tasks_are_not_used() -> None:
    faults = [
        str(path.relative_to(ROOT))
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "celery"
        and {a.name for a in node.names} & {"shared_task"}
    ]
    assert faults == []


@pytest.mark.parametrize("topic", sorted(FOLLOWS))
def test_every_follower_is_a_house_task(topic: str) -> None:
    for name in FOLLOWS[topic]:
        task = import_string(name)
        assert task.name == name and name in QUEUES


def test_every_emitted_topic_is_known() -> None:
    emitted = {
        node.args[0].value
        for path, tree in trees()
        if path.is_relative_to(ROOT / "portal")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"outbox.emit", "emit"}
        if isinstance(node.args[0], ast.Constant)
    }
    assert emitted == set(FOLLOWS)


def test_scheduled_tasks_exist() -> None:
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert import_string(entry["task"]).name == entry["task"]


def test_every_step_has_a_readme_and_its_wiring() -> None:
    steps = [app.name.removeprefix("portal.") for app in apps.get_app_configs() if app.name.startswith("portal.")]
    for step in set(steps) - {"core", "home", "demo"}:
        assert (ROOT / "portal" / step / "README.md").is_file(), step
        import_module(f"portal.{step}.urls")


def test_rooms_are_not_crowded() -> None:
    crowded = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if "migrations" not in path.parts and (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert crowded == {}


def test_weights_are_never_unpickled() -> None:
    calls = [
        ast.unparse(node)
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "pickle.load", "pickle.loads"}
    ]
    assert [c for c in calls if "weights_only=True" not in c] == []

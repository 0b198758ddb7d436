"""The rules of ARCHITECTURE.md, held by tests."""

from __future__ import annotations

import ast
import re
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
SQL_STATE = re.compile(r"\bupdate\b.*\bset\b.*\bstate\s*=", re.IGNORECASE | re.DOTALL)
# `advance` itself; and the outbox, whose rows are leased and are no entity with a table of transitions
SWAPPERS = {ROOT / "portal" / "core" / "states.py", ROOT / "portal" / "core" / "outbox.py"}


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in PYTHON:
        if "migrations" not in path.parts:
            yield path, ast.parse(path.read_text())


def test_steps_import_no_later_step_and_inference_no_django() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Contracts: 2 kept, 0 broken." in done.stdout


def targets(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement writes to: each name, attribute or subscript, unpacked ones too."""
    if isinstance(node, ast.Assign):
        found = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor | ast.comprehension):
        found = [node.target]
    elif isinstance(node, ast.Delete):
        found = node.targets
    elif isinstance(node, ast.With | ast.AsyncWith):
        found = [item.optional_vars for item in node.items if item.optional_vars]
    else:
        found = []
    for target in found:
        for part in ast.walk(target):
            if isinstance(part, ast.expr) and isinstance(getattr(part, "ctx", None), ast.Store | ast.Del):
                yield part


def state_writes(tree: ast.AST) -> Iterator[ast.AST]:
    """Places that set a `.state` past `advance`: assignments of any form, setattr, __dict__, update() on rows."""
    for node in ast.walk(tree):
        for target in targets(node):
            if isinstance(target, ast.Attribute) and target.attr == "state":
                yield target
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                holder = target.value
                if target.slice.value == "state" and isinstance(holder, ast.Attribute) and holder.attr == "__dict__":
                    yield target
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_STATE.search(node.value):
            yield node  # `StateModel.step_sql` makes that part of a statement
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in {"setattr", "__setattr__"} and any(
            isinstance(arg, ast.Constant) and arg.value == "state" for arg in node.args
        ):
            yield node
        if name in {"update", "aupdate"} and any(k.arg == "state" for k in node.keywords):
            yield node
        if name == "bulk_update" and "state" in {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}:
            yield node


@pytest.mark.parametrize(
    "line",
    [
        "row.state = 'done'",
        "row.state: str = 'done'",
        "row.state += 'x'",
        "a, row.state = 1, 'done'",
        "(a, (b, row.state)) = c",
        "for row.state in states: pass",
        "with x() as row.state: pass",
        "del row.state",
        "setattr(row, 'state', 'done')",
        "object.__setattr__(row, 'state', 'done')",
        "row.__dict__['state'] = 'done'",
        "Run.objects.filter(pk=1).update(state='done')",
        "Run.objects.bulk_update(rows, ['state'])",
        "cursor.execute('UPDATE infer_run r SET progress = 1, state = %s', ['done'])",
    ],
)
def test_every_way_to_set_a_state_is_seen(line: str) -> None:
    assert len(list(state_writes(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line", ["row.state == 'done'", "state = row.state", "rows.filter(state='x')", "a[row.state] = 1"]
)
def test_looking_at_a_state_is_no_fault(line: str) -> None:
    assert list(state_writes(ast.parse(line))) == []


def test_nobody_assigns_a_state() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in trees()
        if path.is_relative_to(ROOT / "portal") and path not in SWAPPERS
        for node in state_writes(tree)
        if not _fresh(path, node)
    ]
    assert faults == []


def _fresh(path: Path, target: ast.AST) -> bool:
    """A row that is not saved yet may be given its first state (the receipt at the door)."""
    return path.name == "arrivals.py" and path.parent.name == "ingest" and ast.unparse(target) == "receipt.state"


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
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"outbox.emit", "outbox.emit_all", "emit"}
        if isinstance(node.args[0], ast.Constant)
    }
    emitted |= {  # of rows that know their own (peers/outgoing.py)
        node.value.value
        for path, tree in trees()
        if path.is_relative_to(ROOT / "portal")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TOPIC"
        if isinstance(node.value, ast.Constant)
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

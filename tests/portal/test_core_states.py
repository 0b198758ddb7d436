"""States move along their table, and only one of two movers wins."""

import itertools

import pytest
from django.apps import apps

from portal.core.states import IllegalTransition, StateModel, check
from portal.functions.models import FunctionVersion, InferenceFunction

MACHINES = [m for m in apps.get_models() if issubclass(m, StateModel) and not m._meta.abstract]
PAIRS = [
    pytest.param(m, a, b, id=f"{m.__name__}-{a}-{b}")
    for m in MACHINES
    for a, b in itertools.product(m.State.values, m.State.values)
]


def test_there_are_machines() -> None:
    assert {m.__name__ for m in MACHINES} >= {
        "Receipt", "Study", "Run", "FunctionVersion", "Case", "Assignment", "Reading", "Return", "DataSet",
    }  # fmt: skip


@pytest.mark.parametrize("model", MACHINES, ids=lambda m: m.__name__)
def test_tables_name_only_known_states(model: type[StateModel]) -> None:
    named = set(model.TRANSITIONS) | set().union(*model.TRANSITIONS.values())
    assert named <= set(model.State.values)
    # every state but the first can be reached
    reached = set().union(*model.TRANSITIONS.values()) | {model.State.values[0]}
    assert reached == set(model.State.values)


@pytest.mark.parametrize(("model", "before", "after"), PAIRS)
def test_every_pair_is_legal_or_refused(model: type[StateModel], before: str, after: str) -> None:
    if after in model.TRANSITIONS.get(before, frozenset()):
        check(model.__name__, model.TRANSITIONS, before, after)
        assert model.step_sql(before, after) == (f"state = '{before}'", f"state = '{after}', state_since = %(now)s")
    else:
        for step in (
            lambda: check(model.__name__, model.TRANSITIONS, before, after),
            lambda: model.step_sql(before, after),
        ):
            with pytest.raises(IllegalTransition, match=f"from {before} to {after}"):
                step()


@pytest.mark.django_db
def test_two_movers_one_wins() -> None:
    function = InferenceFunction.objects.create(slug="f", name="F", output_type="heatmap")
    version = FunctionVersion.objects.create(function=function, version="1", state="registered")
    first, second = (FunctionVersion.objects.get(pk=version.pk) for _ in range(2))
    assert first.advance("commissioning") is True
    assert second.advance("commissioning") is False
    assert first.state == "commissioning"
    assert second.state == "registered"
    with pytest.raises(IllegalTransition):
        first.advance("retired")

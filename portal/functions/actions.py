"""The life of a function version (seed 001, FIG. 5B–6B); registering one is in register.py."""

from __future__ import annotations

from typing import Any

import pghistory
from django.db import transaction

from portal.core.errors import Refused
from portal.core.states import check
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.functions.queries import is_engineer


@transaction.atomic
def move(version: FunctionVersion, after: str, user: Any = None, note: str = "") -> FunctionVersion:
    """Move a version along its life; the note and the mover are kept in its history.

    Putting one into service takes the one before it out; the function's row is the lock between movers.
    user  None for the house's own commands. Raises Refused for all but engineers of its owner, IllegalTransition.
    """
    if user is not None and not is_engineer(user, version.function):
        raise Refused("not_yours", "Only a model engineer may do that", status=404)
    check("FunctionVersion", FunctionVersion.TRANSITIONS, version.state, after)
    InferenceFunction.objects.select_for_update().get(pk=version.function_id)
    with pghistory.context(by=str(user or "Concord"), note=note.strip()[:500]):
        if after == FunctionVersion.State.IN_SERVICE:
            for other in FunctionVersion.objects.filter(function=version.function_id, state=after):
                other.advance(FunctionVersion.State.OUT_OF_SERVICE)
        if not version.advance(after):
            raise Refused("wrong_state", "Someone else has just changed this version")
    return version

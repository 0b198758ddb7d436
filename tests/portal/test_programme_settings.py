"""The settings of a programme: a coordinator chooses how readings become one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from portal.consensus import weights
from portal.consensus.actions import merge_case
from portal.programmes.models import Case, Programme, Protocol
from tests.factories.archive import plain_static
from tests.factories.queue import queued
from tests.factories.reading import Cast, answers, cast, submit

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
SLUG = "screening-mammography"


def newest() -> Protocol:
    return Programme.objects.get(slug=SLUG).protocols.order_by("-number")[:1].get()


def saved(cast: Cast, **changes: Any) -> str:
    """Save the form as the page shows it with some fields changed; the page that follows."""
    client = Client()
    client.force_login(cast.carol)
    form = client.get(f"/programmes/{SLUG}/settings/").context["form"]
    data = {bound.name: bound.value() for bound in form} | changes
    answer = client.post(f"/programmes/{SLUG}/settings/", data, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def chosen(page: str) -> list[str]:
    """Values of the rules that the page shows as chosen."""
    tags = re.findall(r'<input[^>]*name="consensus"[^>]*>', page)
    assert len(tags) == 2
    return [re.findall(r'value="(\w+)"', tag)[0] for tag in tags if "checked" in tag]


def test_the_page_says_what_each_rule_does_and_keeps_the_choice(cast: Cast) -> None:
    before = newest()
    page = saved(cast)
    assert newest().pk == before.pk and chosen(page) == ["majority"]  # nothing was changed
    assert "every reader counts the same" in page and "better scores count more" in page
    assert chosen(saved(cast, consensus="weighted")) == ["weighted"]
    now = newest()
    assert now.number == before.number + 1 and now.consensus_rule == {"id": "weighted", "version": "2"}
    assert now.form == before.form and now.similarity_rule == before.similarity_rule


def test_a_rule_that_is_not_known_is_refused(cast: Cast) -> None:
    before = newest()
    saved(cast, consensus="loudest")
    assert newest().pk == before.pk


@pytest.mark.parametrize(("rule", "merged"), [("majority", 50.0), ("weighted", 43.75)])
def test_new_cases_are_merged_by_the_chosen_rule(cast: Cast, rule: str, merged: float) -> None:
    """Ratings 60 and 40: the median is 50; with weights 0.15 and 0.65 the mean is (9 + 26) / 0.8 = 43.75."""
    saved(cast, consensus="weighted")
    saved(cast, consensus=rule)
    known = list(weights._sources)
    weights.register(lambda organisation, readers: {cast.alice.pk: 0.15, cast.bob.pk: 0.65})
    try:
        one, two = queued(Programme.objects.get(slug=SLUG), 1, slots=2)
        submit(cast.alice, one, answers(True, 60))
        submit(cast.bob, two, answers(True, 40))
        Case.objects.filter(pk=one.case_id).update(state="merging")
        consensus = merge_case(one.case_id)
    finally:
        weights._sources[:] = known
    assert consensus is not None and consensus.rule_id == rule
    assert consensus.answers["malignancy"] == merged

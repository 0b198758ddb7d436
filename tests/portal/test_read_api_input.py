"""Whatever JSON comes to the writing doors of reading: an answer below 500, and the field named where it is wrong."""

from __future__ import annotations

import json
import uuid

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.accounts.actions import create_token
from portal.accounts.models import User
from portal.programmes.models import Assignment, Case
from portal.read.models import Reading
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)

# as text: most of these are no Python value that a JSON writer would write
BAD = {
    "beyond a double": "1e400",
    "NaN": "NaN",
    "infinite": "-Infinity",
    "NUL": '"a\\u0000b"',
    "half a surrogate pair": '"\\ud800"',
    "deep": "[" * 1000 + "]" * 1000,
    "too deep to parse": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "huge": "9" * 40,
    "too huge to parse": "9" * 5000,
}
ODD = [
    "[]",
    "{}",
    "[[]]",
    '["a"]',
    '{"a": [1]}',
    "null",
    "true",
    "-1",
    "1.5",
    "1e300",
    '""',
    '"text"',
    '"' + "x" * 9000 + '"',
]


def door(user: User) -> Client:
    _, text = create_token(user, user.memberships.get().organisation, "test")
    return Client(headers={"Authorization": f"Bearer {text}"}, raise_request_exception=False)


def written(fields: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


@pytest.fixture
def case(cast: Cast) -> Case:
    return open_case(cast)


@pytest.fixture
def path(case: Case) -> str:
    return f"/api/v1/assignments/{case.assignments.get().pk}"


def mark(case: Case) -> dict[str, str]:
    uid = case.study.instances.first().sop_uid
    return {"id": '"m"', "tool": '"ellipse"', "sop_uid": f'"{uid}"', "frame": "1", "points_px": "[[1, 2], [9, 12]]"}


def draft(case: Case) -> dict[str, str]:
    """The fields of a draft that is kept."""
    marks = f"[{written(mark(case))}]"
    return {"revision": "0", "answers": "{}", "marks": marks, "active_ms": "1000", "client": '"one"'}


def test_what_cannot_be_kept_is_named(cast: Cast, case: Case, path: str) -> None:
    alice, good = door(cast.alice), draft(case)
    for bad in BAD.values():
        for method, address, body, field in _tries(case, path, good, bad):
            answer = getattr(alice, method)(address, written(body), "application/json")
            assert answer.status_code in {400, 422}, (field, answer.status_code)
            assert list(answer.json()["fields"]) == [field]
    assert not Reading.objects.filter(revision__gt=0).exists()


def _tries(case: Case, path: str, good: dict[str, str], bad: str) -> list[tuple[str, str, dict[str, str], str]]:
    tries = [("put", f"{path}/draft/", {**good, name: bad}, name) for name in good]
    tries += [("put", f"{path}/draft/", {**good, "answers": f'{{"comment": {bad}}}'}, "answers")]
    tries += [
        ("put", f"{path}/draft/", {**good, "marks": f"[{written({**mark(case), name: bad})}]"}, "marks")
        for name in [*mark(case), "rating", "label", "text", "points_mm", "measurements", "other"]
    ]
    final = {"answers": json.dumps(answers(True)), "marks": "[]", "active_ms": "1", "key": f'"{uuid.uuid4()}"'}
    final["revision"] = "0"
    tries += [("post", f"{path}/submit/", {**final, name: bad}, name) for name in final]
    return [*tries, ("post", "/api/v1/worklist/claim/", {"programme": bad}, "programme")]


OTHER_KINDS = {
    "active_ms": ['"many"', "[1]", "true"],
    "revision": ["true", '"0"', "0.5", "-1", "null"],
    "client": ["[]", f'"{"x" * 65}"'],
    "answers": ["[]", "null"],
    "marks": ["{}", "null", "[[]]"],
}


def test_a_value_of_another_kind_is_named(cast: Cast, case: Case, path: str) -> None:
    alice, good = door(cast.alice), draft(case)
    tries = [({**good, field: value}, field) for field, values in OTHER_KINDS.items() for value in values]
    for name in ("tool", "sop_uid", "label", "text", "frame", "rating", "measurements", "points_mm"):
        for value in ("[1]", '{"a": {}}', '["ellipse"]', "1e300"):
            tries.append(({**good, "marks": f"[{written({**mark(case), name: value})}]"}, "marks"))
    for body, field in tries:
        answer = alice.put(f"{path}/draft/", written(body), "application/json")
        assert answer.status_code == 422 and list(answer.json()["fields"]) == [field], (field, body[field])


def test_an_answer_of_another_kind_is_named(cast: Cast, path: str) -> None:
    alice = door(cast.alice)
    for question in ("recall", "malignancy", "birads", "density", "comment"):
        for value in ([1], {"a": 1}, [[]], {}):
            given_answers = {**answers(True), "comment": "none", question: value}
            body = json.dumps({"answers": given_answers, "marks": [], "key": str(uuid.uuid4())})
            answer = alice.post(f"{path}/submit/", body, "application/json")
            assert answer.status_code == 422 and list(answer.json()["fields"]) == [question], (question, value)


VALUE = st.sampled_from([*BAD.values(), *ODD]) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)
NAMES = st.sampled_from(["revision", "answers", "marks", "active_ms", "client", "key", "programme", "more"])
PLACES = st.sampled_from(["id", "tool", "sop_uid", "frame", "points_px", "points_mm", "rating", "label", "text"])


def test_no_json_makes_a_server_error(cast: Cast, case: Case, path: str) -> None:
    alice, good = door(cast.alice), draft(case)
    final = {"answers": json.dumps(answers(True)), "key": f'"{uuid.uuid4()}"'}
    doors = [
        ("put", f"{path}/draft/"),
        *[("post", f"{path}/{name}/") for name in ("submit", "reveal", "release")],
        ("post", "/api/v1/worklist/claim/"),
    ]
    seen = set()

    def ask(where: tuple[str, str], body: bytes | str) -> None:
        answer = getattr(alice, where[0])(where[1], body, "application/json")
        name = where[1].split("/")[-2]
        seen.add((name, answer.status_code))
        assert answer.status_code < 500, (where, answer.status_code, body[:300])
        if answer.status_code >= 400:
            assert set(answer.json()) >= {"error"}
        elif name == "submit":  # so that the next one is not merely told that it comes too late
            Reading.objects.all().delete()
            Assignment.objects.filter(case=case).update(state="offered", reader=None)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(doors), st.dictionaries(NAMES, VALUE), st.dictionaries(PLACES, VALUE), VALUE, st.integers(0, 9)
    )
    def throw(where: tuple[str, str], fields: dict[str, str], places: dict[str, str], whole: str, dice: int) -> None:
        body = written({**good, **final, **fields})
        if dice > 4:
            body = written({**good, **final, "marks": f"[{written({**mark(case), **places})}]", **fields})
        ask(where, whole if dice == 0 else body)

    # the controls, whatever is drawn afterwards: good ones pass, bad ones are refused
    controls = [(doors[1], {"answers": "{}"}), (doors[1], {}), (doors[0], {})]  # a submission comes before any draft
    controls += [(doors[0], {"active_ms": "1e400"}), (doors[0], {"marks": "7"}), *((where, {}) for where in doors[2:])]
    for where, fields in controls:
        ask(where, written({**good, **final, **fields}))
    throw()
    assert {name for name, _ in seen} == {"draft", "submit", "reveal", "release", "claim"}
    assert {("submit", 200), ("submit", 422), ("draft", 200), ("draft", 400), ("draft", 422)} <= seen


TEXTS = ["\0", "\ud800".encode("utf-8", "surrogatepass"), "9" * 400, "1e400", "NaN", "²", "[", "x" * 5000, "", "-1"]


def test_no_form_or_address_of_programmes_makes_a_server_error(cast: Cast, case: Case) -> None:
    page, slug = Client(raise_request_exception=False), case.programme.slug
    page.force_login(cast.carol)
    names = (
        "user",
        "part",
        "available",
        "similarity_threshold",
        "readers_per_case",
        "mode",
        "qualification",
        "trigger",
    )
    for text in TEXTS:
        for address in (f"/programmes/{slug}/panel/", f"/programmes/{slug}/settings/"):
            for name in names:
                assert page.post(address, {name: text}).status_code < 500, (address, name, text)
        for address in ("/worklist/", "/programmes/", f"/programmes/{slug}/"):
            for name in ("state", "before", "programme", "kind", "view"):
                assert page.get(address, {name: text}).status_code < 500, (address, name, text)
    assert page.get(f"/programmes/{slug}/cases/{'9' * 30}/").status_code == 404
    assert Assignment.objects.get(case=case).state == "offered"

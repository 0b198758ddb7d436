"""The registry: registering, choosing, and the life of a version."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from inference.package.errors import MissingFile, WrongHash
from portal.accounts.models import Organisation
from portal.core.errors import Refused
from portal.core.states import IllegalTransition
from portal.functions import cards, queries, rules
from portal.functions.actions import move
from portal.functions.models import FunctionVersion, InferenceFunction
from portal.functions.register import register_package
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401

HEATMAP, MALIGNANCY = "heatmap-chest-phantom", "malignancy-mammo-phantom"


@pytest.fixture
def shelf(tmp_path: Path, settings: Any) -> Path:
    """A copy of the shipped packages that a test may spoil."""
    folder = tmp_path / "packages"
    shutil.copytree(settings.PACKAGES_ROOT, folder)
    settings.PACKAGES_ROOT = folder
    return folder


@pytest.mark.django_db
def test_shipped_packages_go_into_service_once(capsys: Any) -> None:
    for _ in range(2):
        call_command("concord_register_packages")
    found = {v.function.slug: v for v in FunctionVersion.objects.select_related("function")}
    assert {HEATMAP, MALIGNANCY} <= set(found)
    assert not {"regions-chest-phantom", "input-check"} & set(found)  # they help functions and are none
    version = found[HEATMAP]
    assert version.state == "in_service" and version.card.startswith("# ")
    assert len(version.manifest["classes"]) == 14
    notes = [(step["state"], step["note"]) for step in queries.history(version)]
    assert notes == [
        ("in_service", "Commissioned on the figures of its card"),
        ("commissioning", "Shipped with Concord"),
        ("registered", ""),
    ]


@pytest.mark.django_db
def test_a_package_that_calls_itself_a_trial_waits_for_an_engineer(shelf: Path) -> None:
    manifest = shelf / HEATMAP / "function.toml"
    manifest.write_text('trial = "It is weak"\n' + manifest.read_text())
    call_command("concord_register_packages")
    states = dict(FunctionVersion.objects.values_list("function__slug", "state"))
    assert states[HEATMAP] == "registered" and states[MALIGNANCY] == "in_service"


@pytest.mark.django_db
def test_what_an_engineer_took_out_stays_out() -> None:
    call_command("concord_register_packages")
    version = FunctionVersion.objects.get(function__slug=HEATMAP)
    move(version, "out_of_service")
    call_command("concord_register_packages")
    version.refresh_from_db()
    assert version.state == "out_of_service"


@pytest.mark.django_db
def test_a_spoilt_package_is_named(shelf: Path) -> None:
    weights = shelf / HEATMAP / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(WrongHash, match=r"weights\.safetensors"):
        register_package(shelf / HEATMAP)
    with pytest.raises(CommandError, match=HEATMAP):
        call_command("concord_register_packages")
    weights.unlink()
    with pytest.raises(MissingFile):
        register_package(shelf / HEATMAP)


@pytest.mark.django_db
def test_other_weights_under_a_known_version_are_refused(shelf: Path) -> None:
    version = register_package(shelf / HEATMAP)
    FunctionVersion.objects.filter(pk=version.pk).update(weights_sha256="0" * 64)
    with pytest.raises(Refused, match="other weights"):
        register_package(shelf / HEATMAP)


@pytest.mark.django_db
def test_a_package_elsewhere_is_refused(shelf: Path, tmp_path: Path) -> None:
    shutil.move(shelf / HEATMAP, tmp_path / HEATMAP)
    with pytest.raises(Refused, match="CONCORD_PACKAGES"):
        register_package(tmp_path / HEATMAP)


def a_version(state: str, slug: str = "f", number: str = "1", owner: Organisation | None = None) -> FunctionVersion:
    function, _ = InferenceFunction.objects.get_or_create(
        slug=slug, defaults={"name": slug, "modalities": ["MG"], "output_type": "malignancy", "owner": owner}
    )
    return FunctionVersion.objects.create(
        function=function, version=number, state=state, package=slug, weights_sha256="0" * 64
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "after"), list(product(FunctionVersion.State.values, repeat=2)))
def test_every_pair_of_states(before: str, after: str) -> None:
    version = a_version(before)
    if after in FunctionVersion.TRANSITIONS.get(before, ()):
        assert move(version, after).state == after
    else:
        with pytest.raises(IllegalTransition):
            move(version, after)


@pytest.mark.django_db
def test_one_version_in_service_takes_the_other_out() -> None:
    old, new = a_version("in_service"), a_version("commissioning", number="2")
    move(new, "in_service")
    old.refresh_from_db()
    assert (old.state, new.state) == ("out_of_service", "in_service")


@pytest.mark.django_db
def test_only_engineers_move_and_the_history_says_who(client: Client) -> None:
    org = make.organisation()
    people = {role: make.user(role, org, role) for role in ("engineer", "coordinator", "reader")}
    version = a_version("registered", owner=org)
    address = f"/functions/f/versions/{version.pk}/"
    for role, status in (("reader", 404), ("coordinator", 404)):
        client.force_login(people[role])
        assert client.post(address, {"to": "commissioning"}).status_code == status
        version.refresh_from_db()
        assert version.state == "registered"
    client.force_login(people["engineer"])
    assert client.post(address, {"to": "in_service"}).status_code == 302  # not from registered
    assert client.post(address, {"to": "commissioning", "note": "First look"}).status_code == 302
    version.refresh_from_db()
    assert version.state == "commissioning"
    assert queries.history(version)[0] | {"at": None} == {
        "state": "commissioning", "at": None, "who": "engineer", "note": "First look",
    }  # fmt: skip


@pytest.mark.django_db
def test_a_function_offered_to_all_is_moved_by_its_owner_alone(client: Client) -> None:
    lakeside, harbour = make.organisation(), make.organisation("harbour")
    erin, mallory = make.user("erin", lakeside, "engineer"), make.user("mallory", harbour, "engineer")
    version, house = a_version("registered", owner=lakeside), a_version("registered", slug="g")
    for user, target in ((mallory, version), (mallory, house), (erin, house)):
        with pytest.raises(Refused) as error:
            move(target, "commissioning", user)
        assert error.value.status == 404
        target.refresh_from_db()
        assert target.state == "registered"
    assert move(version, "commissioning", erin).state == "commissioning"
    client.force_login(mallory)
    page = client.get("/functions/f/").content.decode()
    assert "In its test" in page and "erin" not in page and 'name="to"' not in page
    client.force_login(erin)
    assert 'name="to"' in (page := client.get("/functions/f/").content.decode()) and "erin" in page


@pytest.mark.django_db
def test_nobody_registers_over_anothers_function(shelf: Path) -> None:
    lakeside, harbour = make.organisation(), make.organisation("harbour")
    erin, mallory = make.user("erin", lakeside, "engineer"), make.user("mallory", harbour, "engineer")
    alice = make.user("alice", lakeside, "reader")
    for by in (alice, mallory):
        with pytest.raises(Refused):
            register_package(shelf / HEATMAP, lakeside, by)
    assert not InferenceFunction.objects.exists()
    function = register_package(shelf / HEATMAP, lakeside, erin).function
    InferenceFunction.objects.filter(pk=function.pk).update(name="Ours")
    for owner, by in ((harbour, mallory), (None, mallory), (lakeside, mallory), (harbour, None)):
        with pytest.raises(Refused):
            register_package(shelf / HEATMAP, owner, by)
    function.refresh_from_db()
    assert (function.name, function.owner) == ("Ours", lakeside)
    house = register_package(shelf / MALIGNANCY).function
    with pytest.raises(Refused):
        register_package(shelf / MALIGNANCY, lakeside, erin)  # the house gives it by its command
    house.refresh_from_db()
    assert house.owner is None


@pytest.mark.django_db
def test_the_command_names_an_owner_once() -> None:
    lakeside = make.organisation()
    call_command("concord_register_packages")
    assert not InferenceFunction.objects.exclude(owner=None).exists()
    call_command("concord_register_packages", owner="lakeside")
    assert not InferenceFunction.objects.exclude(owner=lakeside).exists()
    make.organisation("harbour")
    for owner in ("harbour", "nowhere"):
        with pytest.raises(CommandError):
            call_command("concord_register_packages", owner=owner)


@pytest.mark.django_db
def test_pages_show_versions_figures_and_card(client: Client) -> None:
    make.organisation()
    call_command("concord_register_packages", owner="lakeside")
    client.force_login(make.user("erin", make.organisation(), "engineer"))
    assert b"Chest x-ray heat maps" in client.get("/functions/").content
    page = client.get(f"/functions/{HEATMAP}/").content.decode()
    assert "Mean AUC" in page and "Not fit for care" in page and "Take out of service" in page
    assert client.get(f"/functions/{HEATMAP}/runs/").status_code == 200


def test_a_card_cannot_bring_scripts_or_links() -> None:
    shown = cards.html(
        "# A\n<script>alert(1)</script>\n[x](javascript:alert(1)) ![y](http://evil/z.png)\n\n|a|\n|-|\n|b|"
    )
    assert "<script" not in shown and "<a " not in shown and "<img" not in shown
    assert "<h1>A</h1>" in shown and "<td>b</td>" in shown


CHEST = rules.Offer(1, "heatmap", ("DX", "CR"), ("CHEST",))
ANY_DX = rules.Offer(2, "heatmap", ("DX",), ())
BREAST = rules.Offer(3, "malignancy", ("MG",), ("BREAST",))
NEWER_BREAST = rules.Offer(4, "malignancy", ("MG",), ("BREAST",))


@pytest.mark.parametrize(
    ("modalities", "body_part", "keys"),
    [
        (["DX"], "CHEST", [1]),
        (["CR"], "chest", [1]),
        (["DX"], "HAND", [2]),
        (["DX"], "", [1]),
        (["MG"], "BREAST", [4]),
        (["MG"], "", [4]),
        (["CT"], "CHEST", []),
        (["MG", "DX"], "", [1, 4]),
        ([], "CHEST", []),
    ],
)
def test_the_most_specific_function_of_each_output(modalities: list[str], body_part: str, keys: list[int]) -> None:
    assert rules.choose([CHEST, ANY_DX, BREAST, NEWER_BREAST], modalities, body_part) == keys


modality = st.sampled_from(["MG", "DX", "CR", "CT"])
offers = st.lists(
    st.builds(
        rules.Offer,
        st.integers(1, 99),
        st.sampled_from(["heatmap", "malignancy"]),
        st.lists(modality, min_size=1, max_size=3).map(tuple),
        st.lists(st.sampled_from(["CHEST", "BREAST", "HAND"]), max_size=2).map(tuple),
    ),
    max_size=8,
    unique_by=lambda offer: offer.key,
)


@given(offers, st.lists(modality, max_size=3), st.sampled_from(["", "CHEST", "BREAST"]))
def test_one_offer_of_each_output_and_only_fitting_ones(
    given_offers: list[rules.Offer], modalities: list[str], part: str
) -> None:
    keys = rules.choose(given_offers, modalities, part)
    chosen = [offer for offer in given_offers if offer.key in keys]
    assert all(rules.fits(offer, modalities, part) for offer in chosen)
    kinds = [offer.output_type for offer in chosen]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {o.output_type for o in given_offers if rules.fits(o, modalities, part)}
    assert keys == rules.choose(given_offers[::-1], modalities, part)

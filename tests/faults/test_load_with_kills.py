"""Eight associations and eight STOW clients at once while the doors are killed: what was acknowledged is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import portal_of_its_own
from tests.factories.hammer import Hammer
from tests.support import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
# `python -m tests.bench kill` does the same for five minutes
SECONDS = 24
KILLS = ((3, "dicom"), (7, "web"), (11, "child"), (15, "dicom"), (19, "web"))


@pytest.fixture
def portal() -> Iterator[Stack]:
    """Hundreds of new studies would keep the shared portal's workers busy for whatever is tested next."""
    with portal_of_its_own() as running:
        yield running


def test_every_acknowledged_instance_is_there_byte_for_byte(portal: Stack, tmp_path: Path) -> None:
    hammer = Hammer(portal, tmp_path, sides=(32, 128), pause=5.0)
    hammer.run(SECONDS, KILLS)
    assert hammer.kills == {"dicom": 2, "web": 2, "child": 1}
    assert hammer.heard["C-STORE Success"] and hammer.heard["STOW 200"], hammer.heard
    assert hammer.heard["association broken off or refused"], hammer.heard  # the kills hit somebody
    assert {kind: uids for kind, uids in hammer.kept().items() if uids} == {}
    assert hammer.drain(450) == 0
    assert {kind: uids for kind, uids in hammer.archived().items() if uids} == {}
    # who was cut off has sent it again
    assert hammer.acknowledged.keys() == hammer.tried.keys()

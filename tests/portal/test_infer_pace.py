"""How many runs a thread takes at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portal.infer.pace import Pace


def test_a_group_is_about_a_second_of_runs() -> None:
    pace = Pace()
    assert pace.group(16, 64) == 16  # nothing is known yet: what fills one forward pass
    pace.saw(16, 0.5)
    assert pace.group(16, 64) == 32
    pace.saw(0, 9.0)  # an empty group says nothing
    assert pace.group(16, 64) == 32 and pace.group(16, 20) == 20
    for _ in range(50):
        pace.saw(4, 40.0)  # slow volumes: no more than one forward pass holds
    assert pace.group(2, 64) == 2


@given(
    st.lists(st.tuples(st.integers(1, 100), st.floats(0, 1e4)), max_size=20), st.integers(1, 64), st.integers(1, 4096)
)
def test_a_group_never_leaves_its_bounds(seen: list[tuple[int, float]], least: int, most: int) -> None:
    pace = Pace()
    for runs, seconds in seen:
        pace.saw(runs, seconds)
    assert min(least, most) <= pace.group(least, most) <= most

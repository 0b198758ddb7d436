"""Closed forms, bounds, monotony, stability and gradients of the pooling functions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.networks import LseLba, lse_lba
from inference.networks.pooling import generalised_mean, lse, maximum, mean, noisy_or

POOLINGS = {
    "lse_lba r0=0": lambda s: lse_lba(s, 0.0, torch.zeros(s.shape[1])),
    "lse_lba r0=5": lambda s: lse_lba(s, 5.0, torch.zeros(s.shape[1])),
    "lse_lba r0=10": lambda s: lse_lba(s, 10.0, torch.ones(s.shape[1])),
    "lse": lambda s: lse(s, 3.0),
    "noisy_or": noisy_or,
    "generalised_mean": generalised_mean,
    "mean": mean,
    "maximum": maximum,
}
values = st.lists(st.floats(0, 1, width=32), min_size=9, max_size=9)


@pytest.mark.parametrize("name", POOLINGS)
def test_all_zero_gives_zero_and_all_one_gives_one(name: str) -> None:
    pool = POOLINGS[name]
    assert pool(torch.zeros(2, 3, 8, 8)).tolist() == [[0.0] * 3] * 2
    assert torch.allclose(pool(torch.ones(2, 3, 8, 8)), torch.ones(2, 3), atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
@given(cells=values, index=st.integers(0, 8), rise=st.floats(0, 1))
def test_bounded_and_never_falling(name: str, cells: list[float], index: int, rise: float) -> None:
    pool = POOLINGS[name]
    before = torch.tensor(cells).reshape(1, 1, 3, 3)
    after = before.clone().flatten()
    after[index] += (1 - after[index]) * rise
    low, high = pool(before).item(), pool(after.reshape(1, 1, 3, 3)).item()
    assert 0.0 <= low <= 1.0
    assert high >= low - 1e-6


@given(cells=values)
def test_lse_lba_lies_between_mean_and_maximum(cells: list[float]) -> None:
    saliency = torch.tensor(cells).reshape(1, 1, 3, 3)
    pooled = lse_lba(saliency, 5.0, torch.zeros(1)).item()
    assert mean(saliency).item() - 1e-5 <= pooled <= maximum(saliency).item() + 1e-5


def test_worked_value() -> None:
    # Four places, one of them 1: p = 1/r · ln((3 + e^r) / 4) with r = 5 + e^0 = 6.
    saliency = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    wanted = math.log((3 + math.exp(6)) / 4) / 6
    assert lse_lba(saliency, 5.0, torch.zeros(1)).item() == pytest.approx(wanted, abs=1e-6)
    assert noisy_or(torch.full((1, 1, 1, 2), 0.5)).item() == pytest.approx(0.75)


def test_each_class_has_its_own_sharpness() -> None:
    saliency = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)).expand(1, 2, 16, 16)
    dull, sharp = lse_lba(saliency, 0.0, torch.tensor([-6.0, 6.0]))[0].tolist()
    assert dull == pytest.approx(mean(saliency)[0, 0].item(), abs=1e-3)
    assert sharp == pytest.approx(maximum(saliency)[0, 0].item(), abs=2e-2)


def test_very_large_sharpness_and_tiny_values_stay_finite() -> None:
    tiny = torch.full((1, 1, 64, 64), 1e-30)
    for pooled in (lse_lba(tiny, 10.0, torch.tensor([9.0])), generalised_mean(tiny), noisy_or(tiny)):
        assert torch.isfinite(pooled).all()
        assert 0.0 <= pooled.item() < 1e-3
    assert lse_lba(torch.ones(1, 1, 64, 64), 10.0, torch.tensor([9.0])).item() == pytest.approx(1.0)


def test_gradients_reach_map_and_beta() -> None:
    pool = LseLba(2, r0=5.0)
    saliency = torch.rand(3, 2, 8, 8, requires_grad=True)
    pool(saliency).sum().backward()
    assert saliency.grad is not None and torch.isfinite(saliency.grad).all() and (saliency.grad > 0).all()
    assert pool.beta.grad is not None and (pool.beta.grad > 0).all()  # sharper pooling is never lower


def test_gradient_agrees_with_differences() -> None:
    saliency = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([0.3, -0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, b: lse_lba(s, 5.0, b), (saliency, beta))


def test_negative_lower_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="r0"):
        LseLba(1, r0=-1.0)

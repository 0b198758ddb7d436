"""Closed forms, bounds, monotony, stability and gradients of the pooling functions."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

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


def exact(cells: list[float], r: float) -> float:
    """1/r · ln(mean(e^(r·S))) with 60 decimal digits, by the definition and without logsumexp."""
    with localcontext() as context:
        context.prec = 60
        sharpness = Decimal(r)
        total = sum(((sharpness * Decimal(cell)).exp() for cell in cells), Decimal(0))
        return float((total / len(cells)).ln() / sharpness)


@pytest.mark.parametrize("r0", [0.0, 5.0, 10.0])
@pytest.mark.parametrize("beta", [-3.0, 0.0, 1.0, 2.5])
def test_agrees_with_the_definition_in_many_digits(r0: float, beta: float) -> None:
    cells = torch.rand(7, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    pooled = lse_lba(cells.reshape(1, 1, 7, 7), r0, torch.tensor([beta], dtype=torch.float64)).item()
    assert pooled == pytest.approx(exact(cells.flatten().tolist(), r0 + math.exp(beta)), rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("r", [1e-6, 1e-3, 0.1, 1.0, 10.0, 1e3, 1e6])
def test_single_precision_keeps_its_digits_for_faint_maps_and_any_sharpness(scale: float, r: float) -> None:
    cells = torch.rand(16, 16, generator=torch.Generator().manual_seed(1)) * scale
    pooled = lse(cells.reshape(1, 1, 16, 16), r).item()
    assert pooled == pytest.approx(exact(cells.flatten().tolist(), r), rel=2e-6)


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("r", [1e-3, 1.0, 6.0, 50.0, 1e4])
def test_a_constant_map_pools_to_its_value(value: float, r: float) -> None:
    # mean(e^(r·c)) = e^(r·c), whatever r
    saliency = torch.full((1, 1, 64, 64), value, dtype=torch.float64)
    assert lse(saliency, r).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("share", [1, 64, 2048, 4095])
def test_a_map_of_zeros_and_ones(share: int) -> None:
    # k of n places are 1: p = 1/r · ln(1 + k/n · (e^r − 1))
    saliency = torch.zeros(4096, dtype=torch.float64)
    saliency[:share] = 1
    for r in (0.5, 6.0, 20.0):
        wanted = math.log1p(share / 4096 * math.expm1(r)) / r
        assert lse(saliency.reshape(1, 1, 64, 64), r).item() == pytest.approx(wanted, rel=1e-12)


@given(cells=values, low=st.floats(0.01, 20), more=st.floats(0, 20))
def test_sharper_is_never_lower_and_stays_within_ln_n_of_the_maximum(
    cells: list[float], low: float, more: float
) -> None:
    # the power mean of e^S: rises with r; max − ln(n)/r ≤ p ≤ max
    saliency = torch.tensor(cells, dtype=torch.float64).reshape(1, 1, 3, 3)
    dull, sharp = lse(saliency, low).item(), lse(saliency, low + more).item()
    assert sharp >= dull - 1e-9
    top = max(cells)
    assert top - math.log(9) / low - 1e-9 <= dull <= top + 1e-9


@given(cells=values, order=st.permutations(range(9)))
def test_only_the_values_count_not_their_places(cells: list[float], order: list[int]) -> None:
    here = torch.tensor(cells, dtype=torch.float64)
    for pool in (lambda s: lse(s, 6.0), noisy_or, generalised_mean, mean, maximum):
        assert pool(here.reshape(1, 1, 3, 3)).item() == pytest.approx(
            pool(here[list(order)].reshape(1, 1, 3, 3)).item(), abs=1e-12
        )


@given(cells=values, shift=st.floats(0, 1))
def test_raising_every_place_alike_raises_the_pooled_value_alike(cells: list[float], shift: float) -> None:
    # 1/r · ln(mean(e^(r·(S + c)))) = c + 1/r · ln(mean(e^(r·S)))
    saliency = torch.tensor(cells, dtype=torch.float64).reshape(1, 1, 3, 3) / 2
    raised = saliency + shift / 2
    assert lse(raised, 7.0).item() == pytest.approx(lse(saliency, 7.0).item() + shift / 2, abs=1e-9)


@pytest.mark.parametrize("r0", [0.0, 5.0, 10.0])
@pytest.mark.parametrize("beta", [-2.0, 0.5])
def test_gradient_of_map_and_sharpness_in_double_precision(r0: float, beta: float) -> None:
    generator = torch.Generator().manual_seed(8)
    saliency = (torch.rand(2, 2, 4, 4, generator=generator, dtype=torch.float64) * 0.9 + 0.05).requires_grad_()
    learnt = torch.full((2,), beta, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, b: lse_lba(s, r0, b), (saliency, learnt), atol=1e-8, rtol=1e-6)
    # by the formula: ∂p/∂S is the softmax of r·S, which sums to 1
    [slope] = torch.autograd.grad(lse_lba(saliency, r0, learnt).sum(), saliency)
    wanted = torch.softmax((r0 + math.exp(beta)) * saliency.flatten(2), dim=2).reshape(slope.shape)
    assert torch.allclose(slope, wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["noisy_or", "generalised_mean", "mean"])
def test_gradient_of_the_others(name: str) -> None:
    saliency = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(POOLINGS[name], (saliency.requires_grad_(),))


@pytest.mark.parametrize("beta", [-20.0, 0.0, 9.0, 12.0])
@pytest.mark.parametrize("filling", ["zeros", "tiny", "one place", "ones"])
def test_values_and_slopes_stay_finite_at_the_edges(filling: str, beta: float) -> None:
    saliency = torch.zeros(1, 1, 64, 64)
    if filling == "tiny":
        saliency.fill_(1e-38)
    elif filling == "one place":
        saliency[..., 5, 5] = 1.0
    elif filling == "ones":
        saliency.fill_(1.0)
    saliency.requires_grad_()
    learnt = torch.tensor([beta], requires_grad=True)
    for r0 in (0.0, 10.0):
        pooled = lse_lba(saliency, r0, learnt)
        slopes = torch.autograd.grad(pooled.sum(), (saliency, learnt))
        assert torch.isfinite(pooled).all() and 0.0 <= pooled.item() <= 1.0
        assert all(torch.isfinite(slope).all() for slope in slopes)
        if filling in ("zeros", "ones"):
            assert pooled.item() == pytest.approx(float(filling == "ones"), abs=1e-5)
    # r = 10 + e^12 ≈ 162,765: one bright place in 4,096 is 1 − ln(4096)/r
    sharp = lse_lba(saliency, 10.0, torch.tensor([12.0])).item()
    if filling == "one place":
        assert sharp == pytest.approx(1 - math.log(4096) / (10 + math.exp(12)), abs=1e-5)


def test_half_precision_maps_are_pooled_in_single() -> None:
    saliency = torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16)
    saliency[..., 0, 0] = 1.0
    pooled = LseLba(1, r0=5.0, beta=0.0)(saliency)
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(exact([1.0] + [0.0] * 4095, 6.0), abs=1e-6)


def test_negative_lower_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="r0"):
        LseLba(1, r0=-1.0)

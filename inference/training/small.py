"""A plain loop for the small networks that learn from drawn examples (regions, input check)."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[int], Tensor]


def fit(
    network: nn.Module, loss_at: Loss, steps: int, rate: float = 2e-3, say: Callable[[str], None] = print
) -> nn.Module:
    """Adam with a one-cycle plan for a number of steps; no limit by the clock, so that a seed repeats.

    loss_at  step → loss of that step's batch
    Returns the network in evaluation mode.
    """
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), rate, weight_decay=1e-5)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1)
    started, total = time.monotonic(), 0.0
    for step in range(steps):
        loss = loss_at(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        plan.step()
        total += float(loss.detach())
        if (step + 1) % 50 == 0:
            say(f"step {step + 1} of {steps}: loss {total / 50:.4f}, {(time.monotonic() - started) / 60:.1f} min")
            total = 0.0
    return network.eval()

"""Shapes per row, ranges, input sizes."""

from __future__ import annotations

import pytest
import torch

from inference.networks import HeatmapNetwork, MalignancyNetwork
from inference.networks.heatmap import DenseRow, Down, Up


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_rows_do_not_depend_on_the_input_size(size: int) -> None:
    network = HeatmapNetwork(14, input_size=size, width=8, growth=4, depth=1).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 1, size, size))
    assert {row: tuple(grid.shape) for row, grid in output.maps.items()} == {
        row: (2, 14, row, row) for row in (8, 16, 32, 64)
    }
    for row, grid in output.maps.items():
        assert float(grid.min()) >= 0 and float(grid.max()) <= 1
        assert torch.allclose(output.pooled[row], network.pooling(grid))


@pytest.mark.parametrize("size", [32, 96, 200])
def test_input_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="64 times"):
        HeatmapNetwork(14, input_size=size)


def test_blocks_follow_the_seed() -> None:
    x = torch.randn(1, 8, 32, 32)
    assert Down(8, 16)(x).shape == (1, 16, 16, 16)
    row = DenseRow(8, 4, 3)
    assert row(x).shape == (1, 8 + 3 * 4, 32, 32) and row.outputs == 20
    assert Up(16, 8, 10)(torch.randn(1, 16, 16, 16), x).shape == (1, 10, 32, 32)


def test_one_weight_matrix_for_all_places_of_a_row() -> None:
    network = HeatmapNetwork(3, width=8, growth=4)
    assert [tuple(head.weight.shape[2:]) for head in network.heads] == [(1, 1)] * 4


def test_every_parameter_of_the_heat_map_network_learns() -> None:
    network = HeatmapNetwork(2, input_size=64, width=8, growth=4)
    output = network(torch.randn(2, 1, 64, 64))
    sum(pooled.sum() for pooled in output.pooled.values()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("shape", [(512, 384), (256, 256), (128, 96)])
def test_malignancy_map_is_an_eighth_of_the_input(shape: tuple[int, int]) -> None:
    network = MalignancyNetwork(width=8, growth=4).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 1, *shape))
    row = shape[0] // 8
    assert output.maps[row].shape == (2, 1, row, shape[1] // 8)
    assert output.pooled[row].shape == (2, 1)


def test_malignancy_network_is_fully_convolutional() -> None:
    # Far from the borders, a place of the map does not change when the image grows elsewhere.
    torch.manual_seed(0)
    network = MalignancyNetwork(width=8, growth=4).eval()
    large = torch.randn(1, 1, 768, 512)
    with torch.no_grad():
        whole = network(large).maps[96]
        part = network(large[:, :, :512]).maps[64]
    assert torch.allclose(whole[:, :, :24], part[:, :, :24], atol=1e-5)

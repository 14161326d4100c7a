# SPDX-License-Identifier: Apache-2.0
import math
from itertools import product

import pytest
import torch

from lib.configs import FrameRecurrenceConfig
from lib.networks.recurrence import ConvCell, FrameRecurrence, MapRecurrence

MAP_CELLS = ("conv_rnn", "conv_gru", "conv_lstm")
FRAME_CELLS = ("mlp", "rnn", "gru", "lstm")


@pytest.mark.parametrize(("cell", "both", "depth"), list(product(MAP_CELLS, (True, False), (1, 2, 3))))
def test_map_recurrence_starts_as_the_identity_and_learns(cell: str, both: bool, depth: int) -> None:
    torch.manual_seed(0)
    memory = MapRecurrence(6, 4, cell, both, depth)
    maps, mask = torch.randn(2, 5, 6, 4, 3), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(memory(maps, mask), maps)
    memory(maps, mask).square().mean().backward()
    assert memory.out.weight.grad.abs().sum() > 0
    assert len(memory.cells) == depth * (2 if both else 1)


@pytest.mark.parametrize(("cell", "both", "depth"), list(product(FRAME_CELLS, (True, False), (1, 2))))
@pytest.mark.parametrize("attention", ["none", "additive", "scaled_dot_product"])
def test_frame_recurrence_shapes(cell: str, both: bool, depth: int, attention: str) -> None:
    memory = FrameRecurrence(10, FrameRecurrenceConfig(cell, 6, both, depth, attention))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    states, weights, context = memory(torch.randn(2, 4, 10), mask)
    size = 12 if both else 6
    assert memory.state_size == size
    assert states.shape == (2, 4, size)
    assert weights.shape == (2, 4)
    assert context.shape == (2, size)
    assert memory.frame_contexts(states, context, mask).shape == (2, 4, size)


def _one_pixel(kind: str, values: dict[str, list[float]]) -> ConvCell:
    """A cell with one channel whose kernels act on the centre pixel only."""
    cell = ConvCell(kind, 1, 1)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.zero_()
            if parameter.ndim == 4:
                parameter[:, 0, 1, 1] = torch.tensor(values[name])
    return cell


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_conv_rnn_step_by_hand() -> None:
    cell = _one_pixel("conv_rnn", {"project.weight": [2.0], "recur.weight": [0.5]})
    x, h = torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), -0.4)
    assert cell(cell.project(x), h).item() == pytest.approx(math.tanh(2 * 0.3 + 0.5 * -0.4), abs=1e-6)


def test_conv_gru_step_by_hand() -> None:
    weights = {"project.weight": [1.0, 2.0, 3.0], "recur.weight": [0.5, -0.5], "candidate.weight": [2.0]}
    cell = _one_pixel("conv_gru", weights)
    x, h = 0.3, -0.4
    update, reset = _sigmoid(x + 0.5 * h), _sigmoid(2 * x - 0.5 * h)
    expected = (1 - update) * math.tanh(3 * x + 2 * reset * h) + update * h
    out = cell(cell.project(torch.full((1, 1, 1, 1), x)), torch.full((1, 1, 1, 1), h))
    assert out.item() == pytest.approx(expected, abs=1e-6)


def test_conv_lstm_step_by_hand() -> None:
    cell = _one_pixel("conv_lstm", {"project.weight": [1.0, 2.0, 3.0, 4.0], "recur.weight": [0.1, 0.2, 0.3, 0.4]})
    x, h, c = 0.3, -0.4, 0.7
    state = torch.tensor([h, c]).reshape(1, 2, 1, 1)
    gates = [k * x + 0.1 * k * h for k in (1, 2, 3, 4)]
    new_c = _sigmoid(gates[1] + 1) * c + _sigmoid(gates[0]) * math.tanh(gates[3])
    out = cell(cell.project(torch.full((1, 1, 1, 1), x)), state).flatten().tolist()
    assert out == pytest.approx([_sigmoid(gates[2]) * math.tanh(new_c), new_c], abs=1e-6)


def test_differences_to_the_neighbours() -> None:
    mask = torch.tensor([[True, True, True, False]])
    x = torch.tensor([1.0, 4.0, 9.0, 0.0]).reshape(1, 4, 1)
    both = FrameRecurrence(3, FrameRecurrenceConfig("gru", 1, True))._with_differences(x, mask)
    assert both[0].tolist() == [[1, 0, 3], [4, 3, 5], [9, 5, 0], [0, 0, 0]]
    forward = FrameRecurrence(3, FrameRecurrenceConfig("gru", 1, False))._with_differences(x, mask)
    assert forward[0].tolist() == [[1, 0], [4, 3], [9, 5], [0, 0]]

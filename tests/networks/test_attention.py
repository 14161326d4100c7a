# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from lib.networks.attention import (
    AdditiveAttention,
    ScaledDotProductAttention,
    build_attention,
    running_context,
)

NAMES = ("none", "additive", "scaled_dot_product")


@pytest.mark.parametrize("name", NAMES)
def test_weights_sum_to_one_and_are_zero_on_padding(name: str) -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [True] + [False] * 4])
    items = 10 * torch.randn(3, 5, 7)
    weights, context = build_attention(name, 7)(items, mask)
    assert weights.shape == (3, 5)
    assert context.shape == (3, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert (weights[~mask] == 0).all()
    assert (weights[mask] > 0).all()
    torch.testing.assert_close(context[2], items[2, 0])


@pytest.mark.parametrize("name", NAMES)
def test_padding_gets_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    items = torch.randn(1, 4, 3, requires_grad=True)
    _, context = build_attention(name, 3)(items, torch.tensor([[True, True, False, False]]))
    context.square().sum().backward()
    assert (items.grad[0, 2:] == 0).all()
    assert (items.grad[0, :2] != 0).any()


def test_switched_off_attention_is_the_mean_over_real_items() -> None:
    items = torch.tensor([[[1.0], [3.0], [100.0]]])
    weights, context = build_attention("none", 1)(items, torch.tensor([[True, True, False]]))
    assert weights.tolist() == [[0.5, 0.5, 0.0]]
    assert context.tolist() == [[2.0]]


def test_additive_by_hand() -> None:
    attention = AdditiveAttention(2, query_dim=1, hidden=1)
    with torch.no_grad():
        attention.key.weight.copy_(torch.tensor([[1.0, -1.0]]))
        attention.key.bias.fill_(0.5)
        attention.query.weight.fill_(2.0)
        attention.score.weight.fill_(3.0)
    items = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    weights, context = attention(items, torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.25]]))
    scores = [3 * math.tanh(1 + 0.5 + 0.5), 3 * math.tanh(-2 + 0.5 + 0.5)]  # v tanh(W x + b + U q)
    first = 1 / (1 + math.exp(scores[1] - scores[0]))
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))
    torch.testing.assert_close(context, torch.tensor([[first, 2 * (1 - first)]]))


def test_scaled_dot_product_by_hand() -> None:
    attention = ScaledDotProductAttention(2, query_dim=2, hidden=4)
    with torch.no_grad():
        attention.key.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
        attention.query.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    items = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    weights, context = attention(items, torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2.0, 1.0]]))
    # query (2, 1, 0, 3); keys (1, 2, 3, 0) and (3, -1, 2, 0): products 4 and 5, over sqrt(4)
    first = 1 / (1 + math.exp((5 - 4) / 2))
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))
    torch.testing.assert_close(context, torch.tensor([[first + 3 * (1 - first), 2 * first - (1 - first)]]))


def test_scaled_dot_product_with_its_constant_query_by_hand() -> None:
    attention = ScaledDotProductAttention(1, hidden=4)
    with torch.no_grad():
        attention.key.weight.copy_(torch.tensor([[1.0], [0.0], [0.0], [2.0]]))
        attention.constant_query.copy_(torch.tensor([3.0, 9.0, 9.0, 0.5]))
    weights, _ = attention(torch.tensor([[[1.0], [0.0]]]), torch.ones(1, 2, dtype=torch.bool))
    first = 1 / (1 + math.exp(-(3.0 + 1.0) / 2))
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))


@pytest.mark.parametrize("name", NAMES)
def test_running_context_is_the_pooling_of_each_prefix(name: str) -> None:
    torch.manual_seed(0)
    attention, items = build_attention(name, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    running = running_context(attention.scores(items), items, mask)
    for t in range(4):
        _, context = attention(items[:, : t + 1], mask[:, : t + 1])
        torch.testing.assert_close(running[:, t], context)

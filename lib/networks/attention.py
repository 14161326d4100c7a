# SPDX-License-Identifier: Apache-2.0
"""Attention that pools a sequence and returns its weights, so that they can be shown.

References:
    Bahdanau, Cho, Bengio. Neural machine translation by jointly learning to align and translate. ICLR 2015.
    Vaswani et al. Attention is all you need. NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """What every attention here can do; one kind differs from another only in its scores."""

    def forward(self, items: Tensor, mask: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool.

        Args:
            items: (B, T, dim).
            mask: (B, T), True where an item is real; at least one per row.
            query: (B, query_dim) or None.

        Returns:
            Weights (B, T), zero where masked, and the context (B, dim).
        """
        weights = self.scores(items, query).masked_fill(~mask, float("-inf")).softmax(dim=1)
        return weights, torch.einsum("bt,btd->bd", weights, items)

    def scores(self, items: Tensor, query: Tensor | None = None) -> Tensor:
        """Weights before the softmax, (B, T)."""
        raise NotImplementedError


class AdditiveAttention(Pooling):
    """Pools items with weights ``softmax(v . tanh(W x + U q))``.

    Args:
        dim: Size of an item.
        query_dim: Size of the query; 0 for a learned, constant query.
        hidden: Size of the comparison space.
    """

    def __init__(self, dim: int, query_dim: int = 0, hidden: int = 64) -> None:
        super().__init__()
        self.key = nn.Linear(dim, hidden)
        self.query = nn.Linear(query_dim, hidden, bias=False) if query_dim else None
        self.score = nn.Linear(hidden, 1, bias=False)

    def scores(self, items: Tensor, query: Tensor | None = None) -> Tensor:
        """Weights before the softmax, (B, T)."""
        keys = self.key(items)
        if self.query is not None and query is not None:
            keys = keys + self.query(query)[:, None]
        return self.score(torch.tanh(keys)).squeeze(-1)  # type: ignore[no-any-return]


class ScaledDotProductAttention(Pooling):
    """Pools items with weights ``softmax(q . K x / sqrt(d))``.

    Args:
        dim: Size of an item.
        query_dim: Size of the query; 0 for a learned, constant query.
        hidden: Size of the comparison space.
    """

    def __init__(self, dim: int, query_dim: int = 0, hidden: int = 64) -> None:
        super().__init__()
        self.key = nn.Linear(dim, hidden, bias=False)
        self.query = nn.Linear(query_dim, hidden, bias=False) if query_dim else None
        self.constant_query = None if query_dim else nn.Parameter(torch.randn(hidden) / math.sqrt(hidden))

    def scores(self, items: Tensor, query: Tensor | None = None) -> Tensor:
        """Weights before the softmax, (B, T)."""
        keys = self.key(items)  # (B, T, hidden)
        q = self.constant_query  # (hidden,)
        if self.query is not None and query is not None:
            q = self.query(query)[:, None]  # (B, 1, hidden)
        return (keys * q).sum(-1) / math.sqrt(keys.shape[-1])  # type: ignore[no-any-return]


class MeanPooling(Pooling):
    """Every item weighs the same: the switched-off attention."""

    def scores(self, items: Tensor, query: Tensor | None = None) -> Tensor:
        """Zeros, (B, T)."""
        return torch.zeros_like(items[..., 0])


def running_context(scores: Tensor, items: Tensor, mask: Tensor) -> Tensor:
    """What pooling gives after each frame: item t of the result pools items 0..t only.

    Args:
        scores: Weights before the softmax, (B, T).
        items: (B, T, D).
        mask: (B, T), True where an item is real; real items come first in a row.

    Returns:
        (B, T, D).
    """
    seen = torch.ones(scores.shape[1], scores.shape[1], dtype=torch.bool, device=scores.device).tril()
    weights = scores[:, None].masked_fill(~(seen & mask[:, None]), float("-inf")).softmax(-1)  # (B, T, T)
    return weights @ items


ATTENTIONS: dict[str, Callable[[int], Pooling]] = {
    "additive": AdditiveAttention,
    "scaled_dot_product": ScaledDotProductAttention,
}


def build_attention(name: str, dim: int) -> Pooling:
    """Build a pooling by its name in the configs; ``none`` is the mean."""
    return MeanPooling() if name == "none" else ATTENTIONS[name](dim)

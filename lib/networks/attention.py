# SPDX-License-Identifier: Apache-2.0
"""Attention that pools a sequence and returns its weights, so that they can be shown.

References:
    Bahdanau, Cho, Bengio. Neural machine translation by jointly learning to align and translate. ICLR 2015.
    Vaswani et al. Attention is all you need. NeurIPS 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
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

    def forward(self, items: Tensor, mask: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool.

        Args:
            items: (B, T, dim).
            mask: (B, T), True where an item is real; at least one per row.
            query: (B, query_dim) or None.

        Returns:
            Weights (B, T), zero where masked, and the context (B, dim).
        """
        keys = self.key(items)
        if self.query is not None and query is not None:
            keys = keys + self.query(query)[:, None]
        return _pool(self.score(torch.tanh(keys)).squeeze(-1), items, mask)


class ScaledDotProductAttention(nn.Module):
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

    def forward(self, items: Tensor, mask: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool; shapes as in :class:`AdditiveAttention`."""
        keys = self.key(items)  # (B, T, hidden)
        if self.query is not None and query is not None:
            q = self.query(query)[:, None]  # (B, 1, hidden)
        else:
            q = self.constant_query
        return _pool((keys * q).sum(-1) / math.sqrt(keys.shape[-1]), items, mask)


class MeanPooling(nn.Module):
    """Every item weighs the same: the switched-off attention."""

    def forward(self, items: Tensor, mask: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool; shapes as in :class:`AdditiveAttention`, the query is not used."""
        return _pool(torch.zeros_like(items[..., 0]), items, mask)


def _pool(scores: Tensor, items: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Masked softmax over T, then the weighted sum: (B, T), (B, T, D) -> weights (B, T), context (B, D)."""
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
    return weights, torch.einsum("bt,btd->bd", weights, items)


ATTENTIONS: dict[str, type[nn.Module]] = {
    "additive": AdditiveAttention,
    "scaled_dot_product": ScaledDotProductAttention,
}


def build_attention(name: str, dim: int) -> nn.Module:
    """Build a pooling by its name in the configs; ``none`` is the mean."""
    return MeanPooling() if name == "none" else ATTENTIONS[name](dim)

# SPDX-License-Identifier: Apache-2.0
"""A memory: tokens that can be attended, of which some or all may be missing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import Pooling


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis; exactly 0 where masked, and all 0 in a row without any real item.

    Args:
        scores: (..., N).
        mask: Broadcastable to ``scores``, True where an item is real.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) * mask


@dataclass(frozen=True)
class Memory:
    """Tokens with their mask, and the one vector they pool to.

    Attributes:
        states: (B, N, D), zero where masked.
        mask: (B, N), True where a token is real; a row may have none.
        weights: (B, N), the share of each token in the vector; sums to 1, or to 0 in a row without tokens.
        context: (B, D), the vector; zero in a row without tokens.
    """

    states: Tensor
    mask: Tensor
    weights: Tensor
    context: Tensor

    @classmethod
    def pooled(cls, states: Tensor, mask: Tensor, pool: Pooling) -> Memory:
        """Pool tokens (B, N, D) with mask (B, N)."""
        states = states * mask[..., None]
        weights = masked_softmax(pool.scores(states), mask)
        return cls(states, mask, weights, weighted_sum(weights, states))

    @property
    def present(self) -> Tensor:
        """(B,), True where a row has a token."""
        return self.mask.any(1)

    def with_states(self, states: Tensor) -> Memory:
        """The same tokens and weights with other vectors, (B, N, D)."""
        states = states * self.mask[..., None]
        return Memory(states, self.mask, self.weights, weighted_sum(self.weights, states))

    def repeat(self, times: int) -> Memory:
        """Each row ``times`` in turn: (B, ...) -> (B * times, ...)."""
        parts = (self.states, self.mask, self.weights, self.context)
        return Memory(*(part.repeat_interleave(times, dim=0) for part in parts))


def weighted_sum(weights: Tensor, states: Tensor) -> Tensor:
    """(B, N) and (B, N, D) -> (B, D)."""
    return torch.einsum("bn,bnd->bd", weights, states)

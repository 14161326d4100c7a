# SPDX-License-Identifier: Apache-2.0
"""Which findings a study has; each looks for its own evidence.

References:
    Mullenbach et al. Explainable prediction of medical codes from clinical text. NAACL 2018 (attention per label).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .memory import Memory, masked_softmax


class FindingHead(nn.Module):
    """A logit per finding, from the study's vector and, with attention, from the tokens that speak for the finding.

    Args:
        dim: Size D of every vector.
        findings: F.
        names: Of the memories.
        attention: Whether each finding attends the memories.
    """

    def __init__(self, dim: int, findings: int, names: tuple[str, ...], attention: bool) -> None:
        super().__init__()
        self.out = nn.Linear(dim, findings)
        self.attentions = nn.ModuleDict({name: FindingAttention(dim, findings) for name in names if attention})

    def forward(self, context: Tensor, memories: dict[str, Memory]) -> tuple[Tensor, dict[str, Tensor]]:
        """The study's vector (B, D) and its tokens -> logits (B, F), and each finding's weights on tokens (B, F, N)."""
        logits, weights = self.out(context), {}
        for name, attention in self.attentions.items():
            part, weights[name] = attention(memories[name])
            logits = logits + part
        return logits, weights


class FindingAttention(nn.Module):
    """``w_f . sum_n softmax_n(u_f . tanh(V x_n)) x_n`` for each finding f.

    Args:
        dim: Size D of a token.
        findings: F.
    """

    def __init__(self, dim: int, findings: int) -> None:
        super().__init__()
        self.key = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, findings, bias=False)
        self.value = nn.Linear(dim, findings, bias=False)

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) -> logits (B, F), 0 without any token, and the weights (B, F, N)."""
        scores = self.query(torch.tanh(self.key(memory.states))).transpose(1, 2)  # (B, F, N)
        weights = masked_softmax(scores, memory.mask[:, None])
        return (weights * self.value(memory.states).transpose(1, 2)).sum(-1), weights

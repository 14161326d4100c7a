# SPDX-License-Identifier: Apache-2.0
"""Beam search over any network that writes step by step.

A hypothesis that ends leaves the beam and takes its place with it, so as many come back as are followed, and a beam of
one is greedy. The same inputs give the same reports.

References:
    Sutskever, Vinyals, Le. Sequence to sequence learning with neural networks. NeurIPS 2014 (the shrinking beam).
    Wu et al. Google's neural machine translation system. arXiv:1609.08144, eq. 14 (length normalisation).
    Paulus, Xiong, Socher. A deep reinforced model for abstractive summarization. ICLR 2018 (no trigram twice).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from ..configs.report import BEGIN, END, BeamConfig


class Selectable(Protocol):
    """A decoder's state."""

    def select(self, rows: Tensor) -> Self:
        """The state with these rows, (R,), in this order."""


S = TypeVar("S", bound=Selectable)
Step = Callable[[Tensor, S], tuple[Tensor, S, dict[str, Tensor]]]
"""Last ids (R,) and state -> logits (R, V), state, attention by name (R, N)."""


@dataclass(frozen=True)
class Hypothesis:
    """A report that was found.

    Attributes:
        ids: Its words, without begin and end.
        score: Its log probability, end included, divided by ((5 + words + 1) / 6) ** length_penalty.
        log_probabilities: Of each word given those before it, (S,).
        attention: By name, of each word, (S, N).
    """

    ids: tuple[int, ...]
    score: float
    log_probabilities: Tensor
    attention: dict[str, Tensor]


@dataclass(frozen=True)
class _Beam:
    """Hypotheses that go on, R = inputs * beams rows; a total of minus infinity is an empty place."""

    ids: Tensor  # (R, t)
    log_probabilities: Tensor  # (R, t)
    totals: Tensor  # (R,)
    attention: dict[str, Tensor]  # (R, t, N)

    def extended(
        self, rows: Tensor, ids: Tensor, totals: Tensor, gained: Tensor, attention: dict[str, Tensor]
    ) -> _Beam:
        """Each of these rows with one word more."""
        step = {name: weights[rows, None] for name, weights in attention.items()}
        before = {name: weights[rows] for name, weights in self.attention.items()}
        return _Beam(
            torch.cat([self.ids[rows], ids[:, None]], dim=1),
            torch.cat([self.log_probabilities[rows], gained[:, None]], dim=1),
            totals,
            {name: torch.cat([before[name], now], dim=1) if before else now for name, now in step.items()},
        )

    def hypothesis(self, row: int, length_penalty: float) -> Hypothesis:
        """A row that has ended."""
        words = self.ids.shape[1] - 1
        return Hypothesis(
            tuple(self.ids[row, :-1].tolist()),
            float(self.totals[row]) / ((5 + words + 1) / 6) ** length_penalty,
            self.log_probabilities[row, :-1],
            {name: weights[row, :-1] for name, weights in self.attention.items()},
        )


def beam_search(step: Step[S], state: S, n_inputs: int, config: BeamConfig) -> list[list[Hypothesis]]:
    """Find the likeliest reports.

    Args:
        step: Writes one word further; its rows are ``config.beams`` for the first input, then as many for the next.
        state: Before the first word, of n_inputs * beams rows.
        n_inputs: Inputs B.
        config: Beams, lengths, what is forbidden.

    Returns:
        For each input the ``config.alternatives`` best, best first; at least one, fewer where there are no more.
    """
    k = config.beams
    found: list[list[Hypothesis]] = [[] for _ in range(n_inputs)]
    last = torch.full((n_inputs * k,), BEGIN)
    beam: _Beam | None = None
    for length in range(config.max_length + 1):
        logits, state, attention = step(last if beam is None else beam.ids[:, -1], state)
        if beam is None:
            beam = _first(logits, k)
        gains = _allowed(torch.log_softmax(logits.float(), dim=-1), beam.ids, length, config)
        places = torch.tensor([k - len(ended) for ended in found], device=logits.device)
        rows, ids, totals = _best(beam.totals, gains, places)
        beam = beam.extended(rows, ids, totals, gains[rows, ids], attention)
        over = (ids == END) & totals.isfinite()
        for row in over.nonzero().flatten().tolist():
            found[row // k].append(beam.hypothesis(row, config.length_penalty))
        totals = totals.masked_fill(over, float("-inf"))
        if not totals.isfinite().any():
            break
        beam = _Beam(beam.ids, beam.log_probabilities, totals, beam.attention)
        state = state.select(rows)
    return [sorted(ended, key=lambda one: (-one.score, one.ids))[: config.alternatives] for ended in found]


def _first(like: Tensor, beams: int) -> _Beam:
    """One empty hypothesis per input; ``like`` is the first logits, (R, V)."""
    totals = torch.full((like.shape[0],), float("-inf"), device=like.device)
    totals[::beams] = 0
    nothing = torch.zeros(like.shape[0], 0, device=like.device)
    return _Beam(nothing.long(), nothing, totals, {})


def _best(totals: Tensor, gains: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of each input, as many as it has places.

    Args:
        totals: (R,).
        gains: (R, V).
        places: (B,), at most K = R / B.

    Returns:
        For each of R places: the row it continues, the id it adds, and its total, minus infinity where it is empty.
    """
    (b,), v = places.shape, gains.shape[1]
    k = len(totals) // b
    scores, index = (totals[:, None] + gains).reshape(b, k * v).topk(k, dim=1)  # (B, K)
    scores = scores.masked_fill(torch.arange(k, device=gains.device) >= places[:, None], float("-inf"))
    rows = index // v + torch.arange(b, device=gains.device)[:, None] * k
    return rows.flatten(), (index % v).flatten(), scores.flatten()


def _allowed(log_probabilities: Tensor, ids: Tensor, length: int, config: BeamConfig) -> Tensor:
    """Log probabilities (R, V) with minus infinity for what may not follow ``ids``, (R, length).

    Where nothing may follow the report ends.
    """
    banned = repeats(ids, config.block_ngram, log_probabilities.shape[1])
    banned[:, list(config.forbidden)] = True
    banned[:, END] = length < config.min_length
    if length == config.max_length:
        banned = torch.ones_like(banned)
    banned[:, END] &= ~banned.all(1)
    return log_probabilities.masked_fill(banned, float("-inf"))


def repeats(ids: Tensor, n: int, vocabulary_size: int) -> Tensor:
    """What would make a sequence of n words come twice.

    Args:
        ids: Words so far, (R, t).
        n: Length of the sequence; 0 lets all repeat.
        vocabulary_size: V.

    Returns:
        (R, V), True for such words.
    """
    banned = torch.zeros(len(ids), vocabulary_size, dtype=torch.bool, device=ids.device)
    if n == 0 or ids.shape[1] < n:
        return banned
    windows = ids.unfold(1, n, 1)  # (R, t - n + 1, n)
    again = (windows[..., :-1] == ids[:, None, ids.shape[1] - n + 1 :]).all(-1)  # (R, t - n + 1)
    row, place = again.nonzero(as_tuple=True)
    banned[row, windows[row, place, -1]] = True
    return banned

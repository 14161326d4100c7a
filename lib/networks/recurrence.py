# SPDX-License-Identifier: Apache-2.0
"""Memory along the frame axis: on feature maps (convolutional) and on pooled frame embeddings.

References:
    Elman. Finding structure in time. Cognitive Science 1990 (plain RNN).
    Hochreiter, Schmidhuber. Long short-term memory. Neural Computation 1997.
    Cho et al. Learning phrase representations using RNN encoder-decoder. EMNLP 2014 (GRU).
    Shi et al. Convolutional LSTM network. NeurIPS 2015. Ballas et al. Delving deeper into convolutional networks
    for learning video representations. ICLR 2016 (ConvGRU). Perez et al. FiLM. AAAI 2018.
    Milakov, Gimelshein. Online normalizer calculation for softmax. arXiv:1805.02867 (the running context).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..configs import FrameRecurrenceConfig
from .attention import Pooling, build_attention, running_context


class ConvCell(nn.Module):
    """One step of a convolutional RNN, GRU or LSTM.

    The input's share of the gates does not depend on the state, so :meth:`project` computes it for all frames at
    once; :meth:`forward` adds the state's share.

    Args:
        kind: ``conv_rnn``, ``conv_gru`` or ``conv_lstm``.
        in_channels: Channels of the input map.
        hidden: Channels of the state.
    """

    GATES: ClassVar[dict[str, int]] = {"conv_rnn": 1, "conv_gru": 3, "conv_lstm": 4}

    def __init__(self, kind: str, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.kind, self.hidden = kind, hidden
        gates = self.GATES[kind] * hidden
        self.project = nn.Conv2d(in_channels, gates, 3, padding=1)
        self.recur = nn.Conv2d(hidden, gates if kind != "conv_gru" else 2 * hidden, 3, padding=1, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False) if kind == "conv_gru" else None

    def initial_state(self, like: Tensor) -> Tensor:
        """Zeros of shape (B, S, h, w), S = hidden (doubled for the LSTM's cell), sized as the map ``like``."""
        size = self.hidden * (2 if self.kind == "conv_lstm" else 1)
        return like.new_zeros(like.shape[0], size, *like.shape[-2:])

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        """Take one step.

        Args:
            projected: ``project(input)``, (B, gates, h, w).
            state: (B, S, h, w).

        Returns:
            The next state; its first ``hidden`` channels are the output.
        """
        if self.kind == "conv_rnn":
            return torch.tanh(projected + self.recur(state))
        if self.candidate is not None:
            x_z, x_r, x_n = projected.chunk(3, dim=1)
            h_z, h_r = self.recur(state).chunk(2, dim=1)
            update, reset = torch.sigmoid(x_z + h_z), torch.sigmoid(x_r + h_r)
            return (1 - update) * torch.tanh(x_n + self.candidate(reset * state)) + update * state
        hidden, cell = state.chunk(2, dim=1)
        gate_in, gate_forget, gate_out, new = (projected + self.recur(hidden)).chunk(4, dim=1)
        cell = torch.sigmoid(gate_forget + 1.0) * cell + torch.sigmoid(gate_in) * torch.tanh(new)
        return torch.cat([torch.sigmoid(gate_out) * torch.tanh(cell), cell], dim=1)


class MapRecurrence(nn.Module):
    """Convolutional memory on a feature map, added to the map; starts as the identity (zero-initialised output).

    Args:
        channels: Channels of the map.
        hidden: Channels of the state, per direction.
        cell: ``conv_rnn``, ``conv_gru`` or ``conv_lstm``.
        bidirectional: Whether a second pass runs from the last frame to the first.
        depth: Stacked layers.
    """

    def __init__(self, channels: int, hidden: int, cell: str, bidirectional: bool = True, depth: int = 1) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        sizes = [channels] + [hidden * self.directions] * (depth - 1)
        self.cells = nn.ModuleList(ConvCell(cell, size, hidden) for size in sizes for _ in range(self.directions))
        self.out = nn.Conv2d(hidden * self.directions, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, mask: Tensor) -> Tensor:
        """Run along the frames.

        Args:
            maps: (B, T, channels, h, w).
            mask: (B, T), True where a frame is real; padded frames leave the state as it is.

        Returns:
            (B, T, channels, h, w).
        """
        x = maps
        for layer in range(0, len(self.cells), self.directions):
            outputs = [
                _scan(self.cells[layer + direction], x, mask, backward=direction == 1)  # type: ignore[arg-type]
                for direction in range(self.directions)
            ]
            x = torch.cat(outputs, dim=2)
        b, t = x.shape[:2]
        change: Tensor = self.out(x.flatten(0, 1)).unflatten(0, (b, t))
        return maps + change

    def step(self, level: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one frame of a forward-only memory.

        Args:
            level: The frame's map, (B, channels, h, w).
            states: What the step before returned, a state per layer; None at the first frame.

        Returns:
            What :meth:`forward` gives for the frame, (B, channels, h, w), and the states for the next step.
        """
        x, after = level, []
        for i, cell in enumerate(self.cells):
            state = cell(cell.project(x), cell.initial_state(x) if states is None else states[i])  # type: ignore[operator]
            after.append(state)
            x = state[:, : cell.hidden]
        change: Tensor = self.out(x)
        return level + change, tuple(after)


def _scan(cell: ConvCell, maps: Tensor, mask: Tensor, backward: bool) -> Tensor:
    """Run one cell over (B, T, C, h, w) in one direction -> (B, T, hidden, h, w)."""
    b, t = maps.shape[:2]
    projected = cell.project(maps.flatten(0, 1)).unflatten(0, (b, t))
    state = cell.initial_state(maps[:, 0])
    outputs: list[Tensor] = [state] * t
    for i in reversed(range(t)) if backward else range(t):
        real = mask[:, i, None, None, None]
        state = torch.where(real, cell(projected[:, i], state), state)
        outputs[i] = state[:, : cell.hidden]
    return torch.stack(outputs, dim=1)


@dataclass(frozen=True)
class RunningContext:
    """What pooling keeps of the frames so far: the running softmax of :func:`~lib.networks.attention.running_context`.

    Attributes:
        highest: Highest score so far, (B,).
        total: Sum of exp(score - highest), (B,).
        context: What the frames so far pool to, (B, D).
    """

    highest: Tensor
    total: Tensor
    context: Tensor

    @classmethod
    def first(cls, score: Tensor, item: Tensor) -> RunningContext:
        """After one frame; score (B,), item (B, D)."""
        return cls(score, torch.ones_like(score), item)

    def add(self, score: Tensor, item: Tensor) -> RunningContext:
        """With one more frame; score (B,), item (B, D)."""
        highest = torch.maximum(self.highest, score)
        weight = torch.exp(score - highest)
        total = self.total * torch.exp(self.highest - highest) + weight
        return RunningContext(highest, total, self.context + (weight / total)[:, None] * (item - self.context))

    def weight(self, score: Tensor) -> Tensor:
        """Share of a frame that was added, (B,)."""
        return torch.exp(score - self.highest) / self.total


@dataclass(frozen=True)
class FrameMemory:
    """What a forward-only memory over frame embeddings carries from frame to frame.

    Attributes:
        embedding: The last frame's reduced embedding, (B, hidden).
        hidden: State of the recurrent cell as torch keeps it; None for the control without memory.
        pooled: The attention's part.
    """

    embedding: Tensor
    hidden: Tensor | tuple[Tensor, Tensor] | None
    pooled: RunningContext


class FrameRecurrence(nn.Module):
    """Memory over pooled frame embeddings, joined with their differences to the neighbours.

    Args:
        in_features: Size of a frame embedding.
        config: Cell, size, direction, depth, attention.
    """

    CELLS: ClassVar[dict[str, Callable[..., nn.RNNBase]]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

    def __init__(self, in_features: int, config: FrameRecurrenceConfig) -> None:
        super().__init__()
        hidden, directions = config.hidden, 2 if config.bidirectional else 1
        self.causal = not config.bidirectional
        self.reduce = nn.Sequential(nn.Linear(in_features, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.state_size = hidden * directions
        self.cell: nn.Module
        if config.cell == "mlp":  # the control: as wide, sees one frame at a time
            self.cell = nn.Sequential(
                nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, self.state_size), nn.Tanh()
            )
        else:
            self.cell = self.CELLS[config.cell](
                3 * hidden if config.bidirectional else 2 * hidden,
                hidden,
                num_layers=config.depth,
                batch_first=True,
                bidirectional=config.bidirectional,
            )
        self.pool: Pooling = build_attention(config.attention, self.state_size)

    def forward(self, embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run along the frames.

        Args:
            embeddings: (B, T, in_features).
            mask: (B, T), True where a frame is real; real frames come first in a row.

        Returns:
            States (B, T, state_size); attention weights (B, T); the context they pool, (B, state_size).
        """
        x = self.reduce(embeddings) * mask[..., None]
        if isinstance(self.cell, nn.RNNBase):
            states = self._recur(self._with_differences(x, mask), mask)
        else:
            states = self.cell(x)
        weights, context = self.pool(states, mask)
        return states, weights, context

    def step(self, embedding: Tensor, memory: FrameMemory | None) -> tuple[Tensor, Tensor, FrameMemory]:
        """Take one frame of a forward-only memory.

        Args:
            embedding: Of the frame, (B, in_features).
            memory: What the step before returned; None at the first frame.

        Returns:
            The frame's state (B, state_size) and its attention weight among the frames so far (B,); the memory, whose
            ``pooled.context`` is the context that the frame may know.
        """
        x: Tensor = self.reduce(embedding)
        hidden = None if memory is None else memory.hidden
        if isinstance(self.cell, nn.RNNBase):
            change = torch.zeros_like(x) if memory is None else x - memory.embedding
            states, hidden = self.cell(torch.cat([x, change], dim=-1)[:, None], hidden)
            state = states[:, 0]
        else:
            state = self.cell(x)
        score = self.pool.scores(state[:, None])[:, 0]
        pooled = RunningContext.first(score, state) if memory is None else memory.pooled.add(score, state)
        return state, pooled.weight(score), FrameMemory(x, hidden, pooled)

    def frame_contexts(self, states: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """The context that each frame may know: the study's, or what came up to the frame in a model that streams.

        Args:
            states: (B, T, state_size), from :meth:`forward`.
            context: (B, state_size), from :meth:`forward`.
            mask: (B, T), True where a frame is real.

        Returns:
            (B, T, state_size).
        """
        if self.causal:
            return running_context(self.pool.scores(states), states, mask)
        return context[:, None].expand_as(states)

    def _with_differences(self, x: Tensor, mask: Tensor) -> Tensor:
        """Join each embedding with the change from the frame before and, unless causal, to the frame after."""
        change = (x[:, 1:] - x[:, :-1]) * mask[:, 1:, None]
        before = nn.functional.pad(change, (0, 0, 1, 0))
        if self.causal:
            return torch.cat([x, before], dim=-1)
        return torch.cat([x, before, nn.functional.pad(change, (0, 0, 0, 1))], dim=-1)

    def _recur(self, x: Tensor, mask: Tensor) -> Tensor:
        if bool(mask.all()):
            return self.cell(x)[0]  # type: ignore[no-any-return]
        lengths = mask.sum(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=x.shape[1])
        return states

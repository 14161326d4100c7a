# SPDX-License-Identifier: Apache-2.0
"""An LSTM that writes, word by word, attending image tokens, words of the clinical text and measured lesions.

At each step it attends every memory by itself and adds up what it found in them; how long each summand is says where a
word comes from. It is told, at every step, which findings are taken to be there and how many lesions were measured. It
knows nothing else of the study: a start from the fused vector let it write without looking, and then the attention
that is shown is no evidence.

The memories do not compete for one softmax: with it (Libovicky, Helcl, "hierarchical"), the toy of the tests shut one
memory out within 25 steps, at shares of .995, and never came to read it.

References:
    Bahdanau, Cho, Bengio. Neural machine translation by jointly learning to align and translate. ICLR 2015.
    Libovicky, Helcl. Attention strategies for multi-source sequence-to-sequence learning. ACL 2017.
    Kobayashi et al. Attention is not only a weight: analyzing transformers with vector norms. EMNLP 2020 (the shares).
    See, Liu, Manning. Get to the point: summarization with pointer-generator networks. ACL 2017 (coverage).
    Press, Wolf. Using the output embedding to improve language models. EACL 2017 (tied embeddings).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs import AttentionName
from ..configs.report import ReportDecoderConfig
from .memory import Memory, masked_softmax, weighted_sum
from .text_encoder import WordEmbedding

SHARES = "memories"
"""Key of the memories' shares in a word, in their order, beside the attention over each one's tokens."""


@dataclass(frozen=True)
class Source:
    """What does not change while a report is written.

    Attributes:
        memories: What can be attended, by name: ``image``, ``words``, ``lesions``.
        keys: Of each memory, (B, N, attention_hidden).
        prompt: (B, P); P may be 0.
    """

    memories: dict[str, Memory]
    keys: dict[str, Tensor]
    prompt: Tensor

    def repeat(self, times: int) -> Source:
        """Each row ``times`` in turn, for a beam."""
        return Source(
            {name: memory.repeat(times) for name, memory in self.memories.items()},
            {name: keys.repeat_interleave(times, dim=0) for name, keys in self.keys.items()},
            self.prompt.repeat_interleave(times, dim=0),
        )


@dataclass(frozen=True)
class DecoderState:
    """What does change.

    Attributes:
        layers: Hidden and cell state of each layer, each (B, hidden).
        context: (B, D), what was found last.
        coverage: Sum of the weights so far on each memory's tokens, (B, N).
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    context: Tensor
    coverage: dict[str, Tensor]

    def select(self, rows: Tensor) -> DecoderState:
        """The state with these rows, (R,)."""
        layers = tuple((hidden[rows], cell[rows]) for hidden, cell in self.layers)
        return DecoderState(layers, self.context[rows], {name: sums[rows] for name, sums in self.coverage.items()})


class MemoryAttention(nn.Module):
    """Attention over one memory, with coverage: ``softmax(v . tanh(W x + U q + w c))`` (additive).

    ``scaled_dot_product`` has ``(U q) . (W x) / sqrt(d) + w c``; ``none`` gives every token the same weight.

    Args:
        kind: As above.
        dim: Size D of a token.
        query_dim: Size of the query.
        hidden: Size of the comparison space.
        coverage: Whether the sum c of the weights so far takes part.
    """

    def __init__(self, kind: AttentionName, dim: int, query_dim: int, hidden: int, coverage: bool) -> None:
        super().__init__()
        self.kind = kind
        if kind == "none":
            return
        self.key = nn.Linear(dim, hidden)
        self.query = nn.Linear(query_dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False) if kind == "additive" else None
        self.covered = nn.Parameter(torch.zeros(hidden if kind == "additive" else 1)) if coverage else None

    def keys(self, tokens: Tensor) -> Tensor:
        """What queries are compared with, (B, N, hidden), of tokens (B, N, D)."""
        return tokens if self.kind == "none" else self.key(tokens)

    def forward(self, query: Tensor, memory: Memory, keys: Tensor, coverage: Tensor) -> Tensor:
        """Weights (B, N) for a query (B, query_dim), given the sums so far (B, N)."""
        return masked_softmax(self._scores(query, keys, coverage), memory.mask)

    def _scores(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        if self.kind == "none":
            return torch.zeros_like(coverage)
        asked = self.query(query)[:, None]  # (B, 1, hidden)
        covered = 0.0 if self.covered is None else coverage[..., None] * self.covered  # (B, N, hidden or 1)
        if self.score is not None:
            return self.score(torch.tanh(keys + asked + covered)).squeeze(-1)  # type: ignore[no-any-return]
        scores = (keys * asked).sum(-1, keepdim=True) * keys.shape[-1] ** -0.5
        return (scores + covered).squeeze(-1)  # type: ignore[no-any-return]


class ReportDecoder(nn.Module):
    """Writes a report.

    Args:
        config: Sizes, attention, coverage.
        names: Of the memories it attends.
        dim: Size D of a memory's token.
        embedding: Size E of a word's vector.
        vocabulary_size: Words V.
        prompt: Size P of the prompt; 0 for none.
    """

    def __init__(
        self,
        config: ReportDecoderConfig,
        names: tuple[str, ...],
        dim: int,
        embedding: int,
        vocabulary_size: int,
        prompt: int,
    ) -> None:
        super().__init__()
        hidden, kind = config.hidden, config.attention
        self.dim, self.hidden = dim, hidden
        self.attentions = nn.ModuleDict(
            {
                name: MemoryAttention(kind, dim, hidden, config.attention_hidden, config.coverage and kind != "none")
                for name in names
            }
        )
        self.values = nn.ModuleDict({name: nn.Linear(dim, dim, bias=False) for name in names})
        sizes = [embedding + dim + prompt] + [hidden] * (config.layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(hidden + dim + prompt, embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def source(self, memories: dict[str, Memory], prompt: Tensor) -> Source:
        """Prepare what is attended: keys are computed once. See :class:`Source`."""
        keys = {name: attention.keys(memories[name].states) for name, attention in self.attentions.items()}  # type: ignore[operator]
        return Source(memories, keys, prompt)

    def initial_state(self, source: Source) -> DecoderState:
        """The state before the first word."""
        zeros = source.prompt.new_zeros(len(source.prompt), self.hidden)
        layers = tuple((zeros, zeros) for _ in self.cells)
        coverage = {name: source.memories[name].weights.new_zeros(keys.shape[:2]) for name, keys in source.keys.items()}
        return DecoderState(layers, source.prompt.new_zeros(len(zeros), self.dim), coverage)

    def forward(self, words: WordEmbedding, ids: Tensor, source: Source) -> tuple[Tensor, dict[str, Tensor]]:
        """Write along given words (teacher forcing).

        Args:
            words: The words' vectors.
            ids: Inputs, (B, S): the report's words after BEGIN; logits at s are for word s + 1.
            source: What is attended.

        Returns:
            Logits (B, S, V); attention at each step: over each memory's tokens (B, S, N), and the memories' shares in
            their order (B, S, M) under :data:`SHARES`.
        """
        vectors, state = self.dropout(words(ids)), self.initial_state(source)  # (B, S, E)
        features: list[Tensor] = []
        seen: list[dict[str, Tensor]] = []
        for s in range(ids.shape[1]):
            feature, state, attention = self._advance(vectors[:, s], state, source)
            features.append(feature)
            seen.append(attention)
        logits = words.logits(torch.stack(features, dim=1)) + self.bias
        return logits, {name: torch.stack([step[name] for step in seen], dim=1) for name in seen[0]}

    def step(
        self, words: WordEmbedding, ids: Tensor, state: DecoderState, source: Source
    ) -> tuple[Tensor, DecoderState, dict[str, Tensor]]:
        """Write one word further.

        Args:
            words: The words' vectors.
            ids: The last word, (B,).
            state: The state after the word before it.
            source: What is attended.

        Returns:
            Logits of the next word (B, V), the state, and the step's attention as in :meth:`forward` without S.
        """
        feature, state, attention = self._advance(self.dropout(words(ids)), state, source)
        return words.logits(feature) + self.bias, state, attention

    def _advance(
        self, vector: Tensor, state: DecoderState, source: Source
    ) -> tuple[Tensor, DecoderState, dict[str, Tensor]]:
        """A word's vector (B, E) -> the feature (B, E) that the next word is chosen by."""
        x = torch.cat([vector, state.context, source.prompt], dim=-1)
        layers = []
        for cell, before in zip(self.cells, state.layers, strict=True):
            hidden, memory = cell(x, before)
            layers.append((hidden, memory))
            x = self.dropout(hidden)
        context, attention = self._attend(hidden, state.coverage, source)
        feature = torch.tanh(self.out(torch.cat([x, context, source.prompt], dim=-1)))
        coverage = {name: sums + attention[name] for name, sums in state.coverage.items()}
        return self.dropout(feature), DecoderState(tuple(layers), context, coverage), attention

    def _attend(self, query: Tensor, coverage: dict[str, Tensor], source: Source) -> tuple[Tensor, dict[str, Tensor]]:
        """Query (B, hidden) -> what was found in all memories (B, D), and the weights."""
        attention: dict[str, Tensor] = {}
        found = []
        for name, attend in self.attentions.items():
            memory = source.memories[name]
            attention[name] = attend(query, memory, source.keys[name], coverage[name])
            found.append(self.values[name](weighted_sum(attention[name], memory.states)))
        parts = torch.stack(found, dim=1)  # (B, M, D), zero where a memory is empty
        lengths = parts.detach().norm(dim=-1)
        attention[SHARES] = lengths / lengths.sum(1, keepdim=True).clamp(min=torch.finfo(lengths.dtype).tiny)
        return parts.sum(1), attention

# SPDX-License-Identifier: Apache-2.0
"""Word ids -> a vector per word: embedding with letter groups for unknown words, BiLSTM, word attention.

References:
    Bojanowski et al. Enriching word vectors with subword information. TACL 2017 (hashed letter groups).
    Graves, Schmidhuber. Framewise phoneme classification with bidirectional LSTM. Neural Networks 2005.
    Yang et al. Hierarchical attention networks for document classification. NAACL 2016 (word attention).
    Bahdanau, Cho, Bengio. ICLR 2015. Press, Wolf. Using the output embedding to improve language models. EACL 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..configs.report import PAD, TextEncoderConfig
from .attention import build_attention
from .memory import Memory


class WordEmbedding(nn.Module):
    """Vectors of words, and the logits of words by those same vectors (tied).

    Args:
        vocabulary_size: Words with an id, V.
        size: Size of a vector, E.
        hash_buckets: Vectors shared by the letter groups of unknown words; 0 for none.
    """

    def __init__(self, vocabulary_size: int, size: int, hash_buckets: int = 0) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, size, padding_idx=PAD)
        self.buckets = nn.Embedding(hash_buckets, size) if hash_buckets else None
        for table in (self.words, self.buckets):
            if table is not None:
                nn.init.normal_(table.weight, std=size**-0.5)
        with torch.no_grad():
            self.words.weight[PAD] = 0

    def forward(self, ids: Tensor, groups: Tensor | None = None) -> Tensor:
        """Look words up.

        Args:
            ids: (..., L), 0 <= id < V.
            groups: (..., L, G), buckets of the letter groups of each word, -1 where there is none: words with an id
                have none, unknown ones as many as they are long. Their mean is added to the word's vector.

        Returns:
            (..., L, E).
        """
        vectors: Tensor = self.words(ids)
        if self.buckets is None or groups is None:
            return vectors
        real = groups >= 0
        spelled = real.any(-1)  # few words are, so only theirs are looked up
        letters = self.buckets(groups[spelled].clamp(min=0)) * real[spelled][..., None]  # (n, G, E)
        shared = torch.zeros_like(vectors)
        shared[spelled] = (letters.sum(1) / real[spelled].sum(1, keepdim=True)).to(shared.dtype)
        return vectors + shared

    def logits(self, features: Tensor) -> Tensor:
        """(..., E) -> (..., V)."""
        return features @ self.words.weight.T


class BiLSTM(nn.Module):
    """LSTMs in both directions; padding is never seen by either.

    The words of each text are turned round for the second direction. Packed sequences do the same and took six times as
    long to train on a processor.

    Args:
        size: Of an item.
        hidden: Units per direction.
        depth: Stacked layers.
        dropout: Probability, between layers.
    """

    def __init__(self, size: int, hidden: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [size] + [2 * hidden] * (depth - 1)
        self.forwards = nn.ModuleList(nn.LSTM(one, hidden, batch_first=True) for one in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(one, hidden, batch_first=True) for one in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, 2 * hidden), for a mask (B, L) with the real items first; no sense where masked."""
        x, lengths = items, mask.sum(1, keepdim=True)
        places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        turned = torch.where(mask, lengths - 1 - places, places)[..., None]  # (B, L, 1), its own inverse
        for depth, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = self.dropout(x) if depth else x
            reversed_states = back(torch.take_along_dim(x, turned, dim=1))[0]
            x = torch.cat([ahead(x)[0], torch.take_along_dim(reversed_states, turned, dim=1)], dim=-1)
        return x


class TextEncoder(nn.Module):
    """BiLSTM over words, and attention that pools them.

    Args:
        config: Cell, sizes, attention.
        dim: Size of what comes out for each word.
    """

    def __init__(self, config: TextEncoderConfig, dim: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        recurs = config.cell == "lstm"
        self.lstm = BiLSTM(config.embedding, config.hidden, config.depth, config.dropout) if recurs else None
        read = 2 * config.hidden if recurs else 0
        self.out = nn.Sequential(nn.Linear(config.embedding + read, dim), nn.LayerNorm(dim))
        self.pool = build_attention(config.attention, dim)

    def forward(self, vectors: Tensor, mask: Tensor) -> Memory:
        """Read.

        Args:
            vectors: Of the words, (B, L, embedding).
            mask: (B, L), True where a word is real (real words first); a row may have none.

        Returns:
            The words as a memory; its weights are the word attention, its context the text's vector.
        """
        x = self.dropout(vectors) * mask[..., None]
        if self.lstm is not None:
            x = torch.cat([x, self.lstm(x, mask)], dim=-1)
        return Memory.pooled(self.out(x), mask, self.pool)

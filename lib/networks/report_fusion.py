# SPDX-License-Identifier: Apache-2.0
"""Image tokens and words meet: in one vector for the heads, and in tokens that know of the other side.

A pair (something of the image, something of the text) becomes one vector by concatenation, a gate or a bilinear form.
The image's vector is paired with the text's; with cross-attention each token is first paired with what it finds in the
other memory. Where one side is missing the pair is the other side alone, so a report can be written from an image
without a note, and a note can be read without an image.

The decoder attends the tokens as they were before fusion. After it they are no evidence of what a word was read from:
an image token hands on what the note says.

References:
    Arevalo et al. Gated multimodal units for information fusion. ICLR 2017 workshop, arXiv:1702.01992 (gated).
    Kim et al. Hadamard product for low-rank bilinear pooling. ICLR 2017 (low-rank bilinear).
    Vaswani et al. Attention is all you need. NeurIPS 2017. Lu et al. ViLBERT. NeurIPS 2019 (cross-attention).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..configs.report import ReportFusionConfig
from .memory import Memory, masked_softmax


@dataclass(frozen=True)
class Fused:
    """What fusion makes.

    Attributes:
        context: (B, D), for the heads.
        memories: Tokens before fusion, for the decoder: ``image`` (B, N, D) and ``words`` (B, L, D); one in the twins
            that see one. The weights in them are the shares of image tokens and words in ``context``.
        image_share: (B,), how much of ``context`` comes from the image, 0..1, where there is a gate.
    """

    context: Tensor
    memories: dict[str, Memory]
    image_share: Tensor | None = None


class Pair(nn.Module):
    """One vector of an image's and a text's."""

    def forward(self, image: Tensor, text: Tensor, has_image: Tensor, has_text: Tensor) -> tuple[Tensor, Tensor | None]:
        """Combine.

        Args:
            image: (..., D).
            text: (..., D).
            has_image: (..., 1), False where ``image`` is to be left out.
            has_text: (..., 1), likewise.

        Returns:
            (..., D), and the image's share (..., D) where there is a gate.
        """
        raise NotImplementedError


class ConcatPair(Pair):
    """``W [image; text]``; what is missing is zeros.

    Args:
        dim: Size D of every vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(2 * dim, dim), nn.LayerNorm(dim), nn.GELU())

    def forward(self, image: Tensor, text: Tensor, has_image: Tensor, has_text: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Pair`."""
        return self.out(torch.cat([image * has_image, text * has_text], dim=-1)), None


class GatedPair(Pair):
    """Gated multimodal unit: ``z tanh(V image) + (1 - z) tanh(W text)``, ``z = sigmoid(U [image; text])``.

    Args:
        dim: Size D of every vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.gate = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor, text: Tensor, has_image: Tensor, has_text: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Pair`; the gate stands open for one side where the other is missing."""
        share = torch.sigmoid(self.gate(torch.cat([image * has_image, text * has_text], dim=-1)))
        share = torch.where(has_text, share, torch.ones_like(share))
        share = torch.where(has_image, share, torch.zeros_like(share))
        return self.norm(share * torch.tanh(self.image(image)) + (1 - share) * torch.tanh(self.text(text))), share


class LowRankBilinearPair(Pair):
    """``P (tanh(V image) * tanh(W text))``, the product element by element; a missing factor is 1.

    Args:
        dim: Size D of every vector.
        rank: Size of the space of the product.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(dim, rank), nn.Linear(dim, rank)
        self.out = nn.Sequential(nn.Linear(rank, dim), nn.LayerNorm(dim))

    def forward(self, image: Tensor, text: Tensor, has_image: Tensor, has_text: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Pair`."""
        seen, read = torch.tanh(self.image(image)), torch.tanh(self.text(text))
        one = torch.ones_like(seen)
        return self.out(torch.where(has_image, seen, one) * torch.where(has_text, read, one)), None


class CrossAttention(nn.Module):
    """What each token finds in another memory (multi-head scaled dot product).

    Args:
        dim: Size D of a token.
        heads: Attention heads, a divisor of ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Look into a memory, of which a row may have no token: (B, N, D) -> (B, N, D)."""
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or L, D / heads)
            for x in (self.query(tokens), self.key(memory.states), self.value(memory.states))
        )
        weights = masked_softmax(q @ k.transpose(-1, -2) * k.shape[-1] ** -0.5, memory.mask[:, None, None])
        return self.out((weights @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class PairFusion(nn.Module):
    """The image's and the text's vector become one; the tokens stay as they are.

    Args:
        pair: Makes one vector of two.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.context_pair = pair

    def forward(self, image: Memory, text: Memory) -> Fused:
        """Fuse image tokens (N of them) and words (L of them)."""
        context, share = self.context_pair(image.context, text.context, image.present[:, None], text.present[:, None])
        return Fused(context, {"image": image, "words": text}, None if share is None else share.mean(-1))


class CrossAttentionFusion(PairFusion):
    """To each token is added what it is gated with from the other memory; the heads read what the tokens then pool to.

    Args:
        dim: Size D of a token.
        heads: Attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(GatedPair(dim))
        self.image_pair, self.word_pair = GatedPair(dim), GatedPair(dim)
        self.image_to_words, self.words_to_image = CrossAttention(dim, heads), CrossAttention(dim, heads)

    def forward(self, image: Memory, text: Memory) -> Fused:
        """Fuse image tokens (N of them) and words (L of them)."""
        has_image, has_text = image.present[:, None, None], text.present[:, None, None]
        read = self.image_to_words(image.states, text)  # (B, N, D)
        seen = self.words_to_image(text.states, image)  # (B, L, D)
        tokens = image.with_states(image.states + self.image_pair(image.states, read, has_image, has_text)[0])
        words = text.with_states(text.states + self.word_pair(seen, text.states, has_image, has_text)[0])
        return replace(super().forward(tokens, words), memories={"image": image, "words": text})


def build_fusion(config: ReportFusionConfig, dim: int) -> PairFusion:
    """Build a fusion of two memories by its name in the configs (the twins that see one side need none)."""
    builders: dict[str, Callable[[], PairFusion]] = {
        "concat": lambda: PairFusion(ConcatPair(dim)),
        "gated": lambda: PairFusion(GatedPair(dim)),
        "low_rank_bilinear": lambda: PairFusion(LowRankBilinearPair(dim, config.rank)),
        "cross_attention": lambda: CrossAttentionFusion(dim, config.heads),
    }
    return builders[config.kind]()

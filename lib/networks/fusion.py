# SPDX-License-Identifier: Apache-2.0
"""Fusion of modalities: a stem for each, and attention that says how much each counts on a frame.

One weight per frame and modality, not one per pixel: the weight that is shown is then the weight that was used, noise
in single pixels does not move it, and what spoils a modality (motion, a missing series, another scanner) spoils whole
frames. Choosing between modalities at a place is left to the convolutions above, which see the stems' maps summed;
each stem is free to write where the others do not.

References:
    Bahdanau, Cho, Bengio. Neural machine translation by jointly learning to align and translate. ICLR 2015.
    Vaswani et al. Attention is all you need. NeurIPS 2017.
    Neverova et al. ModDrop: adaptive multi-modal gesture recognition. TPAMI 2016 (training with modalities left out).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..configs import FusionConfig
from .attention import AdditiveAttention, ScaledDotProductAttention

SCORES: dict[str, type[AdditiveAttention] | type[ScaledDotProductAttention]] = {
    "additive": AdditiveAttention,
    "scaled_dot_product": ScaledDotProductAttention,
}


def stem_convolution(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """The first convolution; its stride is 1, 2 or 4."""
    kernel, padding = (4 if stride > 1 else 3), (1 if stride < 4 else 0)
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding)


class ModalityFusion(nn.Module):
    """Turns the modalities of a frame into one feature map: ``sum over m of a_m h_m``, ``a = softmax(score + bias)``.

    ``h_m`` is the normalised map of modality m, so that weights can be compared. Its score compares what it shows with
    what all modalities of the frame show in the mean (``v . tanh(W h_m + U q)``, or ``(U q) . (W h_m) / sqrt(d)``).
    Modalities that are missing are left out of the softmax and change nothing.

    Args:
        n_modalities: Image channels C.
        width: Channels of the result.
        stride: Stride of the stems.
        groups: Groups of the group normalisation.
        config: Kind of attention; ``none`` is not for this class.
    """

    def __init__(self, n_modalities: int, width: int, stride: int, groups: int, config: FusionConfig) -> None:
        super().__init__()
        self.stems = nn.ModuleList(
            nn.Sequential(
                stem_convolution(1, width, stride),
                nn.GroupNorm(min(groups, width), width),
                nn.LeakyReLU(0.1, inplace=True),
            )
            for _ in range(n_modalities)
        )
        self.attention = SCORES[config.kind](2 * width, 2 * width, config.hidden)
        self.bias = nn.Parameter(torch.zeros(n_modalities))

    def forward(self, frames: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            frames: (N, C, H, W).
            present: (N, C), True where a modality is there, at least one per row; None means all.

        Returns:
            The fused map (N, width, H / stride, W / stride), and the weights (N, C), which sum to 1 and are 0 where a
            modality is missing.
        """
        if present is None:
            present = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        maps = [stem(frames[:, i : i + 1]) for i, stem in enumerate(self.stems)]  # each (N, width, h, w)
        shown = torch.stack([_summary(one) for one in maps], dim=1)  # (N, C, 2 * width)
        share = present / present.sum(1, keepdim=True)
        query = torch.einsum("nc,ncd->nd", share, shown)
        scores = self.attention.scores(shown, query) + self.bias
        weights = scores.masked_fill(~present, float("-inf")).softmax(dim=1)
        fused = torch.zeros_like(maps[0])
        for i, one in enumerate(maps):
            fused = fused + one * weights[:, i, None, None, None].to(one.dtype)
        return fused, weights


def _summary(maps: Tensor) -> Tensor:
    """Mean and maximum: (N, C, h, w) -> (N, 2 * C)."""
    return torch.cat([maps.float().mean((2, 3)), maps.float().amax((2, 3))], dim=1)

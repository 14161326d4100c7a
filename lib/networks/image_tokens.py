# SPDX-License-Identifier: Apache-2.0
"""Images as tokens: one per frame from a lesion net's features, or many per image from a pyramid of our own.

References:
    Lin et al. Feature pyramid networks for object detection. CVPR 2017.
    Xu et al. Show, attend and tell. ICML 2015 (places of a feature map as what a decoder attends).
    Vaswani et al. Attention is all you need. NeurIPS 2017 (sines of the position).
"""

from __future__ import annotations

import math

import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import Tensor, nn

from ..configs.report import ImageTokensConfig
from .attention import build_attention
from .encoder import FrameEncoder
from .memory import Memory
from .recurrence import FrameRecurrence

WAVES = 4
"""How many frequencies say where in the sequence a frame is."""


def frame_positions(mask: Tensor) -> Tensor:
    """Where each frame is between the first (0) and the last (1) real one, as sines and cosines.

    Args:
        mask: (B, T), True where a frame is real; real frames come first in a row.

    Returns:
        (B, T, 2 * :data:`WAVES`).
    """
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=1)  # (B, 1)
    position = torch.arange(mask.shape[1], device=mask.device) / last  # (B, T)
    angles = math.pi * position[..., None] * torch.arange(1, WAVES + 1, device=mask.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class FrameTokens(nn.Module):
    """A token per frame.

    Args:
        config: Size of a frame's features, memory over frames, attention.
        dim: Size of a token.
    """

    def __init__(self, config: ImageTokensConfig, dim: int) -> None:
        super().__init__()
        recurs = config.recurrence.cell != "none"
        self.recurrence = FrameRecurrence(config.features, config.recurrence) if recurs else None
        size = config.features if self.recurrence is None else self.recurrence.state_size
        self.tokens = nn.Sequential(nn.Linear(size + 2 * WAVES, dim), nn.LayerNorm(dim), nn.GELU())
        self.dropout = nn.Dropout(config.dropout)
        self.pool = build_attention(config.attention, dim)

    def forward(self, features: Tensor, mask: Tensor) -> Memory:
        """Make tokens.

        Args:
            features: Of the frames, (B, T, features).
            mask: (B, T), True where a frame is real (real frames first); a row may have none.

        Returns:
            Memory of T tokens.
        """
        x = features.masked_fill(~mask[..., None], 0)
        if self.recurrence is not None:
            x = self.recurrence(x, _at_least_one(mask))[0]
        tokens = self.tokens(torch.cat([x, frame_positions(mask).to(x.dtype)], dim=-1))
        return Memory.pooled(self.dropout(tokens), mask, self.pool)


class GridTokens(nn.Module):
    """Tokens per place and scale: the levels of a feature pyramid, pooled to grids, with what level and place they are.

    Args:
        config: Encoder, grids, attention.
        dim: Size of a token.
    """

    def __init__(self, config: ImageTokensConfig, dim: int) -> None:
        super().__init__()
        self.encoder = FrameEncoder(
            config.in_channels, config.channels, config.stem_stride, config.norm_groups, config.dropout
        )
        self.grids = config.grids
        self.pyramid = FeaturePyramidNetwork(2, list(config.channels[-len(config.grids) :]), dim)
        self.stride = self.encoder.strides[-len(config.grids)]
        self.size_divisor = self.encoder.strides[-1]
        self.places = nn.Parameter(torch.randn(sum(g * g for g in config.grids), dim) * 0.02)
        self.when = nn.Linear(2 * WAVES, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.pool = build_attention(config.attention, dim)

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Memory, Tensor]:
        """Make tokens.

        Args:
            images: (B, T, C, H, W), T = 1 for a single image; H and W divisible by :attr:`size_divisor`.
            mask: (B, T), True where an image is real (real ones first); a row may have none.

        Returns:
            Memory of T * P tokens (P as in :func:`token_regions`), and the finest map of the pyramid,
            (B * T, dim, H / stride, W / stride).
        """
        b, t = mask.shape
        x = images.masked_fill(~mask[..., None, None, None], 0).flatten(0, 1)  # (B * T, C, H, W)
        levels = self.encoder(x.contiguous(memory_format=torch.channels_last))[-len(self.grids) :]
        maps = list(self.pyramid({str(i): level for i, level in enumerate(levels)}).values())
        cells = [
            nn.functional.adaptive_avg_pool2d(one, grid).flatten(2).transpose(1, 2)  # (B * T, grid * grid, dim)
            for one, grid in zip(maps, self.grids, strict=True)
        ]
        tokens = (torch.cat(cells, dim=1) + self.places).reshape(b, t, -1, self.places.shape[1])  # (B, T, P, dim)
        tokens = self.norm(tokens + self.when(frame_positions(mask).to(tokens.dtype))[:, :, None])
        shown = mask.repeat_interleave(tokens.shape[2], dim=1)  # (B, T * P)
        return Memory.pooled(self.dropout(tokens.flatten(1, 2)), shown, self.pool), maps[0]


def token_regions(grids: tuple[int, ...]) -> Tensor:
    """Which part of its image each token of :class:`GridTokens` stands for.

    Args:
        grids: Tokens along each side, per level.

    Returns:
        (P, 4), P = sum of grid * grid: x0, y0, x1, y1 as shares of width and height, 0..1.
    """
    regions = [
        torch.tensor([[x, y, x + 1, y + 1] for y in range(grid) for x in range(grid)], dtype=torch.float32) / grid
        for grid in grids
    ]
    return torch.cat(regions)


def _at_least_one(mask: Tensor) -> Tensor:
    """An empty row gets its first item; what comes of it is masked afterwards."""
    first = torch.zeros_like(mask)
    first[:, :1] = True
    return mask | (first & ~mask.any(1, keepdim=True))

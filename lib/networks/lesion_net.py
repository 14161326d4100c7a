# SPDX-License-Identifier: Apache-2.0
"""The lesion net: a U-Net per frame whose decoder is steered by memory over the frames.

A shared encoder sees single frames. A recurrent network over the pooled embeddings of all frames (and, if wanted, a
convolutional one on a feature map) carries what neighbouring frames show; its state modulates the decoder (FiLM) and
says which frames hold a lesion. With both memories off it is the CNN-only twin.

References:
    Ronneberger et al. U-Net. MICCAI 2015. Perez et al. FiLM. AAAI 2018. Zhou et al. arXiv:1904.07850.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs import NetworkConfig
from .encoder import FrameDecoder, FrameEncoder
from .heads import BoxHead, BoxMaps, MaskHead, PresenceHead, StudyHead
from .recurrence import FrameRecurrence, MapRecurrence

POOLED_LEVELS = 3
"""How many of the coarsest maps make up a frame's embedding. The coarsest alone says little about small lesions:
group normalisation takes the mean out of each map."""


@dataclass
class LesionOutput:
    """What the lesion net says about a batch of sequences.

    Attributes:
        mask_logits: (B, T, K, H, W).
        boxes: The box head's maps, or None.
        presence_logits: (B, T), frame holds a lesion; None for the CNN-only twin.
        study_logits: (B, K), study holds the class; None for the CNN-only twin.
        attention: (B, T), weight of each frame in the study context; None for the CNN-only twin.
        modality_weights: (B, T, C), weight of each image channel on each frame, sums to 1; None without fusion.
    """

    mask_logits: Tensor
    boxes: BoxMaps | None
    presence_logits: Tensor | None
    study_logits: Tensor | None
    attention: Tensor | None
    modality_weights: Tensor | None = None


class LesionNet(nn.Module):
    """CNN per frame + recurrence over frames -> masks, boxes, frame presence and study classes.

    Args:
        config: Sizes and switches.
        n_classes: Lesion classes K.
    """

    def __init__(self, config: NetworkConfig, n_classes: int) -> None:
        super().__init__()
        channels, groups = config.channels, config.norm_groups
        self.encoder = FrameEncoder(
            config.in_channels, channels, config.stem_stride, groups, config.dropout, config.fusion
        )
        self.decoder = FrameDecoder(channels, groups)
        self.size_divisor = self.encoder.strides[-1]
        self.mask_head = MaskHead(channels[0], n_classes, config.stem_stride)
        self.box_level = min(1, len(channels) - 2)
        self.box_head = (
            BoxHead(channels[self.box_level], n_classes, self.encoder.strides[self.box_level]) if config.boxes else None
        )
        maps = config.map_recurrence
        self.map_level = maps.level
        self.map_recurrence = (
            MapRecurrence(channels[maps.level], maps.hidden, maps.cell, maps.bidirectional, maps.depth)
            if maps.cell != "none"
            else None
        )
        self.frame_recurrence: FrameRecurrence | None = None
        if config.frame_recurrence.cell != "none":
            self.frame_recurrence = FrameRecurrence(2 * sum(channels[-POOLED_LEVELS:]), config.frame_recurrence)
            self._add_frame_heads(self.frame_recurrence.state_size, n_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _add_frame_heads(self, state_size: int, n_classes: int) -> None:
        self.film = nn.ModuleList(nn.Linear(2 * state_size, 2 * c) for c in self.decoder.out_channels)
        for layer in self.film:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.presence_head = PresenceHead(2 * state_size)
        self.study_head = StudyHead(state_size, n_classes)

    def forward(
        self, frames: Tensor, mask: Tensor | None = None, channel_present: Tensor | None = None
    ) -> LesionOutput:
        """Predict.

        Args:
            frames: (B, T, C, H, W); H and W divisible by :attr:`size_divisor`.
            mask: (B, T), True where a frame is real (real frames first); None means all.
            channel_present: (B, C), True where a sequence has the channel, at least one; None means all.

        Returns:
            Logits for every frame, also for padded ones.
        """
        b, t = frames.shape[:2]
        if mask is None:
            mask = torch.ones(b, t, dtype=torch.bool, device=frames.device)
        x = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * T, C, H, W)
        present = None if channel_present is None else channel_present.repeat_interleave(t, dim=0)  # (B * T, C)
        features, weights = self.encoder.encode(x, present)
        if self.map_recurrence is not None:
            level = features[self.map_level].unflatten(0, (b, t))  # type: ignore[no-untyped-call]
            features[self.map_level] = self.map_recurrence(level, mask).flatten(0, 1)
        presence = study = attention = film = None
        if self.frame_recurrence is not None:
            states, attention, context = self.frame_recurrence(embed_frames(features).reshape(b, t, -1), mask)
            known = self.frame_recurrence.frame_contexts(states, context, mask)
            joint = torch.cat([states, known], dim=-1)  # (B, T, 2 * state)
            film = [_halves(layer(joint).flatten(0, 1)) for layer in self.film]
            presence, study = self.presence_head(joint), self.study_head(context)
        decoded = self.decoder(features, film)
        boxes = None if self.box_head is None else self.box_head(decoded[self.box_level], (b, t))
        logits = self.mask_head(decoded[0]).unflatten(0, (b, t))
        shares = None if weights is None else weights.reshape(b, t, -1)
        return LesionOutput(logits, boxes, presence, study, attention, shares)


def embed_frames(features: list[Tensor]) -> Tensor:
    """Mean and maximum of the coarsest maps: (N, C_i, h_i, w_i) -> (N, 2 * sum of their C_i)."""
    maps = [x.float() for x in features[-POOLED_LEVELS:]]
    return torch.cat([pooled for x in maps for pooled in (x.mean((2, 3)), x.amax((2, 3)))], dim=1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = x.chunk(2, dim=-1)
    return a, b

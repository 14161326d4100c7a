# SPDX-License-Identifier: Apache-2.0
"""The clip net: a CNN per frame and memory over the frames say which class a clip or study is of.

With the cell ``mlp`` and without attention it is the frame average: a classifier that sees each frame alone, and whose
logits are averaged (the head is linear, so the mean of the states gives the mean of the frames' logits).

References:
    Donahue et al. Long-term recurrent convolutional networks for visual recognition and description. CVPR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs import NetworkConfig
from ..types import InputError
from .encoder import FrameEncoder
from .heads import StudyHead
from .lesion_net import POOLED_LEVELS, embed_frames
from .recurrence import FrameMemory, FrameRecurrence


@dataclass
class ClipOutput:
    """What the clip net says about a batch of sequences.

    Attributes:
        study_logits: (B, K), the study's class.
        frame_logits: (B, T, K), what a forward-only network says knowing the frames up to each one; one that looks both
            ways says the same on all frames.
        attention: (B, T), weight of each frame, sums to 1.
        embedding: (B, S), what the head reads; prototypes live here.
        modality_weights: (B, T, C), weight of each image channel on each frame; None without fusion.
    """

    study_logits: Tensor
    frame_logits: Tensor
    attention: Tensor
    embedding: Tensor
    modality_weights: Tensor | None = None


class ClipNet(nn.Module):
    """CNN per frame + recurrence over frames -> study class.

    Args:
        config: Sizes and switches; ``frame_recurrence.cell`` must not be ``none``.
        n_classes: Study classes K.

    Raises:
        InputError: If the config switches the memory over frames off.
    """

    def __init__(self, config: NetworkConfig, n_classes: int) -> None:
        super().__init__()
        if config.frame_recurrence.cell == "none":
            raise InputError("clip_net needs network.frame_recurrence.cell; mlp is the one without memory")
        channels = config.channels
        self.encoder = FrameEncoder(
            config.in_channels, channels, config.stem_stride, config.norm_groups, config.dropout, config.fusion
        )
        self.size_divisor = self.encoder.strides[-1]
        self.frame_recurrence = FrameRecurrence(2 * sum(channels[-POOLED_LEVELS:]), config.frame_recurrence)
        self.dropout = nn.Dropout(config.dropout)
        self.study_head = StudyHead(self.frame_recurrence.state_size, n_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor, mask: Tensor | None = None, channel_present: Tensor | None = None) -> ClipOutput:
        """Predict.

        Args:
            frames: (B, T, C, H, W); H and W divisible by :attr:`size_divisor`.
            mask: (B, T), True where a frame is real (real frames first); None means all.
            channel_present: (B, C), True where a sequence has the channel, at least one; None means all.
        """
        b, t = frames.shape[:2]
        if mask is None:
            mask = torch.ones(b, t, dtype=torch.bool, device=frames.device)
        x = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * T, C, H, W)
        present = None if channel_present is None else channel_present.repeat_interleave(t, dim=0)  # (B * T, C)
        features, weights = self.encoder.encode(x, present)
        states, attention, context = self.frame_recurrence(embed_frames(features).reshape(b, t, -1), mask)
        known = self.frame_recurrence.frame_contexts(states, context, mask)  # (B, T, S)
        shares = None if weights is None else weights.reshape(b, t, -1)
        return ClipOutput(self.study_head(self.dropout(context)), self.study_head(known), attention, context, shares)

    def step(self, frame: Tensor, memory: FrameMemory | None) -> tuple[Tensor, Tensor, FrameMemory]:
        """Take one frame of a forward-only network.

        Args:
            frame: (B, C, H, W); H and W divisible by :attr:`size_divisor`.
            memory: What the step before returned; None at the first frame.

        Returns:
            Logits of the study's class as far as the frames so far tell (B, K), the frame's weight among them (B,), and
            the memory for the next step.
        """
        features, _ = self.encoder.encode(frame.contiguous(memory_format=torch.channels_last))
        _, weight, memory = self.frame_recurrence.step(embed_frames(features), memory)
        return self.study_head(memory.pooled.context), weight, memory

# SPDX-License-Identifier: Apache-2.0
"""A forward-only lesion net, one frame at a time: what it needs of earlier frames is a state of constant size.

Frame by frame it says what :class:`~lib.networks.lesion_net.LesionNet` says about the frames up to there at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..configs import FrameRecurrenceConfig, MapRecurrenceConfig, NetworkConfig
from .lesion_net import LesionNet, LesionOutput, embed_frames
from .recurrence import FrameMemory


@dataclass(frozen=True)
class StreamState:
    """What the network carries from frame to frame; None where it has no such memory.

    Attributes:
        maps: State of each layer of the memory on the feature map, (B, S, h, w).
        frames: The memory over frame embeddings.
    """

    maps: tuple[Tensor, ...] | None
    frames: FrameMemory | None


def streaming_obstacles(config: NetworkConfig) -> list[str]:
    """What keeps a network from running one frame at a time, as the keys to set; empty for one that streams."""
    if config.name != "lesion_net":
        return ["network.name: lesion_net"]  # others look at all frames at once
    memories: dict[str, FrameRecurrenceConfig | MapRecurrenceConfig]
    memories = {"frame_recurrence": config.frame_recurrence, "map_recurrence": config.map_recurrence}
    return [
        f"network.{name}.bidirectional: false"
        for name, memory in memories.items()
        if memory.cell != "none" and memory.bidirectional
    ]


def stream_step(network: LesionNet, frame: Tensor, state: StreamState | None) -> tuple[LesionOutput, StreamState]:
    """Predict one frame.

    Args:
        network: Without :func:`streaming_obstacles`.
        frame: (B, C, H, W); H and W divisible by the network's ``size_divisor`` and the same for all frames.
        state: What the step before returned; None at the first frame.

    Returns:
        The output for this frame (T = 1), its study logits and attention from the frames so far; the next state.
    """
    features, weights = network.encoder.encode(frame.contiguous(memory_format=torch.channels_last))
    maps = memory = presence = study = attention = film = None
    if network.map_recurrence is not None:
        before = None if state is None else state.maps
        features[network.map_level], maps = network.map_recurrence.step(features[network.map_level], before)
    if network.frame_recurrence is not None:
        last = None if state is None else state.frames
        now, weight, memory = network.frame_recurrence.step(embed_frames(features), last)
        joint = torch.cat([now, memory.pooled.context], dim=-1)  # (B, 2 * state)
        film = [_halves(layer(joint)) for layer in network.film]
        presence = network.presence_head(joint[:, None])
        study, attention = network.study_head(memory.pooled.context), weight[:, None]
    decoded = network.decoder(features, film)
    boxes = None if network.box_head is None else network.box_head(decoded[network.box_level], (len(frame), 1))
    logits = network.mask_head(decoded[0])[:, None]
    shares = None if weights is None else weights[:, None]
    return LesionOutput(logits, boxes, presence, study, attention, shares), StreamState(maps, memory)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    scale, shift = x.chunk(2, dim=-1)
    return scale, shift

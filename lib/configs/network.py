# SPDX-License-Identifier: Apache-2.0
"""The part of a model's YAML file that says what its network is."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
"""An unknown key is an error."""
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FrameCell = Literal["none", "mlp", "rnn", "gru", "lstm"]
MapCell = Literal["none", "conv_rnn", "conv_gru", "conv_lstm"]
AttentionName = Literal["none", "additive", "scaled_dot_product"]


@dataclass(frozen=True, config=STRICT)
class FrameRecurrenceConfig:
    """Memory over pooled frame embeddings; its state modulates the decoder (FiLM) and feeds presence and study heads.

    Attributes:
        cell: ``none`` switches it off; ``mlp`` is the control that sees each frame alone.
        hidden: Units per direction.
        bidirectional: False for a model that streams.
        depth: Stacked layers.
        attention: How frames are pooled into the study context.
    """

    cell: FrameCell = "lstm"
    hidden: Count = 96
    bidirectional: bool = True
    depth: Count = 1
    attention: AttentionName = "additive"


@dataclass(frozen=True, config=STRICT)
class MapRecurrenceConfig:
    """Convolutional memory on a feature map, added to it (residual, zero at the start).

    Attributes:
        cell: ``none`` switches it off.
        hidden: Channels per direction.
        bidirectional: False for a model that streams.
        depth: Stacked layers.
        level: Index into the encoder's feature levels (0 = finest) that it works on.
    """

    cell: MapCell = "none"
    hidden: Count = 64
    bidirectional: bool = True
    depth: Count = 1
    level: int = 3


@dataclass(frozen=True, config=STRICT)
class FusionConfig:
    """How the image channels of a frame come together.

    Attributes:
        kind: ``none`` mixes them in the first convolution; else each has a stem of its own, and attention of this kind
            weighs them frame by frame.
        hidden: Size of the space in which the attention compares channels.
    """

    kind: AttentionName = "none"
    hidden: Count = 32


@dataclass(frozen=True, config=STRICT)
class NetworkConfig:
    """What :func:`lib.registry.build_network` builds.

    Attributes:
        name: Key in the registry.
        in_channels: Image channels per frame.
        stem_stride: Stride of the first convolution; the decoder returns to full resolution.
        channels: Encoder channels, finest level first; each level halves the resolution.
        norm_groups: Groups of the group normalisation.
        dropout: Probability, in the convolution blocks.
        frame_recurrence: Memory over frame embeddings.
        map_recurrence: Memory on a feature map.
        boxes: Whether to build the box head.
        fusion: How several image channels come together.
    """

    name: str = "lesion_net"
    in_channels: Count = 1
    stem_stride: Literal[1, 2, 4] = 2
    channels: tuple[int, ...] = (16, 32, 64, 96, 160)
    norm_groups: Count = 8
    dropout: Fraction = 0.0
    frame_recurrence: FrameRecurrenceConfig = dataclasses.field(default_factory=FrameRecurrenceConfig)
    map_recurrence: MapRecurrenceConfig = dataclasses.field(default_factory=MapRecurrenceConfig)
    boxes: bool = True
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)

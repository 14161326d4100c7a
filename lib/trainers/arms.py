# SPDX-License-Identifier: Apache-2.0
"""The detectors that a benchmark sets side by side: alike but for their memory, or for the channels they see."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import nn

from ..configs import AttentionName, FrameCell, MapCell, ModelConfig, NetworkConfig
from ..registry import build_network
from ..types import InputError
from .retinanet import build_retinanet

MAX_UNITS = 2048
MAP_SHARE = 2 / 3
"""Channels of the map memory per unit of the frame memory, where a network has both."""
DROPOUT = 0.15
RETINANET = "retinanet"


class Arm(Protocol):
    """One of the detectors of a ladder."""

    @property
    def name(self) -> str:
        """Shown in tables."""

    @property
    def only(self) -> str:
        """The one channel that it sees, in training and afterwards; empty for all."""

    def config(self, base: ModelConfig, parameters: int) -> ModelConfig:
        """Its model, of the size that comes closest to a number of parameters; ``base`` gives everything else."""


@dataclass(frozen=True)
class MemoryArm:
    """A detector with some memory; one without any gets wider maps instead.

    Attributes:
        name: Shown in tables.
        frame_cell: Memory over pooled frame embeddings; ``mlp`` is the control without recurrence.
        map_cell: Memory on a feature map.
        bidirectional: False for memory of the frames before only.
        only: See :class:`Arm`.
    """

    name: str
    frame_cell: FrameCell = "none"
    map_cell: MapCell = "none"
    bidirectional: bool = True
    only: str = ""

    def config(self, base: ModelConfig, parameters: int) -> ModelConfig:
        """See :class:`Arm`."""
        return _closest(lambda units: replace(base, network=self._network(base.network, units)), parameters)

    def _network(self, base: NetworkConfig, units: int) -> NetworkConfig:
        """As many units in each direction, or (without memory) maps wider by ``units`` percent."""
        frames = replace(base.frame_recurrence, cell=self.frame_cell, hidden=units, bidirectional=self.bidirectional)
        both = self.frame_cell != "none" and self.map_cell != "none"
        channels = max(1, round(MAP_SHARE * units)) if both else units
        maps = replace(base.map_recurrence, cell=self.map_cell, hidden=channels, bidirectional=self.bidirectional)
        network = replace(base, frame_recurrence=frames, map_recurrence=maps)
        return network if self.frame_cell != "none" or self.map_cell != "none" else _wider(network, units)


@dataclass(frozen=True)
class PeerArm:
    """A network of MONAI's.

    Attributes:
        name: Shown in tables.
        network: ``unet3d`` of the registry, or :data:`RETINANET`.
        learning_rate: Peak.
        only: See :class:`Arm`.
    """

    name: str
    network: str
    learning_rate: float
    only: str = ""

    def config(self, base: ModelConfig, parameters: int) -> ModelConfig:
        """See :class:`Arm`."""
        own = replace(
            base,
            task="detection" if self.network == RETINANET else base.task,
            network=replace(base.network, name=self.network),
            training=replace(base.training, learning_rate=self.learning_rate),
        )
        return _closest(lambda units: replace(own, network=_wider(own.network, units)), parameters)


@dataclass(frozen=True)
class ChannelArm:
    """A detector by what it sees of an image of several channels, and how it brings them together.

    Attributes:
        name: Shown in tables.
        only: See :class:`Arm`.
        fusion: How channels come together.
        modality_dropout: Probability that a channel of a training sequence is taken away.
    """

    name: str
    only: str = ""
    fusion: AttentionName = "none"
    modality_dropout: float = 0.0

    def config(self, base: ModelConfig, parameters: int) -> ModelConfig:
        """See :class:`Arm`."""
        augment = replace(base.training.augment, modality_dropout=self.modality_dropout)
        network = replace(base.network, fusion=replace(base.network.fusion, kind=self.fusion))
        own = replace(base, network=network, training=replace(base.training, augment=augment))
        return _closest(lambda units: replace(own, network=_wider(own.network, units)), parameters)


CNN_ONLY, CONTROL = MemoryArm("CNN only"), MemoryArm("control: MLP for recurrence", "mlp")
MEMORY_ARMS = (
    CNN_ONLY,
    CONTROL,
    MemoryArm("RNN, forward", "rnn", bidirectional=False),
    MemoryArm("GRU, forward", "gru", bidirectional=False),
    MemoryArm("LSTM, forward", "lstm", bidirectional=False),
    MemoryArm("BiLSTM", "lstm"),
    MemoryArm("ConvRNN", map_cell="conv_rnn"),
    MemoryArm("ConvGRU", map_cell="conv_gru"),
    MemoryArm("ConvLSTM", map_cell="conv_lstm"),
    MemoryArm("ConvGRU + BiLSTM", "lstm", "conv_gru"),
    MemoryArm("ConvGRU, forward", map_cell="conv_gru", bidirectional=False),
)
PEER_ARMS = (PeerArm("MONAI 3D UNet", "unet3d", 1e-3), PeerArm("MONAI RetinaNet", RETINANET, 1e-3))


def channel_arms(channels: Sequence[str]) -> tuple[ChannelArm, ...]:
    """All channels together in each way, and each channel alone.

    Args:
        channels: Their names.

    Raises:
        InputError: If there is only one.
    """
    if len(channels) < 2:
        raise InputError(f"a comparison of channels needs a model of several; this one has {', '.join(channels)}")
    return (
        *(ChannelArm(f"{channel} alone", only=channel) for channel in channels),
        ChannelArm("all, one stem"),
        ChannelArm("all, one stem, dropout", modality_dropout=DROPOUT),
        ChannelArm("all, additive attention, dropout", fusion="additive", modality_dropout=DROPOUT),
        ChannelArm("all, dot-product attention, dropout", fusion="scaled_dot_product", modality_dropout=DROPOUT),
    )


A = TypeVar("A", bound=Arm)


def chosen_arms(names: Sequence[str], arms: Sequence[A]) -> tuple[A, ...]:
    """The arms of some names, in the order of the ladder; all for none.

    Raises:
        InputError: If there is no arm of a name.
    """
    known = [arm.name for arm in arms]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"there is no arm '{unknown[0]}'; known: {', '.join(known)}")
    return tuple(arm for arm in arms if not names or arm.name in names)


def arm_network(config: ModelConfig) -> nn.Module:
    """The network of an arm's model, with random weights."""
    if config.network.name == RETINANET:
        return build_retinanet(config.network, len(config.labels))
    return build_network(config)


def parameter_count(config: ModelConfig) -> int:
    """Trainable parameters of a model's network."""
    with torch.device("meta"):
        return sum(p.numel() for p in arm_network(config).parameters() if p.requires_grad)


def _closest(sized: Callable[[int], ModelConfig], parameters: int) -> ModelConfig:
    """The model whose size, which grows with its units, comes closest to a number of parameters."""
    above = bisect_left(range(1, MAX_UNITS), parameters, key=lambda units: parameter_count(sized(units))) + 1
    nearest = min((max(1, above - 1), above), key=lambda units: abs(parameter_count(sized(units)) - parameters))
    return sized(nearest)


def _wider(network: NetworkConfig, percent: int) -> NetworkConfig:
    groups = network.norm_groups
    channels = (groups * max(1, round(width * percent / 100 / groups)) for width in network.channels)
    return replace(network, channels=tuple(channels))

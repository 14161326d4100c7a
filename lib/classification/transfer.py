# SPDX-License-Identifier: Apache-2.0
"""Start from what another model has learned: its frame encoder, whatever its heads were for."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..types import InputError
from ..weights.files import read_weights

PREFIX = "encoder."


def load_encoder(network: nn.Module, path: Path) -> int:
    """Copy the frame encoder of another model's weights; the rest of the network stays as it is.

    Args:
        network: Has a ``FrameEncoder`` named ``encoder``.
        path: Weights of any model with such an encoder: the same ``network.channels`` and ``stem_stride``.

    Returns:
        How many tensors were copied.

    Raises:
        InputError: If the file cannot be read, or its encoder has other sizes.
    """
    given = {name: value for name, value in read_weights(path).items() if name.startswith(PREFIX)}
    own = {name: value for name, value in network.state_dict().items() if name.startswith(PREFIX)}
    if set(given) != set(own):
        raise InputError(f"{path}: its encoder has other parts than this network's; set network.channels alike")
    for name, value in given.items():
        if value.shape != own[name].shape:
            raise InputError(
                f"{path}: {name} has shape {tuple(value.shape)}, this network {tuple(own[name].shape)}; set "
                "network.channels, network.stem_stride and network.in_channels as in the model that it comes from"
            )
    network.load_state_dict(given, strict=False)
    return len(given)

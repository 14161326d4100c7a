# SPDX-License-Identifier: Apache-2.0
"""Name -> builder. A new architecture is one file in networks/ and one line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .configs import ModelConfig, NetworkConfig
from .networks.clip_net import ClipNet
from .networks.lesion_net import LesionNet
from .networks.report_net import ReportNet
from .networks.unet3d import UNet3d
from .types import InputError

NETWORKS: dict[str, Callable[[NetworkConfig, int], nn.Module]] = {
    "clip_net": ClipNet,
    "lesion_net": LesionNet,
    "unet3d": UNet3d,
}


def build_network(config: ModelConfig) -> nn.Module:
    """Build the network of a served model, with random weights.

    Raises:
        InputError: If the config names a network that does not exist.
    """
    if config.report is not None:
        return ReportNet(config.report.network)
    builder = NETWORKS.get(config.network.name)
    if builder is None:
        known = ", ".join(sorted(NETWORKS))
        raise InputError(f"model '{config.name}': network.name '{config.network.name}' is unknown; known: {known}")
    return builder(config.network, len(config.labels))

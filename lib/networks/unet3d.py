# SPDX-License-Identifier: Apache-2.0
"""MONAI's 3D U-Net behind the lesion net's interface: the baseline without recurrence that sees all three axes.

References:
    Cicek et al. 3D U-Net. MICCAI 2016. Kerfoot et al. Left-ventricle quantification using residual U-Net. 2018.
"""

from __future__ import annotations

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from ..configs import NetworkConfig
from .heads import MaskHead
from .lesion_net import LesionOutput

FRAME_STRIDES = (1, 1, 2, 2)
"""Stride along the frame axis per level: slices are thick, so the first levels keep them."""


class UNet3d(nn.Module):
    """MONAI UNet over (T, H, W); masks only.

    Args:
        config: ``in_channels``, ``channels`` and ``dropout`` are used.
        n_classes: Lesion classes K.
    """

    box_head = None
    mask_head = MaskHead

    def __init__(self, config: NetworkConfig, n_classes: int) -> None:
        super().__init__()
        levels = len(config.channels) - 1
        frame_strides = FRAME_STRIDES[:levels] + (1,) * (levels - len(FRAME_STRIDES))
        self.frame_divisor = 2 ** sum(stride == 2 for stride in frame_strides)
        self.size_divisor = 2**levels
        self.unet = UNet(
            spatial_dims=3,
            in_channels=config.in_channels,
            out_channels=n_classes,
            channels=config.channels,
            strides=[(s, 2, 2) for s in frame_strides],
            num_res_units=0,
            norm=("GROUP", {"num_groups": config.norm_groups}),
            dropout=config.dropout,
        )
        self.prior = nn.Parameter(torch.full((n_classes, 1, 1, 1), -4.0))

    def forward(
        self, frames: Tensor, mask: Tensor | None = None, channel_present: Tensor | None = None
    ) -> LesionOutput:
        """Predict; as :class:`lib.networks.lesion_net.LesionNet`. Padded frames and zeros are seen as they are."""
        t = frames.shape[1]
        volume = frames.transpose(1, 2)  # (B, C, T, H, W)
        padding = (0, 0, 0, 0, 0, -t % self.frame_divisor)
        logits = self.unet(nn.functional.pad(volume, padding, mode="replicate")) + self.prior
        return LesionOutput(logits[:, :, :t].transpose(1, 2), None, None, None, None)

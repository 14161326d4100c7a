# SPDX-License-Identifier: Apache-2.0
"""Augmentation shared by the whole sequence.

The frames lie in the channel axis of MONAI's 2D dictionary transforms, so that one draw serves all frames.
"""

from __future__ import annotations

import math

from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)

from ..configs import AugmentConfig
from .tones import RandTonesd


def build_augment(config: AugmentConfig, size_px: int, seed: int, channels: int = 1) -> Compose:
    """Build the random transform.

    Args:
        config: Probabilities and ranges.
        size_px: In-plane size of the result (centred crop or padding by the border value).
        seed: Of the random draws.
        channels: Image channels C.

    Returns:
        A transform of ``{"image": (T * C, H, W), "mask": (T * K, H, W)}``.
    """
    rotate = math.radians(config.rotate_deg)
    augment = Compose(
        [
            RandFlipd(("image", "mask"), prob=config.flip, spatial_axis=1),
            RandAffined(
                ("image", "mask"),
                prob=config.affine,
                rotate_range=rotate,
                shear_range=(0.1, 0.1),
                scale_range=(config.scale, config.scale),
                translate_range=(config.shift_px, config.shift_px),
                spatial_size=(size_px, size_px),
                mode=("bilinear", "nearest"),
                padding_mode=("border", "zeros"),
            ),
            *([RandTonesd(config.tones, channels)] if config.tones else []),
            RandAdjustContrastd("image", prob=config.contrast, gamma=(0.7, 1.5), retain_stats=True),
            RandScaleIntensityd("image", factors=0.15, prob=config.intensity),
            RandShiftIntensityd("image", offsets=0.15, prob=config.intensity),
            RandGaussianSmoothd("image", prob=config.blur, sigma_x=(0.4, 1.0), sigma_y=(0.4, 1.0)),
            RandGaussianNoised("image", prob=0.5, std=config.noise_std),
        ]
    )
    augment.set_random_state(seed)
    return augment

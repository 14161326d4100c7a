# SPDX-License-Identifier: Apache-2.0
"""Another scanner's tones: what grey value a tissue gets, and how evenly the coil sees it.

References:
    Billot et al. SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining. Medical
    Image Analysis 2023 (random contrasts and bias fields).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import MapTransform, RandomizableTransform

from ..types import FloatArray

CURVE_STEPS = 6
BACKGROUND_MARGIN = 0.5
"""Above the darkest pixel, in standard deviations of the image: from here on a pixel counts as tissue."""
CURVE_TOP = 0.999
"""Quantile of the tissue up to which grey values are bent."""


class RandTonesd(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """Shade the image smoothly and bend its grey values by a rising curve, each channel by its own draw.

    Mean and standard deviation of the tissue stay as they were, since every image is normalised by them.

    Args:
        probability: Of any change.
        channels: Image channels C; the frames come as (T * C, H, W), the channels of a frame side by side.
        shading: Largest coefficient of the shading, the exponential of a quadratic polynomial over the image.
        bend: Largest logarithm of the slope of the curve, of each of its :data:`CURVE_STEPS` straight parts.
    """

    def __init__(self, probability: float, channels: int = 1, shading: float = 0.25, bend: float = 0.5) -> None:
        RandomizableTransform.__init__(self, probability)
        MapTransform.__init__(self, "image")
        self.channels, self.shading, self.bend = channels, shading, bend

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Change the entry ``image``, (T * C, H, W)."""
        self.randomize(None)
        if not self._do_transform:
            return dict(data)
        image = np.array(data["image"], np.float32)
        for c in range(self.channels):
            image[c :: self.channels] = self._changed(image[c :: self.channels])
        return {**data, "image": torch.from_numpy(image)}

    def _changed(self, frames: FloatArray) -> FloatArray:
        """One channel of all frames, (T, H, W)."""
        shading = self.R.uniform(-self.shading, self.shading, 5)
        slopes = np.exp(self.R.uniform(-self.bend, self.bend, CURVE_STEPS))
        floor = float(frames.min())
        tissue = frames > floor + BACKGROUND_MARGIN
        if np.count_nonzero(tissue) < 2:
            return frames
        bent = bent_by((frames - floor) * shading_field(frames.shape[-2:], shading), slopes, tissue)
        scale = frames[tissue].std() / max(float(bent[tissue].std()), 1e-6)
        bent = (bent - bent[tissue].mean()) * scale + frames[tissue].mean()
        return np.where(tissue, bent, np.minimum(frames, bent)).astype(np.float32)


def shading_field(size: tuple[int, ...], coefficients: FloatArray) -> FloatArray:
    """The exponential of a quadratic polynomial over an image.

    Args:
        size: (H, W).
        coefficients: Of x, y, x y, x^2 and y^2, where x and y go from -1 to 1.
    """
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    terms = np.stack([x, y, x * y, x**2, y**2])
    return np.exp(np.tensordot(coefficients, terms, axes=1)).astype(np.float32)


def bent_by(values: FloatArray, slopes: FloatArray, tissue: npt.NDArray[np.bool_]) -> FloatArray:
    """Send values through a rising curve from 0 to the top of the tissue, which keeps both ends.

    Args:
        values: From 0.
        slopes: Of its straight parts, of equal width; positive.
        tissue: Where the top is looked for, as ``values``.
    """
    top = float(np.quantile(values[tissue], CURVE_TOP)) + 1e-6
    knots = np.linspace(0, top, len(slopes) + 1)
    heights = np.concatenate([[0], np.cumsum(slopes)]) / slopes.sum() * top
    return np.where(values < top, np.interp(values, knots, heights), values)

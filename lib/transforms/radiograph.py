# SPDX-License-Identifier: Apache-2.0
"""A radiograph as a report model sees it: the same for training and for a draft, whatever file it came from."""

from __future__ import annotations

import numpy as np
from skimage.transform import resize

from ..types import FloatArray, InputError
from .load import Study

COARSEST = 4
"""How many pixels of the square make one of the network's at least, before the square is reduced by whole pixels."""
HIGHEST_SHOWN = 255
"""Values from 0 to here are brightnesses already: an 8 bit picture is what some viewer has shown."""
USUAL_PERCENT, MARGIN = (1.0, 99.0), 0.15
"""Between these percentiles lie usual values; others count up to this part of that range beyond it."""
LEAST_CONTRAST = 1e-3
"""Smallest standard deviation of brightness, 0..1, of an image whose window shows something of it."""


def radiograph(pixels: FloatArray, size_px: int, brightness: FloatArray | None = None) -> FloatArray:
    """The middle square of a radiograph, bright where little passes, with mean 0 and standard deviation 1.

    Args:
        pixels: (H, W), of any scale.
        size_px: Side of the result.
        brightness: How bright a viewer shows each grey value, (2, K); None for an image that does not say.

    Returns:
        One frame of one channel, (1, 1, size, size).
    """
    side = min(pixels.shape)
    top, left = ((length - side) // 2 for length in pixels.shape)
    square = _coarser(pixels[top : top + side, left : left + side], max(1, side // (COARSEST * size_px)))
    small = resize(_toned(square, brightness), (size_px, size_px), anti_aliasing=True)
    scaled: FloatArray = ((small - small.mean()) / max(float(small.std()), 1e-3)).astype("float32")
    return scaled[None, None]


def radiograph_of(study: Study, size_px: int) -> FloatArray:
    """As :func:`radiograph`, of an image that was read.

    Raises:
        InputError: If it has several frames.
    """
    frames = study.sequence.frames
    if len(frames) != 1:
        raise InputError(f"the model reads one radiograph; this image has {len(frames)} frames")
    return radiograph(frames[0, 0], size_px, study.brightness)


def _coarser(square: FloatArray, block: int) -> FloatArray:
    """Means of blocks of pixels: smoothing thousands of pixels for a small picture would take seconds."""
    cells = len(square) // block
    cut = square[: cells * block, : cells * block]
    means: FloatArray = cut.reshape(cells, block, cells, block).mean(axis=(1, 3), dtype="float32")
    return means


def _toned(values: FloatArray, brightness: FloatArray | None) -> FloatArray:
    """Grey values as a viewer shows them: by the window of the file; else as they are, but for outliers.

    A few pixels of a marker, a border or a defect must not make the patient grey in grey.
    """
    if brightness is not None:
        shown = np.interp(values, *brightness)
        if shown.std() > LEAST_CONTRAST:
            return shown
    if values.min() >= 0 and values.max() <= HIGHEST_SHOWN:
        return values
    low, high = np.percentile(values, USUAL_PERCENT)
    beyond = MARGIN * (high - low)
    return values.clip(low - beyond, high + beyond) if beyond > 0 else values

# SPDX-License-Identifier: Apache-2.0
"""A radiograph as a report model sees it: the same for training and for a draft, whatever file it came from."""

from __future__ import annotations

from skimage.transform import resize

from ..types import FloatArray, InputError
from .load import Study

COARSEST = 4
"""How many pixels of the square make one of the network's at least, before the square is reduced by whole pixels."""


def radiograph(pixels: FloatArray, size_px: int) -> FloatArray:
    """The middle square of a radiograph, bright where little passes, with mean 0 and standard deviation 1.

    Args:
        pixels: (H, W), of any scale.
        size_px: Side of the result.

    Returns:
        One frame of one channel, (1, 1, size, size).
    """
    side = min(pixels.shape)
    top, left = ((length - side) // 2 for length in pixels.shape)
    square = _coarser(pixels[top : top + side, left : left + side], max(1, side // (COARSEST * size_px)))
    small = resize(square, (size_px, size_px), anti_aliasing=True)
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
    return radiograph(frames[0, 0], size_px)


def _coarser(square: FloatArray, block: int) -> FloatArray:
    """Means of blocks of pixels: smoothing thousands of pixels for a small picture would take seconds."""
    cells = len(square) // block
    cut = square[: cells * block, : cells * block]
    means: FloatArray = cut.reshape(cells, block, cells, block).mean(axis=(1, 3), dtype="float32")
    return means

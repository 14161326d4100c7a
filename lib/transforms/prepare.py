# SPDX-License-Identifier: Apache-2.0
"""Frames at the spacing, crop and intensity scale the network was trained on, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from ..configs import InputConfig
from ..types import Box, FloatArray, InputError, Sequence

MIN_CROP_PX = 32


@dataclass(frozen=True)
class FrameGrid:
    """How the network's pixels relate to the original pixels.

    Attributes:
        original: (H, W) of the original frames.
        resampled: (H, W) after resampling.
        crop: (y0, y1, x0, x1) of the part kept, in resampled pixels.
    """

    original: tuple[int, int]
    resampled: tuple[int, int]
    crop: tuple[int, int, int, int]

    def box_to_original(self, box: Box) -> Box:
        """Map a box from network pixels to original pixels, clipped to the frame."""
        y0, _, x0, _ = self.crop
        sx, sy = self.original[1] / self.resampled[1], self.original[0] / self.resampled[0]
        left, right = (_clip((x + x0) * sx, self.original[1]) for x in (box[0], box[2]))
        top, bottom = (_clip((y + y0) * sy, self.original[0]) for y in (box[1], box[3]))
        return (left, top, right, bottom)

    def restore(self, maps: torch.Tensor) -> torch.Tensor:
        """Bring maps (N, K, h, w) on the crop back to the original frames (N, K, H, W); zero outside the crop."""
        y0, y1, x0, x1 = self.crop
        full = maps.new_zeros(*maps.shape[:2], *self.resampled)
        full[:, :, y0:y1, x0:x1] = maps
        if self.resampled == self.original:
            return full
        return interpolate(full, self.original, mode="bilinear", align_corners=False)


def _clip(value: float, highest: int) -> float:
    return min(max(value, 0.0), float(highest))


def prepare(sequence: Sequence, config: InputConfig) -> tuple[FloatArray, FrameGrid]:
    """Resample, crop to the foreground and scale the frames of a sequence: a z-score, or by fixed numbers.

    What counts as foreground is what at least half of the channels show: a channel whose air is not dark (seen in
    pre-contrast T1) is foreground all over by itself, and would neither be cropped nor scaled as in other patients.

    Args:
        sequence: Frames (T, C, H, W); a channel that is missing becomes zeros: the mean of a z-score, the middle of
            a range.
        config: Spacing, largest size, intensity range.

    Returns:
        Frames (T, C, h, w) float32, and the grid that leads back.
    """
    height, width = sequence.frames.shape[-2:]
    size = resampled_size((height, width), sequence.spacing_mm, config)
    array = resample(sequence.frames, size)
    content = content_on(sequence.content_px, (height, width), size)
    present = [c for c, there in enumerate(sequence.channel_present) if there]
    crop = _foreground_box(array[:, present], config, content)
    y0, y1, x0, x1 = crop
    scaled = np.zeros((*array.shape[:2], y1 - y0, x1 - x0), np.float32)
    kept = np.ascontiguousarray(array[:, present, y0:y1, x0:x1])
    scaled[:, present] = _z_score(kept, config) if config.intensity_range is None else in_range(kept, config)
    return scaled, FrameGrid((height, width), size, crop)


def prepare_label(label: npt.NDArray[np.uint8], grid: FrameGrid, n_classes: int) -> npt.NDArray[np.uint8]:
    """Bring a labelmap (T, H, W) onto the network's grid as 0/1 masks (T, K, h, w)."""
    one_hot = np.stack([label == value for value in range(1, n_classes + 1)], axis=1).astype(np.float32)
    masks = torch.from_numpy(one_hot)
    if grid.resampled != grid.original:
        shrinking = grid.resampled[0] < grid.original[0] or grid.resampled[1] < grid.original[1]
        masks = interpolate(masks, grid.resampled, mode="bilinear", align_corners=False, antialias=shrinking)
    y0, y1, x0, x1 = grid.crop
    return (masks[:, :, y0:y1, x0:x1] >= 0.5).numpy().astype(np.uint8)


def resample(frames: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Frames (T, C, H, W) of another size (h, w), smoothed where they shrink; each frame by itself."""
    height, width = frames.shape[-2:]
    tensor = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
    if size != (height, width):
        shrinking = size[0] < height or size[1] < width
        tensor = interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=shrinking)
    array: npt.NDArray[np.float32] = tensor.numpy()
    return array


def resampled_size(size: tuple[int, int], spacing_mm: tuple[float, float], config: InputConfig) -> tuple[int, int]:
    """Size (h, w) of frames (H, W) at the spacing that the network sees, held to its largest size.

    Raises:
        InputError: If the spacing is not positive.
    """
    if min(spacing_mm) <= 0:
        raise InputError(f"in-plane spacing {spacing_mm} mm is not positive")
    extent = (size[0] * spacing_mm[1], size[1] * spacing_mm[0])
    shrink = max(1.0, max(extent) / config.spacing_mm / config.max_size_px)
    height, width = (max(1, round(e / config.spacing_mm / shrink)) for e in extent)
    return height, width


def content_on(
    content_px: tuple[int, int, int, int] | None, original: tuple[int, int], resampled: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The part of the frames (y0, y1, x0, x1) that is not burned-in border, in resampled pixels."""
    if content_px is None:
        return (0, resampled[0], 0, resampled[1])
    sy, sx = resampled[0] / original[0], resampled[1] / original[1]
    y0, y1, x0, x1 = content_px
    return (round(y0 * sy), max(round(y1 * sy), 1), round(x0 * sx), max(round(x1 * sx), 1))


def _foreground_box(
    frames: npt.NDArray[np.float32], config: InputConfig, content: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """The smallest box (y0, y1, x0, x1) that holds the foreground of all frames; all content if there is hardly any."""
    top, bottom, left, right = content
    visible = frames[..., top:bottom, left:right]
    if config.intensity_range is None:
        shown = foreground(visible, config.foreground_fraction)
    else:
        low, high = config.intensity_range
        shown = visible > low + config.foreground_fraction * (high - low)
    inside = _shared(shown).any(axis=(0, 1))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) < MIN_CROP_PX or len(columns) < MIN_CROP_PX:
        return content
    return (top + int(rows[0]), top + int(rows[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1)


def foreground(frames: npt.NDArray[np.float32], fraction: float) -> npt.NDArray[np.bool_]:
    """Pixels above a share of the 99.5th percentile, per channel; shape as ``frames`` (T, C, H, W)."""
    low = np.min(frames, axis=(0, 2, 3), keepdims=True)
    high = np.percentile(frames, 99.5, axis=(0, 2, 3), keepdims=True)
    floor = np.where(low < 0, low, 0)
    return np.asarray(frames > floor + fraction * (high - floor), dtype=np.bool_)


def _shared(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What at least half of the channels hold: (T, C, H, W) -> (T, 1, H, W)."""
    return np.asarray(2 * inside.sum(axis=1, keepdims=True) >= inside.shape[1], dtype=np.bool_)


def _z_score(frames: npt.NDArray[np.float32], config: InputConfig) -> npt.NDArray[np.float32]:
    """Zero mean, unit deviation of each channel over its part of the foreground, clipped."""
    inside = foreground(frames, config.foreground_fraction)
    inside &= _shared(inside)
    out = np.empty_like(frames)
    for c in range(frames.shape[1]):
        values = frames[:, c][inside[:, c]]
        mean, std = (float(values.mean()), float(values.std())) if values.size > 1 else (0.0, 1.0)
        constant = std <= 1e-6 * max(abs(mean), 1.0)  # what is left then is rounding
        out[:, c] = (frames[:, c] - mean) / (1.0 if constant else std)
    return np.clip(out, *config.clip)


def in_range(frames: npt.NDArray[np.float32], config: InputConfig) -> npt.NDArray[np.float32]:
    """Intensities clipped to the model's range and scaled to -1..1; any shape.

    Raises:
        InputError: If the model has no range.
    """
    if config.intensity_range is None:
        raise InputError("input.intensity_range is not set: this model reads z-scores")
    low, high = config.intensity_range
    scaled: npt.NDArray[np.float32] = (np.clip(frames, low, high) - (low + high) / 2) / ((high - low) / 2)
    return scaled.astype(np.float32)

# SPDX-License-Identifier: Apache-2.0
"""What a training window shows: of which class its lesion is, and where in the frames it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classification.sampling import sampling_weights
from ..types import FloatArray

Masks = npt.NDArray[np.uint8]
Frames = npt.NDArray[np.float32]
MARGIN = 1.5
"""A crop is this much larger than what is trained on, so that it can be turned and shifted."""
OFF_CENTRE = 0.3
"""How far from the middle of a crop a lesion may lie, in shares of its size."""


@dataclass(frozen=True)
class ClassDraws:
    """Which case and class a training window with a lesion is drawn for.

    Attributes:
        cases: Index of the case of each entry, (M,): an entry per case and class that it has.
        classes: Class index of each, (M,).
        weights: How often each is drawn, (M,), sums to 1.
    """

    cases: npt.NDArray[np.intp]
    classes: npt.NDArray[np.intp]
    weights: FloatArray

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Index of a case and of one of its classes."""
        entry = int(rng.choice(len(self.weights), p=self.weights))
        return int(self.cases[entry]), int(self.classes[entry])


def class_draws(masks: Sequence[Masks], patients: Sequence[str], balance: float) -> ClassDraws | None:
    """Draws that show rare lesion classes as often as frequent ones; see :func:`sampling_weights`.

    Args:
        masks: Of the training cases, (T, K, h, w) each.
        patients: Whose each case is.
        balance: ``training.class_balance``.

    Returns:
        None where windows are drawn as they come: without balance, with one class, or without any lesion.
    """
    if not balance or masks[0].shape[1] == 1:
        return None
    pairs = [(i, int(k)) for i, mask in enumerate(masks) for k in np.flatnonzero(mask.any(axis=(0, 2, 3)))]
    if not pairs:
        return None
    index, classes = (np.array(column, np.intp) for column in zip(*pairs, strict=True))
    return ClassDraws(index, classes, sampling_weights(classes, [patients[i] for i in index], balance))


def pixel_priors(masks: Sequence[Masks], draws: ClassDraws | None) -> npt.NDArray[np.float32]:
    """Share of each class among the lesion pixels that training sees, (K,); equal where there is no lesion."""
    pixels = np.array([mask.sum(axis=(0, 2, 3), dtype=np.int64) for mask in masks], np.float64)  # (N, K)
    if draws is not None:
        seen = np.bincount(draws.classes, draws.weights * pixels[draws.cases, draws.classes], pixels.shape[1])
    else:
        seen = pixels.sum(axis=0)
    return np.asarray(seen / seen.sum() if seen.sum() else np.full(len(seen), 1 / len(seen)))


def crop_anywhere(
    rng: np.random.Generator, image: Frames, mask: Masks, lesion: npt.NDArray[np.bool_] | None, size_px: int
) -> tuple[Frames, Masks]:
    """The same part of all frames of a window, about a pixel of a lesion or about any.

    Args:
        rng: Draws the place.
        image: (T, C, H, W).
        mask: (T, K, H, W).
        lesion: The pixels to choose from, (H, W); None or empty for any place.
        size_px: What is trained on.

    Returns:
        Squares of :data:`MARGIN` times that size; beyond the frames the border's intensity, and no lesion.
    """
    height, width = image.shape[-2:]
    if lesion is not None and lesion.any():
        rows, columns = np.nonzero(lesion)
        chosen = int(rng.integers(len(rows)))
        shift = np.rint(rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2) * size_px).astype(int)
        y, x = int(rows[chosen]) + int(shift[0]), int(columns[chosen]) + int(shift[1])
    else:
        y, x = int(rng.integers(height)), int(rng.integers(width))
    half = int(np.ceil(MARGIN * size_px / 2))
    ys, xs = np.arange(y - half, y + half), np.arange(x - half, x + half)
    inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))
    rows, columns = np.clip(ys, 0, height - 1)[:, None], np.clip(xs, 0, width - 1)
    return image[..., rows, columns], mask[..., rows, columns] * inside.astype(np.uint8)

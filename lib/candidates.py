# SPDX-License-Identifier: Apache-2.0
"""Scored boxes from masks and predictions, for the detection metrics: per frame in 2D, per lesion in 3D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .metrics import ScoredBoxes

LOW_THRESHOLD = 0.1
"""Components of the mask above this probability continue the lesion list below ``mask_threshold``."""

Scored = tuple[list[float], int, float]
"""Box, class index, score."""


def true_frame_boxes(truth: npt.NDArray[np.bool_]) -> list[ScoredBoxes]:
    """One box per connected lesion component (8-neighbours) of each frame of a mask (T, K, H, W)."""
    return mask_frame_boxes(truth, truth.astype(np.float32), np.ones(len(truth)))


def true_lesions(truth: npt.NDArray[np.bool_]) -> ScoredBoxes:
    """One 3D box per connected lesion (26-neighbours) of a mask (T, K, H, W)."""
    return mask_lesions(truth, truth.astype(np.float32), np.ones(len(truth)))


def mask_frame_boxes(
    mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any], presence: npt.NDArray[Any]
) -> list[ScoredBoxes]:
    """Boxes of the 2D components (8-neighbours) of a predicted mask.

    The score is the mean probability inside the component times the frame's presence.

    Args:
        mask: (T, K, H, W).
        probability: (T, K, H, W).
        presence: (T,).
    """
    frames: list[ScoredBoxes] = []
    for t in range(len(mask)):
        rows: list[Scored] = []
        for k in range(mask.shape[1]):
            for box, inside, region in _components(mask[t, k]):
                rows.append((box, k, float(probability[t, k][region][inside].mean() * presence[t])))
        frames.append(ScoredBoxes.of(rows, 2))
    return frames


def mask_lesions(
    mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any], presence: npt.NDArray[Any]
) -> ScoredBoxes:
    """Boxes of the 3D components (26-neighbours) of a predicted mask; arguments as in :func:`mask_frame_boxes`.

    The score is the mean probability inside the component times the highest presence of its frames.
    """
    rows: list[Scored] = []
    for k in range(mask.shape[1]):
        for box, inside, region in _components(mask[:, k]):
            mean = probability[:, k][region][inside].mean()
            rows.append((box, k, float(mean * presence[region[0]].max())))
    return ScoredBoxes.of(rows, 3)


def faint_mask(mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The 3D components above :data:`LOW_THRESHOLD` that do not touch the mask (T, K, H, W)."""
    faint = (probability > LOW_THRESHOLD) | mask
    for k in range(mask.shape[1]):
        labelled, count = ndimage.label(faint[:, k], structure=np.ones((3, 3, 3)))
        keep = np.ones(count + 1, bool)
        keep[labelled[mask[:, k]]] = False
        keep[0] = False
        faint[:, k] = keep[labelled]
    return faint


def joined(first: ScoredBoxes, second: ScoredBoxes) -> ScoredBoxes:
    """Both lists as one."""
    return ScoredBoxes(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("boxes", "classes", "scores"))
    )


def above(boxes: ScoredBoxes, score: float) -> ScoredBoxes:
    """Those with at least this score."""
    keep = boxes.scores >= score
    return ScoredBoxes(boxes.boxes[keep], boxes.classes[keep], boxes.scores[keep])


def _components(
    mask: npt.NDArray[np.bool_],
) -> Iterator[tuple[list[float], npt.NDArray[np.bool_], tuple[slice, ...]]]:
    """Fully connected components of a 2D or 3D mask: box with x first, mask inside the box, the box as slices."""
    labelled, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    for i, region in enumerate(ndimage.find_objects(labelled), start=1):
        box = [float(s.start) for s in reversed(region)] + [float(s.stop) for s in reversed(region)]
        yield box, labelled[region] == i, region

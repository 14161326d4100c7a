# SPDX-License-Identifier: Apache-2.0
"""Where memory could pay: labelled sequences made harder, and frames told apart by how hard they are.

The changes take frames (T, C, H, W) and masks (T, K, H, W) and return new ones; a model that has learned on the
unchanged sequences is then judged on these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Frames = npt.NDArray[np.floating[Any]]
Masks = npt.NDArray[np.uint8]
Change = Callable[[Frames, Masks, np.random.Generator], tuple[Frames, Masks]]

NOISE_STD = 0.5
MISSING_SHARE = 0.25
STEP = 2


def with_noise(frames: Frames, masks: Masks, rng: np.random.Generator, std: float = NOISE_STD) -> tuple[Frames, Masks]:
    """Independent Gaussian noise on every pixel; ``std`` in the intensity unit of the frames."""
    return (frames + rng.normal(0, std, frames.shape)).astype(frames.dtype), masks


def with_missing_frames(
    frames: Frames, masks: Masks, rng: np.random.Generator, share: float = MISSING_SHARE
) -> tuple[Frames, Masks]:
    """Some frames are gone and the others move together; at least one stays, and the order."""
    kept = max(1, round((1 - share) * len(frames)))
    index = np.sort(rng.permutation(len(frames))[:kept])
    return frames[index], masks[index]


def thin_sampled(frames: Frames, masks: Masks, rng: np.random.Generator, step: int = STEP) -> tuple[Frames, Masks]:
    """Every second frame, as from a scan with gaps; ``rng`` chooses which one is the first."""
    start = int(rng.integers(min(step, len(frames))))
    return frames[start::step], masks[start::step]


def thick_sampled(frames: Frames, masks: Masks, rng: np.random.Generator, step: int = STEP) -> tuple[Frames, Masks]:
    """Neighbouring frames averaged, as in thick slices; a pixel is lesion where at least half of its frames are.

    Frames that are left over at the end are left out, but for a sequence shorter than ``step``.
    """
    step = min(step, len(frames))
    groups = len(frames) // step
    parts = [a[: groups * step].reshape(groups, step, *a.shape[1:]) for a in (frames, masks)]
    means = parts[0].mean(axis=1, dtype=np.float32).astype(frames.dtype)
    return means, (2 * parts[1].sum(axis=1, dtype=np.int64) >= step).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "noise": with_noise,
    "missing frames": with_missing_frames,
    "every second frame": thin_sampled,
    "thick slices": thick_sampled,
}


def distance_from_end(holds_lesion: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """How far each frame is from the end of a run of frames with a lesion.

    Args:
        holds_lesion: (T,).

    Returns:
        0 on the first and last frame of a run, 1 on their neighbours inside, ...; -1 on the frame just outside, -2 one
        further; -T everywhere when no frame holds a lesion. A run that is cut off by the sequence ends there. (T,).
    """
    n_frames = len(holds_lesion)
    if not holds_lesion.any():
        return np.full(n_frames, -n_frames, np.intp)
    inside = ndimage.distance_transform_edt(np.pad(holds_lesion, 1))[1:-1]
    outside = ndimage.distance_transform_edt(~holds_lesion)
    return np.where(holds_lesion, inside - 1, -outside).astype(np.intp)


def lesion_areas(masks: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Lesion pixels of each frame of masks (T, K, H, W), all classes together; (T,)."""
    areas: npt.NDArray[np.intp] = (masks > 0).any(axis=1).sum(axis=(1, 2))
    return areas


def mean_by_distance(
    values: npt.NDArray[Any], distances: npt.NDArray[np.intp], outermost: int = -2, innermost: int = 3
) -> dict[int, tuple[float, int]]:
    """Mean of a value of frames, such as 0 or 1 for an error, by their distance from the end of a lesion.

    Args:
        values: Of the frames of all sequences, (N,).
        distances: From :func:`distance_from_end`, (N,).
        outermost: Frames further outside are left out.
        innermost: Frames further inside count here.

    Returns:
        Mean and number of frames by distance; distances without a frame are left out.
    """
    capped = np.minimum(distances, innermost)
    return {
        int(d): (float(np.mean(values[capped == d])), int((capped == d).sum()))
        for d in np.unique(capped)
        if d >= outermost
    }

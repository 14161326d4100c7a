# SPDX-License-Identifier: Apache-2.0
"""The class of a lesion, from what the mask says of each of its voxels.

A lesion is what touches, whatever its voxels' classes: a solid core within ground glass is one part-solid nodule. Each
voxel shares itself out between the classes in proportion to their odds (the softmax of the mask's logits); the lesion's
probabilities are the mean over its voxels, and the class is the most probable one. A calibration makes the
probabilities mean what they say, and tells which classes cannot be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..types import FloatArray, MaskArray
from .calibration import Calibration
from .conformal import prediction_sets

NEIGHBOURS_26 = np.ones((3, 3, 3))
LOWEST = 1e-6
"""Probabilities are kept this far from 0 and 1."""
SHARED = 0.1
"""Share of a predicted lesion's voxels that must be truly lesion for its class to be known."""


def voxel_shares(probability: FloatArray) -> npt.NDArray[np.float64]:
    """How each voxel shares itself out between the classes: (K, ...) -> (K, ...), sums to 1 over K."""
    inside = np.clip(np.asarray(probability, np.float64), LOWEST, 1 - LOWEST)
    odds = inside / (1 - inside)
    return np.asarray(odds / odds.sum(axis=0))


def lesion_logits(probability: FloatArray) -> npt.NDArray[np.float64]:
    """Logarithms of the class probabilities of a lesion, (K,), before any calibration.

    Args:
        probability: Of its voxels, (K, N), at least one.
    """
    return np.asarray(np.log(voxel_shares(probability).mean(axis=1)))


def class_answer(
    logits: FloatArray, names: Sequence[str], calibration: Calibration
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Probability of each class, and the classes that cannot be left out.

    Args:
        logits: From :func:`lesion_logits`, (K,).
        names: Of the classes.
        calibration: What came with the weights.

    Returns:
        By name, and the possible ones, always with the most probable one; all of them when the calibration knows too
        few patients to leave any out, none when there is no calibration.
    """
    probabilities = calibration.probabilities(logits)
    by_name = dict(zip(names, map(float, probabilities), strict=True))
    if not calibration.patients:
        return by_name, ()
    possible = prediction_sets(probabilities, calibration.threshold)
    possible[probabilities.argmax()] = True
    return by_name, tuple(name for name, there in zip(names, possible, strict=True) if there)


def class_map(probability: FloatArray, threshold: float, per_lesion: bool = True) -> MaskArray:
    """The class value of each pixel above the threshold, from 1, and 0 elsewhere: (T, K, H, W) -> (T, H, W).

    Args:
        probability: Of each class.
        threshold: For the most probable one.
        per_lesion: Whether all pixels that touch (26 neighbours) have one class; else each its most probable one.
    """
    if probability.shape[1] == 1:
        return (probability[:, 0] > threshold).astype(np.uint8)
    lesion = probability.max(axis=1) > threshold
    if not per_lesion:
        return np.where(lesion, probability.argmax(axis=1) + 1, 0).astype(np.uint8)
    labelled, count = ndimage.label(lesion, structure=NEIGHBOURS_26)
    shares = voxel_shares(np.moveaxis(probability, 1, 0)[:, lesion])  # (K, N)
    sums = [np.bincount(labelled[lesion], weights=share, minlength=count + 1) for share in shares]
    values = np.argmax(sums, axis=0).astype(np.uint8) + 1
    values[0] = 0
    return np.asarray(values[labelled], np.uint8)


def found_lesions(
    probability: FloatArray, truth: npt.NDArray[Any], threshold: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """The lesions that a model finds and whose class is known.

    Args:
        probability: (T, K, H, W).
        truth: 0/1, same shape.
        threshold: For the most probable class.

    Returns:
        Logits (N, K) and true class indices (N,): the class of most of the true voxels that a lesion covers. A lesion
        with fewer than :data:`SHARED` of its voxels in a true one is false, and has no class.
    """
    labelled, _ = ndimage.label(probability.max(axis=1) > threshold, structure=NEIGHBOURS_26)
    logits, classes = [], []
    for i, region in enumerate(ndimage.find_objects(labelled), start=1):
        inside = labelled[region] == i
        where = (region[0], slice(None), *region[1:])
        covered = np.moveaxis(truth[where], 1, 0)[:, inside].astype(bool)  # (K, N)
        if covered.any(axis=0).mean() < SHARED:
            continue
        logits.append(lesion_logits(np.moveaxis(probability[where], 1, 0)[:, inside]))
        classes.append(int(covered.sum(axis=1).argmax()))
    stacked = np.stack(logits) if logits else np.zeros((0, probability.shape[1]))
    return stacked, np.array(classes, np.intp)

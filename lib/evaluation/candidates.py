# SPDX-License-Identifier: Apache-2.0
"""Scored boxes from masks and predictions, for the detection metrics: per frame in 2D, per lesion in 3D."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..classification.lesions import class_map
from ..configs import InferenceConfig, ModelConfig
from ..findings.lesions import has_size, lesion_score, lesions_from_boxes
from ..metrics import ScoredBoxes
from ..prediction.predictor import Prediction
from ..types import Finding, Sequence, Source

LOW_THRESHOLD = 0.1
"""Components of the mask above this probability continue the lesion list below ``mask_threshold``."""

Scored = tuple[list[float], int, float]
"""Box, class index, score."""


def true_frame_boxes(truth: npt.NDArray[np.bool_]) -> list[ScoredBoxes]:
    """One box per connected lesion component (8-neighbours) of each frame of a mask (T, K, H, W)."""
    return mask_frame_boxes(truth, truth, np.ones(len(truth)))


def true_lesions(truth: npt.NDArray[np.bool_]) -> ScoredBoxes:
    """One 3D box per connected lesion (26-neighbours) of a mask (T, K, H, W)."""
    return mask_lesions(truth, truth, np.ones(len(truth)))


def predicted_frame_boxes(prediction: Prediction, config: ModelConfig) -> list[ScoredBoxes]:
    """What the model marks on each frame, from the lowest score up.

    A segmentation model: the 2D components (8-neighbours) of its mask. A detection model: the boxes of its head.
    """
    if config.task == "segmentation":
        mask = predicted_mask(prediction.mask, config.inference)
        return mask_frame_boxes(mask, scored_probability(prediction.mask, config.inference), prediction.presence)
    holds = prediction.presence >= config.inference.presence_threshold
    return [
        ScoredBoxes.of([(b.box, b.class_index, b.score) for b in frame if held and has_size(b.box)], 2)
        for frame, held in zip(prediction.boxes, holds, strict=True)
    ]


def predicted_lesions(
    prediction: Prediction, reported: list[Finding], sequence: Sequence, config: ModelConfig
) -> ScoredBoxes:
    """All lesions that the model can be asked for, from the lowest score up, as 3D boxes in voxels.

    A segmentation model: the 3D components (26-neighbours) of its mask, and those above :data:`LOW_THRESHOLD` that do
    not touch the mask. A detection model: the lesions it reports, and those linked from all of its boxes that stay
    below the score threshold.
    """
    if config.task == "segmentation":
        mask = predicted_mask(prediction.mask, config.inference)
        scored = scored_probability(prediction.mask, config.inference)
        lesions = mask_lesions(mask, scored, prediction.presence)
        faint = faint_mask(mask, prediction.mask, config.inference)
        return _joined(lesions, mask_lesions(faint, scored, prediction.presence))
    lowest = replace(config, inference=replace(config.inference, score_threshold=0.0))
    every = lesions_from_boxes(prediction, sequence, lowest, Source())
    faint_ones = [lesion for lesion in every if lesion.score < config.inference.score_threshold]
    return finding_boxes([*reported, *faint_ones], config)


def finding_boxes(findings: list[Finding], config: ModelConfig) -> ScoredBoxes:
    """3D boxes (x0, y0, t0, x1, y1, t1) of findings, in voxels."""
    rows: list[Scored] = []
    for finding in findings:
        x0, y0, x1, y1 = zip(*finding.boxes.values(), strict=True)
        frames = min(finding.boxes), max(finding.boxes) + 1
        box = [min(x0), min(y0), float(frames[0]), max(x1), max(y1), float(frames[1])]
        rows.append((box, config.labels[finding.label] - 1, finding.score))
    return ScoredBoxes.of(rows, 3)


def predicted_mask(probability: npt.NDArray[Any], settings: InferenceConfig) -> npt.NDArray[np.bool_]:
    """Pixels above the mask threshold, each for one class only, as ``class_of`` says; (T, K, H, W)."""
    classes = class_map(probability, settings.mask_threshold, settings.class_of == "lesion")
    return np.asarray(classes[:, None] == np.arange(1, probability.shape[1] + 1)[:, None, None])


def scored_probability(probability: npt.NDArray[Any], settings: InferenceConfig) -> npt.NDArray[Any]:
    """What a lesion is scored by, (T, K, H, W): of whole lesions the most probable class of each voxel."""
    if settings.class_of != "lesion" or probability.shape[1] == 1:
        return probability
    return np.broadcast_to(probability.max(axis=1, keepdims=True), probability.shape)


def mask_frame_boxes(
    mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any], presence: npt.NDArray[Any]
) -> list[ScoredBoxes]:
    """Boxes of the 2D components (8-neighbours) of a mask, with the score that the model gives to a finding.

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
                rows.append((box, k, lesion_score(probability[t, k][region][inside], presence[t])))
        frames.append(ScoredBoxes.of(rows, 2))
    return frames


def mask_lesions(mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any], presence: npt.NDArray[Any]) -> ScoredBoxes:
    """Boxes of the 3D components (26-neighbours) of a mask; arguments as in :func:`mask_frame_boxes`."""
    rows: list[Scored] = []
    for k in range(mask.shape[1]):
        for box, inside, region in _components(mask[:, k]):
            rows.append((box, k, lesion_score(probability[:, k][region][inside], presence[region[0]].max())))
    return ScoredBoxes.of(rows, 3)


def faint_mask(
    mask: npt.NDArray[np.bool_], probability: npt.NDArray[Any], settings: InferenceConfig
) -> npt.NDArray[np.bool_]:
    """The 3D components above :data:`LOW_THRESHOLD` that do not touch the mask (T, K, H, W)."""
    whole = settings.class_of == "lesion"
    low = predicted_mask(probability, replace(settings, mask_threshold=LOW_THRESHOLD))
    faint = (low if whole else probability > LOW_THRESHOLD) | mask
    for k in range(mask.shape[1]):
        labelled, count = ndimage.label(faint[:, k], structure=np.ones((3, 3, 3)))
        keep = np.ones(count + 1, bool)
        keep[labelled[mask.any(axis=1) if whole else mask[:, k]]] = False
        keep[0] = False
        faint[:, k] = keep[labelled]
    return faint


def _joined(first: ScoredBoxes, second: ScoredBoxes) -> ScoredBoxes:
    return ScoredBoxes(
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.classes, second.classes]),
        np.concatenate([first.scores, second.scores]),
    )


def _components(
    mask: npt.NDArray[np.bool_],
) -> Iterator[tuple[list[float], npt.NDArray[np.bool_], tuple[slice, ...]]]:
    """Fully connected components of a 2D or 3D mask: box with x first, mask inside the box, the box as slices."""
    labelled, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    for i, region in enumerate(ndimage.find_objects(labelled), start=1):
        box = [float(s.start) for s in reversed(region)] + [float(s.stop) for s in reversed(region)]
        yield box, labelled[region] == i, region

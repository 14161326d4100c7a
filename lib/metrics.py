# SPDX-License-Identifier: Apache-2.0
"""The numbers a model is judged by, and how sure they are. Definitions in words: docs/reference/metrics.md.

Each metric takes per-case arrays and returns None where it is undefined, e.g. a sensitivity without a true lesion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from monai.metrics.froc import compute_froc_curve_data, compute_froc_score
from monai.metrics.meandice import compute_dice
from torchmetrics.functional.classification import binary_auroc

RESAMPLES = 2000
"""Bootstrap resamples behind every confidence interval."""
BOOTSTRAP_SEED = 20250101
PERCENTILES = (2.5, 97.5)
FROC_RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False positives per volume at which the sensitivity is read."""
_ALL = 1_000_000
_BELOW_ALL_SCORES = -1.0

Interval = tuple[float, float]
Matches = dict[int, dict[str, npt.NDArray[Any]]]
"""By class index, as MONAI's ``matching_batch`` returns them: ``dtMatches`` (thresholds, D), ``dtScores`` (D,) ..."""


@dataclass(frozen=True)
class ScoredBoxes:
    """Boxes on one frame or in one volume.

    Attributes:
        boxes: (N, 4) as (x0, y0, x1, y1) or (N, 6) as (x0, y0, t0, x1, y1, t1): outer pixel or voxel edges.
        classes: Class index of each, (N,).
        scores: In [0, 1], (N,); 1 for the truth.
    """

    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    @classmethod
    def of(cls, rows: Sequence[tuple[Sequence[float], int, float]], dimensions: int) -> ScoredBoxes:
        """From (box, class index, score) rows; ``dimensions`` (2 or 3) gives an empty list its shape."""
        return cls(
            np.array([row[0] for row in rows], np.float32).reshape(-1, 2 * dimensions),
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float32),
        )


def volume_dice(pred: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Dice of a whole volume, the mean over classes; a class that is empty in both counts 1.

    Args:
        pred: (T, K, H, W).
        truth: (T, K, H, W).
    """
    pair = (torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, 1, 0))).flatten(1)[None] for a in (pred, truth))
    return float(compute_dice(*pair, ignore_empty=False).mean())


def slice_auc(presence: npt.NDArray[Any], truth: npt.NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve for "this frame holds a lesion"; None when all frames are of one class.

    Args:
        presence: Predicted probabilities, (N,).
        truth: (N,).
    """
    if truth.all() or not truth.any():
        return None
    scores, target = torch.from_numpy(np.asarray(presence, np.float32)), torch.from_numpy(truth.astype(np.int64))
    return float(binary_auroc(scores, target, validate_args=False))


def match_boxes(pred: Sequence[ScoredBoxes], truth: Sequence[ScoredBoxes], iou_thresholds: Sequence[float]) -> Matches:
    """Match predicted with true boxes of the same frame and class, greedily by score, one hit per true box.

    Args:
        pred: Per frame (or one entry for a volume with 3D boxes).
        truth: As long as ``pred``.
        iou_thresholds: A hit has at least this overlap; all are computed.

    Returns:
        The matches of all frames in one, by class.
    """
    per_frame = matching_batch(
        box_iou,
        iou_thresholds,
        [p.boxes for p in pred],
        [p.classes for p in pred],
        [p.scores for p in pred],
        [t.boxes for t in truth],
        [t.classes for t in truth],
        max_detections=_ALL,
    )
    classes = sorted({int(c) for frame in per_frame for c in frame})
    return {c: _joined([frame[c] for frame in per_frame if c in frame]) for c in classes}


def _joined(parts: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {key: np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]}


def average_precision(matches: Sequence[Matches], threshold: int) -> float | None:
    """Average precision over pooled cases (MONAI's COCO metric), the mean over classes that have true boxes.

    The precision curve is made non-increasing and read at 101 recalls, 0, 0.01 ... 1 (Lin et al. 2014, COCO); a
    recall that is not reached counts 0.

    Args:
        matches: Per case.
        threshold: Index into the IoU thresholds that they were matched at.

    Returns:
        None without any true box.
    """
    values = []
    for c in sorted({c for case in matches for c in case}):
        own = [{0: _at(case[c], threshold)} for case in matches if c in case]
        if not any(len(case[0]["gtIgnore"]) for case in own):
            continue
        metric = COCOMetric(["lesion"], [0.5], (0.5, 0.5, 1.0), max_detection=(_ALL,), per_class=False, verbose=False)
        values.append(metric(own)[0][f"AP_IoU_0.50_MaxDet_{_ALL}"])
    return float(np.mean(values)) if values else None


def _at(matches: dict[str, npt.NDArray[Any]], threshold: int) -> dict[str, npt.NDArray[Any]]:
    """Matches at one IoU threshold only; COCOMetric itself never looks at the value of the threshold."""
    per_threshold = ("dtMatches", "gtMatches", "dtIgnore")
    return {k: v[threshold : threshold + 1] if k in per_threshold else v for k, v in matches.items()}


def froc(matches: Sequence[Matches]) -> float | None:
    """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per volume; None without a true lesion.

    Between operating points the sensitivity is interpolated; beyond the last one it stays. MONAI's curve leaves out
    the lowest score it is given (in CAMELYON16, its origin, the 0 of a missed lesion), so one below all is added.

    Args:
        matches: Per volume, lesions matched at one IoU threshold.
    """
    parts = [part for case in matches for part in case.values()]
    n_lesions = sum(len(part["gtIgnore"]) for part in parts)
    if n_lesions == 0:
        return None
    hit = np.concatenate([part["dtMatches"][0] for part in parts]).astype(bool)
    scores = np.concatenate([part["dtScores"] for part in parts])
    true, false = _reachable(scores[hit], scores[~hit], int(max(FROC_RATES)) * len(matches))
    curve = compute_froc_curve_data(np.append(false, _BELOW_ALL_SCORES), true, n_lesions, len(matches))
    return float(compute_froc_score(*curve, FROC_RATES))


def _reachable(
    true: npt.NDArray[Any], false: npt.NDArray[Any], most_false: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores down to the first false positive past the last rate that is read: the curve's time is quadratic."""
    if len(false) <= most_false:
        return true, false
    lowest = -np.partition(-false, most_false)[most_false]
    return true[true >= lowest], false[false >= lowest]


def bootstrap_ci(
    n: int, statistic: Callable[[npt.NDArray[np.intp]], float | None], resamples: int = RESAMPLES
) -> Interval | None:
    """95 % percentile interval of a statistic over resampled patients (Efron and Tibshirani 1993, chapter 13).

    Args:
        n: Number of patients.
        statistic: Called with n patient indices drawn with replacement; resamples where it is None are left out.
        resamples: How many; the seed is fixed.

    Returns:
        (low, high), or None with fewer than two patients or when it is never defined.
    """
    if n < 2:
        return None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = (statistic(rng.integers(0, n, n)) for _ in range(resamples))
    values = [value for value in drawn if value is not None]
    if not values:
        return None
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def mean_ci(values: npt.NDArray[np.float64], resamples: int = RESAMPLES) -> Interval | None:
    """:func:`bootstrap_ci` of the mean of one value per patient."""
    return bootstrap_ci(len(values), lambda index: float(values[index].mean()), resamples)


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over patients and its 95 % interval (None with fewer than two patients)."""

    mean: float
    ci95: Interval | None


def paired_bootstrap(
    values_a: npt.NDArray[np.float64], values_b: npt.NDArray[np.float64], resamples: int = RESAMPLES
) -> PairedDifference:
    """Compare two models on the same patients: the patients are resampled, each with both of its values.

    Args:
        values_a: One value per patient, (P,).
        values_b: Of the same patients in the same order, (P,).
        resamples: How many.

    Raises:
        ValueError: If the lengths differ or there are no patients.
    """
    if len(values_a) != len(values_b) or len(values_a) == 0:
        raise ValueError(f"paired values are needed, got {len(values_a)} and {len(values_b)}")
    difference = np.asarray(values_a, np.float64) - np.asarray(values_b, np.float64)
    return PairedDifference(float(difference.mean()), mean_ci(difference, resamples))

# SPDX-License-Identifier: Apache-2.0
"""How well a model tells the classes of lesions apart, judged on the true lesions that it reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.box_utils import box_iou
from torchmetrics.functional.classification import multiclass_f1_score

from ..classification.calibration import calibration_error
from ..metrics import Matches, ScoredBoxes, bootstrap_ci, froc, match_boxes
from ..types import Finding, FloatArray

DIGITS = 6
Lesions = Sequence["ClassedLesion"]


@dataclass(frozen=True)
class ClassedLesion:
    """A true lesion that the model reports, whatever it calls it.

    Attributes:
        true: Index of its true class.
        probabilities: Of each class, (K,).
        possible: Which classes the model does not leave out, (K,); empty where it has no calibration.
    """

    true: int
    probabilities: tuple[float, ...]
    possible: tuple[bool, ...]


@dataclass(frozen=True)
class CaseClasses:
    """What one study says of the classes.

    Attributes:
        names: Of the classes, (K,).
        lesions: The true lesions that were found.
        matches: All 3D lesions matched as if there were one class.
        dice: Volume Dice of all lesions as one class; None where the study and the prediction are both empty.
    """

    names: tuple[str, ...]
    lesions: tuple[ClassedLesion, ...]
    matches: Matches
    dice: float | None

    def to_json(self) -> list[dict[str, Any]]:
        """The lesions found, as plain values."""
        return [
            {
                "true": self.names[lesion.true],
                "probabilities": dict(zip(self.names, (round(p, DIGITS) for p in lesion.probabilities), strict=True)),
                "possible": [name for name, there in zip(self.names, lesion.possible or (), strict=False) if there],
            }
            for lesion in self.lesions
        ]


def case_classes(
    findings: list[Finding],
    reported: ScoredBoxes,
    candidates: ScoredBoxes,
    truth: ScoredBoxes,
    masks: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    names: tuple[str, ...],
    lesion_iou: float,
) -> CaseClasses | None:
    """Which true lesions are reported, and what their classes are said to be; None with one class.

    Args:
        findings: Best first.
        reported: Their 3D boxes, in the same order.
        candidates: All lesions that the model can be asked for.
        truth: The true lesions.
        masks: Reported and true, (T, K, H, W).
        names: Of the classes.
        lesion_iou: Overlap from which two 3D boxes are the same lesion.
    """
    if len(names) == 1:
        return None
    overlaps = box_iou(torch.from_numpy(reported.boxes), torch.from_numpy(truth.boxes)).numpy()
    free, lesions = np.ones(len(truth.scores), bool), []
    for finding, overlap in zip(findings, overlaps, strict=True):  # the surer finding chooses first
        allowed = np.where(free, overlap, 0.0)
        if not len(allowed) or allowed.max() < lesion_iou:
            continue
        hit = int(allowed.argmax())
        free[hit] = False
        lesions.append(_classed(finding, int(truth.classes[hit]), names))
    matches = match_boxes([_as_one(candidates)], [_as_one(truth)], [lesion_iou])
    found, there = (mask.any(axis=1) for mask in masks)
    voxels = int(found.sum() + there.sum())
    dice = 2 * int((found & there).sum()) / voxels if voxels else None
    return CaseClasses(names, tuple(lesions), matches, dice)


def _classed(finding: Finding, true: int, names: tuple[str, ...]) -> ClassedLesion:
    """A model that tells no probabilities is taken to be sure of its label."""
    told = finding.class_probabilities or {finding.label: 1.0}
    possible = tuple(name in finding.possible_labels for name in names) if finding.possible_labels else ()
    return ClassedLesion(true, tuple(told.get(name, 0.0) for name in names), possible)


def _as_one(boxes: ScoredBoxes) -> ScoredBoxes:
    return replace(boxes, classes=np.zeros_like(boxes.classes))


def class_summary(groups: list[list[CaseClasses | None]], resamples: int) -> dict[str, Any]:
    """Numbers of the classes, with 95 % intervals over patients; empty for a model with one class.

    Args:
        groups: The studies of each patient.
        resamples: Bootstrap resamples behind each interval.
    """
    known = [[case for case in group if case is not None] for group in groups]
    if not any(known):
        return {}
    names = next(case.names for group in known for case in group)
    result: dict[str, Any] = {"class_names": list(names), "class_confusion": _confusion(known, len(names))}
    per_lesion: dict[str, Callable[[Lesions], float | None]] = {
        "class_accuracy": _accuracy,
        "class_macro_f1": _macro_f1,
        "class_ece": _calibration_error,
        "class_coverage": _coverage,
        "class_set_size": _set_size,
    }
    for name, statistic in per_lesion.items():
        result |= _with_interval(name, known, _over_lesions(statistic), resamples)
    result |= _with_interval("froc_any_class", known, lambda cases: froc([case.matches for case in cases]), resamples)
    return result | _with_interval("dice_any_class", known, _mean_dice, resamples)


def _over_lesions(statistic: Callable[[Lesions], float | None]) -> Callable[[list[CaseClasses]], float | None]:
    def pooled(cases: list[CaseClasses]) -> float | None:
        lesions = [lesion for case in cases for lesion in case.lesions]
        return statistic(lesions) if lesions else None

    return pooled


def _with_interval(
    name: str,
    groups: list[list[CaseClasses]],
    statistic: Callable[[list[CaseClasses]], float | None],
    resamples: int,
) -> dict[str, Any]:
    def resampled(index: npt.NDArray[np.intp]) -> float | None:
        return statistic([case for i in index for case in groups[i]])

    value = statistic([case for group in groups for case in group])
    interval = None if value is None else bootstrap_ci(len(groups), resampled, resamples)
    return {
        name: None if value is None else round(value, DIGITS),
        f"{name}_ci95": None if interval is None else [round(edge, DIGITS) for edge in interval],
    }


def _confusion(groups: list[list[CaseClasses]], n_classes: int) -> list[list[int]]:
    """How many lesions of each true class (rows) are called what (columns)."""
    counts = np.zeros((n_classes, n_classes), int)
    lesions = [lesion for group in groups for case in group for lesion in case.lesions]
    for lesion in lesions:
        counts[lesion.true, int(np.argmax(lesion.probabilities))] += 1
    listed: list[list[int]] = counts.tolist()
    return listed


def _arrays(lesions: Lesions) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    return np.array([x.probabilities for x in lesions]), np.array([x.true for x in lesions], np.intp)


def _accuracy(lesions: Lesions) -> float:
    probabilities, true = _arrays(lesions)
    return float((probabilities.argmax(1) == true).mean())


def _macro_f1(lesions: Lesions) -> float:
    """torchmetrics; a class that is neither there nor predicted does not count."""
    probabilities, true = _arrays(lesions)
    pair = torch.from_numpy(probabilities.argmax(1)), torch.from_numpy(true)
    return float(multiclass_f1_score(*pair, probabilities.shape[1], average="macro", validate_args=False))


def _calibration_error(lesions: Lesions) -> float:
    return calibration_error(*_arrays(lesions))


def _coverage(lesions: Lesions) -> float | None:
    sets = [lesion for lesion in lesions if lesion.possible]
    return float(np.mean([lesion.possible[lesion.true] for lesion in sets])) if sets else None


def _set_size(lesions: Lesions) -> float | None:
    sets = [lesion for lesion in lesions if lesion.possible]
    return float(np.mean([sum(lesion.possible) for lesion in sets])) if sets else None


def _mean_dice(cases: list[CaseClasses]) -> float | None:
    dices = [case.dice for case in cases if case.dice is not None]
    return float(np.mean(dices)) if dices else None

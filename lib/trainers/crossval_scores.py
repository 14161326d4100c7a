# SPDX-License-Identifier: Apache-2.0
"""What a cross-validation of clip classifiers shows: macro-F1, calibration and conformal sets, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax, softmax
from torchmetrics.functional.classification import multiclass_f1_score

from ..classification.calibration import calibration_error, fit_temperature
from ..classification.conformal import cross_conformal_sets, worst_by_patient
from ..metrics import RESAMPLES, bootstrap_ci
from ..types import FloatArray
from .clips import Clip, true_classes
from .crossval import ArmRuns

Indices = npt.NDArray[np.intp]


def f1_of(predicted: Indices, truth: Indices, n_classes: int, average: str | None = "macro") -> FloatArray:
    """F1 over clips (torchmetrics): the mean over classes, or () -> (K,) per class with ``average`` None."""
    pair = (torch.from_numpy(np.ascontiguousarray(a)) for a in (predicted, truth))
    return np.asarray(multiclass_f1_score(*pair, n_classes, average=average, validate_args=False).numpy())


def score_arm(
    runs: ArmRuns, clips: list[Clip], folds: Indices, error_rates: list[float], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """All numbers of an arm.

    Args:
        runs: From :func:`lib.trainers.crossval.run_arm`.
        clips: As given there.
        folds: As given there.
        error_rates: Of the conformal sets.
        resamples: Of the patients, for the intervals.
    """
    truth, n_classes = true_classes(clips), runs.held_out[0].shape[1]
    predicted = [logits.argmax(1) for logits in runs.held_out]
    per_class = np.mean([f1_of(p, truth, n_classes, None) for p in predicted], axis=0)
    scores = {
        "parameters": runs.parameters,
        "steps": [min(runs.steps), max(runs.steps)],
        "macro_f1": float(np.mean([f1_of(p, truth, n_classes) for p in predicted])),
        "macro_f1_by_seed": [float(f1_of(p, truth, n_classes)) for p in predicted],
        "macro_f1_ci95": bootstrap_patients(clips, lambda i: _mean_f1(predicted, truth, i, n_classes), resamples),
        "accuracy": float(np.mean([(p == truth).mean() for p in predicted])),
        "f1_by_class": per_class.tolist(),
    }
    if runs.pairs:
        scores["calibration"] = calibration_scores(runs, clips, folds, resamples)
        scores["conformal"] = {str(rate): conformal_scores(runs, clips, folds, rate) for rate in error_rates}
    return scores


def _mean_f1(predicted: list[Indices], truth: Indices, index: Indices, n_classes: int) -> float:
    return float(np.mean([f1_of(p[index], truth[index], n_classes) for p in predicted]))


def f1_difference(a: ArmRuns, b: ArmRuns, clips: list[Clip], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Macro-F1 of a minus that of b, the same patients resampled for both."""
    truth, n_classes = true_classes(clips), a.held_out[0].shape[1]
    first, second = ([logits.argmax(1) for logits in runs.held_out] for runs in (a, b))

    def difference(index: Indices) -> float:
        return _mean_f1(first, truth, index, n_classes) - _mean_f1(second, truth, index, n_classes)

    return {"mean": difference(np.arange(len(clips))), "ci95": bootstrap_patients(clips, difference, resamples)}


def bootstrap_patients(
    clips: list[Clip], statistic: Callable[[Indices], float | None], resamples: int
) -> tuple[float, float] | None:
    """95 % interval of a statistic of clips; patients are resampled, each with all of his clips."""
    names = np.array([clip.patient for clip in clips])
    own = [np.flatnonzero(names == name) for name in np.unique(names)]
    return bootstrap_ci(len(own), lambda drawn: statistic(np.concatenate([own[i] for i in drawn])), resamples)


def _other_folds(folds: Indices, f: int) -> list[int]:
    return [j for j in sorted(set(folds.tolist())) if j != f]


def _pair(runs: ArmRuns, f: int, j: int) -> FloatArray:
    return runs.pairs[min(f, j), max(f, j)]


def fold_temperature(runs: ArmRuns, clips: list[Clip], folds: Indices, f: int) -> float:
    """Temperature for a fold, from the other folds by models that saw neither; each patient counts once."""
    others = _other_folds(folds, f)
    logits = np.concatenate([_pair(runs, f, j)[folds == j] for j in others])
    index = np.concatenate([np.flatnonzero(folds == j) for j in others])
    _, inverse, counts = np.unique([clips[i].patient for i in index], return_inverse=True, return_counts=True)
    return fit_temperature(logits, true_classes(clips)[index], 1.0 / counts[inverse])


def calibration_scores(runs: ArmRuns, clips: list[Clip], folds: Indices, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Expected calibration error and negative log-likelihood of the first seed, before and after the temperature."""
    truth, logits = true_classes(clips), runs.held_out[0]
    temperatures = {f: fold_temperature(runs, clips, folds, f) for f in sorted(set(folds.tolist()))}
    scaled = logits / np.array([temperatures[f] for f in folds.tolist()])[:, None]
    values: dict[str, Any] = {"temperatures": list(temperatures.values())}
    for name, one in (("before", logits), ("after", scaled)):
        probabilities = np.asarray(softmax(one, axis=1))
        values[f"ece_{name}"] = calibration_error(probabilities, truth)
        values[f"ece_{name}_ci95"] = bootstrap_patients(clips, _error_of(probabilities, truth), resamples)
        values[f"nll_{name}"] = float(-log_softmax(one, axis=1)[np.arange(len(truth)), truth].mean())
    return values


def _error_of(probabilities: FloatArray, truth: Indices) -> Callable[[Indices], float]:
    return lambda index: calibration_error(probabilities[index], truth[index])


def conformal_scores(runs: ArmRuns, clips: list[Clip], folds: Indices, error_rate: float) -> dict[str, Any]:
    """Coverage and size of the cross-conformal sets of each fold, from models that were trained without it."""
    truth, names = true_classes(clips), np.array([clip.patient for clip in clips])
    sets = np.zeros((len(clips), runs.held_out[0].shape[1]), bool)
    for f in sorted(set(folds.tolist())):
        scores, probabilities = [], []
        for j in _other_folds(folds, f):
            given = np.asarray(softmax(_pair(runs, f, j), axis=1))
            own = np.flatnonzero(folds == j)
            scores.append(worst_by_patient(1.0 - given[own, truth[own]], names[own].tolist()))
            probabilities.append(given[folds == f])
        sets[folds == f] = cross_conformal_sets(scores, probabilities, error_rate)
    held, single = sets[np.arange(len(truth)), truth], sets.sum(1) == 1
    by_patient = [held[names == name].all() for name in np.unique(names)]
    return {
        "coverage_clips": float(held.mean()),
        "coverage_patients": float(np.mean(by_patient)),
        "coverage_by_class": [float(held[truth == k].mean()) for k in range(sets.shape[1]) if (truth == k).any()],
        "mean_size": float(sets.sum(1).mean()),
        "sure": float(single.mean()),
        "right_where_sure": float(held[single].mean()) if single.any() else None,
    }

# SPDX-License-Identifier: Apache-2.0
"""Sets of possible classes with a guarantee, so that "not sure" is an answer.

A class is left out when 1 - its probability is above a threshold that true classes of other patients seldom reach. One
class in the set is an answer; several mean "not sure between these", none "unlike anything seen".

What is guaranteed, if the new patient is exchangeable with those of the calibration (drawn alike, same clinics): with
scores of the very model on patients it never saw, the sets of all studies of a new patient hold the true class with
probability 1 - error rate or more, because each patient counts with the worst of his studies. It is an average over
patients: not for each class, and not for another clinic. From cross-validation it is 1 - 2 error rates, up to a term
in the number of patients per fold (Barber et al., theorem 4), when the models of the folds make the set together.

References:
    Vovk, Gammerman, Shafer. Algorithmic learning in a random world. 2005. Vovk. Cross-conformal predictors. 2015.
    Sadinle, Lei, Wasserman. Least ambiguous set-valued classifiers. JASA 2019 (the score).
    Barber, Candes, Ramdas, Tibshirani. Predictive inference with the jackknife+. Annals of Statistics 2021.
    Angelopoulos, Bates. Conformal prediction: a gentle introduction. 2023. Dunn, Wasserman, Ramdas. Distribution-free
    prediction sets for two-layer hierarchical models. JASA 2023 (several studies of one patient).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..types import FloatArray, InputError


def worst_by_patient(scores: FloatArray, patients: Sequence[str]) -> FloatArray:
    """Largest score of each patient's studies, (P,), in the order of the patients' names.

    Args:
        scores: 1 - probability of the true class, of each study, (N,).
        patients: Whose each study is, (N,).
    """
    names, inverse = np.unique(list(patients), return_inverse=True)
    worst = np.full(len(names), -np.inf)
    np.maximum.at(worst, inverse, scores)
    return worst


def split_threshold(scores: FloatArray, error_rate: float) -> float:
    """The score that a new patient's stays below with probability 1 - error rate.

    Args:
        scores: One per patient, (P,), of a model that was trained on none of them.
        error_rate: Between 0 and 1.

    Returns:
        The ceil((P + 1)(1 - error rate))-th smallest score; infinity when there are fewer patients than that, and no
        class can be left out.

    Raises:
        InputError: If the error rate is not between 0 and 1, or a score is not a number.
    """
    _check(scores, error_rate)
    rank = math.ceil((len(scores) + 1) * (1 - error_rate) - 1e-9)
    return math.inf if rank > len(scores) else float(np.sort(scores)[rank - 1])


def prediction_sets(probabilities: FloatArray, threshold: float | None) -> npt.NDArray[np.bool_]:
    """Which classes are possible; all without a threshold.

    Args:
        probabilities: (..., K).
        threshold: From :func:`split_threshold`.
    """
    if threshold is None:
        return np.ones(np.shape(probabilities), dtype=bool)
    return np.asarray(1.0 - np.asarray(probabilities) <= threshold, dtype=bool)


def cross_conformal_sets(
    fold_scores: Sequence[FloatArray], probabilities: Sequence[FloatArray], error_rate: float
) -> npt.NDArray[np.bool_]:
    """Which classes are possible, from a cross-validation: every patient calibrates, and none the model he trained.

    Args:
        fold_scores: Per fold, the scores of its patients (one each) by the model trained without them, (P_k,).
        probabilities: Per fold, what that model says about the new studies, (N, K).
        error_rate: Between 0 and 1.

    Returns:
        (N, K); a class is possible when more than the error rate of the patients, the new one among them, have a score
        as large as it would have.

    Raises:
        InputError: If the error rate is not between 0 and 1, a score is not a number, or the folds do not match.
    """
    if not fold_scores or len(fold_scores) != len(probabilities):
        raise InputError(f"{len(fold_scores)} folds have scores, {len(probabilities)} have probabilities")
    for scores in fold_scores:
        _check(scores, error_rate)
    count = sum(len(scores) for scores in fold_scores)
    as_large = sum(
        (np.asarray(scores) >= 1.0 - np.asarray(p)[..., None]).sum(axis=-1)
        for scores, p in zip(fold_scores, probabilities, strict=True)
    )
    return np.asarray((1 + as_large) / (count + 1) > error_rate, dtype=bool)


def _check(scores: FloatArray, error_rate: float) -> None:
    if not 0 < error_rate < 1:
        raise InputError(f"the error rate of conformal sets is {error_rate}; it must lie between 0 and 1")
    if not np.isfinite(scores).all():
        raise InputError("a conformal score is not a number: the model's probabilities cannot be used")

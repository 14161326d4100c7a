# SPDX-License-Identifier: Apache-2.0
"""How often each study is drawn in training, so that rare classes are seen and long series of one patient do not rule.

References:
    Kang et al. Decoupling representation and classifier for long-tailed recognition. ICLR 2020 (equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..types import FloatArray, InputError


def sampling_weights(classes: npt.NDArray[np.intp], patients: Sequence[str], balance: float) -> FloatArray:
    """Probability of drawing each study, (N,).

    A class is drawn in proportion to its number of patients to the power 1 - ``balance``; within a class each patient
    as often as any other, and a patient's studies alike.

    Args:
        classes: Class index of each study, (N,).
        patients: Whose each study is, (N,).
        balance: 0 for the classes as they come, 1 for all classes alike.

    Raises:
        InputError: If there is no study.
    """
    if len(classes) == 0:
        raise InputError("there is no study to draw from; label some first")
    weights = np.zeros(len(classes))
    names = np.asarray(list(patients))
    for k in np.unique(classes):
        own = classes == k
        _, inverse, counts = np.unique(names[own], return_inverse=True, return_counts=True)
        weights[own] = len(counts) ** (1.0 - balance) / len(counts) / counts[inverse]
    return np.asarray(weights / weights.sum())


def class_priors(classes: npt.NDArray[np.intp], weights: FloatArray, n_classes: int) -> FloatArray:
    """How often each class is drawn, (K,); what a logit-adjusted loss has to know.

    Args:
        classes: Class index of each study, (N,).
        weights: From :func:`sampling_weights`, (N,).
        n_classes: K; a class without a study has a prior of 0.
    """
    return np.bincount(classes, weights=weights, minlength=n_classes).astype(np.float64)

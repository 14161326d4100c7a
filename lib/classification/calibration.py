# SPDX-License-Identifier: Apache-2.0
"""Probabilities that mean what they say: one temperature, fitted on studies that the model was not trained on.

References:
    Guo et al. On calibration of modern neural networks. ICML 2017 (temperature, expected calibration error).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from ..types import FloatArray, InputError
from .conformal import split_threshold, worst_by_patient

ERROR_BINS = 10
LOG_TEMPERATURES = (-3.0, 3.0)
"""Where the logarithm of the temperature is looked for: 0.05 to 20."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities and a set of possible classes; it is kept in the weights' header.

    Attributes:
        temperature: The logits are divided by it.
        threshold: Classes with 1 - probability above it are left out of the set; None where nothing is known yet, and
            then every class is possible.
        error_rate: Share of new patients whose true class may be left out.
        patients: How many patients the two were fitted on.
        scores_of: ``held_out`` where the scores are those of the very model on patients it never saw; ``folds`` where
            they are those of models like it, from a cross-validation.
    """

    temperature: float = 1.0
    threshold: float | None = None
    error_rate: float = 0.1
    patients: int = 0
    scores_of: str = "held_out"

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """(..., K) -> (..., K), each row sums to 1."""
        return np.asarray(softmax(np.asarray(logits, np.float64) / self.temperature, axis=-1))

    def to_json(self) -> dict[str, Any]:
        """Plain values; what has no number in JSON is null."""
        data = asdict(self)
        return {**data, "threshold": None if self.threshold is None or np.isinf(self.threshold) else self.threshold}

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> Calibration:
        """From :meth:`to_json`'s values; none for weights that were never calibrated.

        Raises:
            InputError: If a value is missing or of another type.
        """
        if not data:
            return cls()
        try:
            threshold = data.get("threshold")
            return cls(
                float(data["temperature"]),
                None if threshold is None else float(threshold),
                float(data["error_rate"]),
                int(data["patients"]),
                str(data["scores_of"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the calibration in the weights' header cannot be used: {error!r}") from error


def fit_temperature(logits: FloatArray, classes: npt.NDArray[np.intp], weights: FloatArray | None = None) -> float:
    """The temperature at which the true classes are likeliest; it never changes which class comes first.

    Args:
        logits: Of studies that the model was not trained on, (N, K).
        classes: True class index of each, (N,).
        weights: Of each study, (N,), e.g. one over the number of studies of its patient; None for equal ones.

    Raises:
        InputError: If there is no study, or a logit is not a number.
    """
    logits = _checked(logits, classes)
    share = np.ones(len(classes)) if weights is None else np.asarray(weights, np.float64)

    def negative_log_likelihood(log_temperature: float) -> float:
        likelihoods = log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(classes)), classes]
        return -float(np.average(likelihoods, weights=share))

    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=LOG_TEMPERATURES, method="bounded").x))


def calibration_error(probabilities: FloatArray, classes: npt.NDArray[np.intp], bins: int = ERROR_BINS) -> float:
    """Expected calibration error (torchmetrics, L1): how far confidence and accuracy lie apart, averaged over bins.

    Args:
        probabilities: (N, K).
        classes: True class index of each, (N,).
        bins: Of equal width over the confidence; with few studies the error is biased upwards.

    Raises:
        InputError: If there is no study, or a probability is not a number.
    """
    values = torch.from_numpy(_checked(probabilities, classes))
    truth = torch.from_numpy(np.asarray(classes, np.int64))
    return float(multiclass_calibration_error(values, truth, values.shape[1], n_bins=bins))


def calibrate(
    logits: FloatArray,
    classes: npt.NDArray[np.intp],
    patients: list[str],
    error_rate: float,
    scores_of: str = "held_out",
) -> Calibration:
    """Fit temperature and conformal threshold; each patient counts once, however many studies there are.

    Args:
        logits: Of studies that the model was not trained on, (N, K).
        classes: True class index of each, (N,).
        patients: Whose each study is, (N,).
        error_rate: Share of new patients whose true class may be left out.
        scores_of: See :class:`Calibration`.

    Raises:
        InputError: If there is no study, or a logit is not a number.
    """
    logits = _checked(logits, classes)
    _, inverse, counts = np.unique(patients, return_inverse=True, return_counts=True)
    temperature = fit_temperature(logits, classes, 1.0 / counts[inverse])
    probabilities = Calibration(temperature).probabilities(logits)
    scores = 1.0 - probabilities[np.arange(len(classes)), classes]
    threshold = split_threshold(worst_by_patient(scores, patients), error_rate)
    return Calibration(temperature, None if np.isinf(threshold) else threshold, error_rate, len(counts), scores_of)


def _checked(values: FloatArray, classes: npt.NDArray[np.intp]) -> FloatArray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or len(values) == 0 or len(values) != len(classes):
        raise InputError(f"a calibration needs a row per study; got shape {values.shape} and {len(classes)} classes")
    if not np.isfinite(values).all():
        raise InputError("a logit or probability is not a number: the model cannot be calibrated; train it anew")
    return values

# SPDX-License-Identifier: Apache-2.0
"""What the findings head is sure of; of everything else a report says that it was not assessed.

Split conformal prediction for each finding by itself: a value (there, or not there) is left out when 1 - its
probability is above what true values of other patients seldom reach (:mod:`lib.classification.conformal`). One value
left is an opinion; both, or none, is "not assessed".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from ..classification.conformal import split_threshold, worst_by_patient
from ..types import FloatArray, InputError


class Opinion(StrEnum):
    """What the findings head says of a finding."""

    THERE = "there"
    NOT_THERE = "not there"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True)
class FindingThresholds:
    """Conformal thresholds; they are kept in the header of the weights.

    Attributes:
        thresholds: By finding; a finding without one is never assessed.
        error_rate: Share of new patients whose true value may be left out.
        patients: How many patients each was fitted on, by finding.
    """

    thresholds: dict[str, float] = field(default_factory=dict)
    error_rate: float = 0.1
    patients: dict[str, int] = field(default_factory=dict)

    def opinions(self, names: Sequence[str], probabilities: FloatArray) -> dict[str, Opinion]:
        """What is sure of each finding.

        Args:
            names: Of the findings, (F,).
            probabilities: That each is there, (F,).
        """
        return {name: self._opinion(name, float(p)) for name, p in zip(names, probabilities, strict=True)}

    def _opinion(self, name: str, probability: float) -> Opinion:
        threshold = self.thresholds.get(name)
        if threshold is None:
            return Opinion.NOT_ASSESSED
        there, not_there = 1 - probability <= threshold, probability <= threshold
        if there == not_there:
            return Opinion.NOT_ASSESSED
        return Opinion.THERE if there else Opinion.NOT_THERE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"thresholds": self.thresholds, "error_rate": self.error_rate, "patients": self.patients}

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> FindingThresholds:
        """From :meth:`to_json`'s values; none for weights without them: then nothing is assessed.

        Raises:
            InputError: If a value is missing or of another type.
        """
        if not data:
            return cls()
        try:
            thresholds = {str(name): float(value) for name, value in data["thresholds"].items()}
            patients = {str(name): int(value) for name, value in data["patients"].items()}
            return cls(thresholds, float(data["error_rate"]), patients)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the findings' thresholds in the weights' header cannot be used: {error!r}") from error


def fit_thresholds(
    names: Sequence[str], probabilities: FloatArray, targets: FloatArray, patients: Sequence[str], error_rate: float
) -> FindingThresholds:
    """Fit the thresholds on studies that the model was not trained on; each patient counts with the worst study.

    Args:
        names: Of the findings, (F,).
        probabilities: That each is there, (N, F).
        targets: Whether it is, 0 or 1, (N, F); NaN where it is not known.
        patients: Whose each study is, (N,).
        error_rate: Between 0 and 1.

    Raises:
        InputError: If the shapes do not match, or a probability is not a number.
    """
    if probabilities.shape != targets.shape or targets.shape != (len(patients), len(names)):
        raise InputError(
            f"thresholds of {len(names)} findings in {len(patients)} studies need arrays of that shape; got "
            f"{probabilities.shape} and {targets.shape}"
        )
    thresholds, counts = {}, {}
    for f, name in enumerate(names):
        known = ~np.isnan(targets[:, f])
        scores = np.abs(targets[known, f] - probabilities[known, f])  # 1 - probability of the true value
        whose = [patient for patient, is_known in zip(patients, known, strict=True) if is_known]
        worst = worst_by_patient(scores, whose) if whose else np.zeros(0)
        threshold = split_threshold(worst, error_rate)
        counts[name] = len(worst)
        if np.isfinite(threshold):
            thresholds[name] = threshold
    return FindingThresholds(thresholds, error_rate, counts)

# SPDX-License-Identifier: Apache-2.0
"""When the findings head may have an opinion."""

import numpy as np
import pytest

from lib.drafting.opinions import FindingThresholds, Opinion, fit_thresholds
from lib.types import InputError

NAMES = ("lesion", "oedema")


def fitted(n: int = 200, seed: int = 0, error_rate: float = 0.1) -> FindingThresholds:
    probabilities, targets = drawn(n, seed)
    return fit_thresholds(NAMES, probabilities, targets, [f"p{i}" for i in range(n)], error_rate)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.random((n, 2))
    return probabilities, (rng.random((n, 2)) < probabilities).astype(float)


def test_the_true_value_is_seldom_left_out():
    thresholds = fitted(400)
    probabilities, targets = drawn(2000, 1)
    for f, name in enumerate(NAMES):
        opinions = [thresholds.opinions([name], [p])[name] for p in probabilities[:, f]]
        wrong = {Opinion.THERE: 0.0, Opinion.NOT_THERE: 1.0}
        left_out = np.mean([wrong.get(o) == t for o, t in zip(opinions, targets[:, f], strict=True)])
        assert left_out < 0.13
        assert 0.2 < np.mean([o is Opinion.NOT_ASSESSED for o in opinions]) < 0.9


def test_sure_and_unsure():
    thresholds = FindingThresholds({"lesion": 0.3}, 0.1, {"lesion": 40})
    said = [thresholds.opinions(["lesion"], [p])["lesion"] for p in (0.9, 0.5, 0.1)]
    assert said == [Opinion.THERE, Opinion.NOT_ASSESSED, Opinion.NOT_THERE]
    assert FindingThresholds({"lesion": 0.6}).opinions(["lesion"], [0.5])["lesion"] is Opinion.NOT_ASSESSED
    assert FindingThresholds().opinions(["lesion"], [0.99])["lesion"] is Opinion.NOT_ASSESSED


def test_with_too_few_patients_nothing_is_assessed_and_unknown_targets_do_not_count():
    targets = np.array([[1.0, np.nan]] * 8)
    few = fit_thresholds(NAMES, np.full((8, 2), 0.9), targets, [f"p{i}" for i in range(8)], 0.1)
    assert few.thresholds == {}
    assert few.patients == {"lesion": 8, "oedema": 0}
    one_patient = fit_thresholds(NAMES, np.full((50, 2), 0.9), np.ones((50, 2)), ["p"] * 50, 0.1)
    assert one_patient.thresholds == {}


def test_there_and_back_as_json():
    thresholds = fitted()
    assert FindingThresholds.from_json(thresholds.to_json()) == thresholds
    assert FindingThresholds.from_json(None) == FindingThresholds()
    with pytest.raises(InputError, match="cannot be used"):
        FindingThresholds.from_json({"thresholds": 3})
    with pytest.raises(InputError, match="need arrays of that shape"):
        fit_thresholds(NAMES, np.zeros((3, 2)), np.zeros((3, 1)), ["a"] * 3, 0.1)

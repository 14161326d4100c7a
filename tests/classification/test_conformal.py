# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from lib.classification.conformal import cross_conformal_sets, prediction_sets, split_threshold, worst_by_patient
from lib.types import InputError

RATES = [0.05, 0.1, 0.2, 0.4]


def made_up(rng: np.random.Generator, n: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a mediocre model, and the true classes."""
    truth = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 1.0
    exponents = np.exp(logits)
    return exponents / exponents.sum(1, keepdims=True), truth


@pytest.mark.parametrize("rate", RATES)
def test_split_sets_cover_new_patients_as_promised(rate: float) -> None:
    """The mean coverage over many calibrations lies between 1 - rate and 1 - rate + 1 / (n + 1)."""
    rng, n, covered = np.random.default_rng(0), 30, []
    for _ in range(400):
        probabilities, truth = made_up(rng, n + 50)
        true_scores = 1 - probabilities[np.arange(n + 50), truth]
        sets = prediction_sets(probabilities[n:], split_threshold(true_scores[:n], rate))
        covered.append(sets[np.arange(50), truth[n:]].mean())
    standard_error = np.std(covered) / math.sqrt(len(covered))
    assert 1 - rate - 3 * standard_error <= np.mean(covered) <= 1 - rate + 1 / (n + 1) + 3 * standard_error


def test_all_studies_of_a_patient_are_covered_when_each_counts_with_the_worst() -> None:
    rng, n, studies, rate, covered = np.random.default_rng(1), 25, 4, 0.2, []
    for _ in range(300):
        probabilities, truth = made_up(rng, (n + 20) * studies)
        probabilities = probabilities ** np.repeat(rng.uniform(0.2, 2, n + 20), studies)[:, None]  # patients differ
        probabilities /= probabilities.sum(1, keepdims=True)
        scores = 1 - probabilities[np.arange(len(truth)), truth]
        names = [f"p{i:03d}" for i in np.repeat(np.arange(n + 20), studies)]
        threshold = split_threshold(worst_by_patient(scores[: n * studies], names[: n * studies]), rate)
        covered.append((worst_by_patient(scores[n * studies :], names[n * studies :]) <= threshold).mean())
    assert np.mean(covered) >= 1 - rate - 3 * np.std(covered) / math.sqrt(len(covered))


@pytest.mark.parametrize("rate", RATES)
def test_cross_conformal_sets_of_one_model_cover_as_split_ones(rate: float) -> None:
    """Where all folds have the same model, cross-conformal prediction is full calibration on all of them."""
    rng, covered = np.random.default_rng(2), []
    for _ in range(300):
        probabilities, truth = made_up(rng, 70)
        scores = 1 - probabilities[np.arange(70), truth]
        folds = [scores[k * 10 : k * 10 + 10] for k in range(4)]
        sets = cross_conformal_sets(folds, [probabilities[40:]] * 4, rate)
        covered.append(sets[np.arange(30), truth[40:]].mean())
    assert np.mean(covered) >= 1 - rate - 3 * np.std(covered) / math.sqrt(len(covered))


def test_too_few_patients_leave_nothing_out() -> None:
    assert math.isinf(split_threshold(np.array([0.1, 0.2]), 0.1))
    assert prediction_sets(np.array([0.9, 0.1]), None).tolist() == [True, True]
    assert cross_conformal_sets([np.array([0.1])], [np.array([[0.99, 0.01]])], 0.1).tolist() == [[True, True]]


def test_nine_patients_are_enough_for_one_in_ten() -> None:
    scores = np.arange(9) / 10
    assert split_threshold(scores, 0.1) == pytest.approx(0.8)
    assert math.isinf(split_threshold(scores[:8], 0.1))


def test_a_set_may_be_empty_and_only_grows_with_the_threshold() -> None:
    probabilities = np.array([0.4, 0.35, 0.25])
    sizes = [int(prediction_sets(probabilities, t).sum()) for t in (0.5, 0.62, 0.7, 0.8)]
    assert sizes == [0, 1, 2, 3]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_error_rates_outside_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        split_threshold(np.array([0.1]), rate)


def test_scores_that_are_no_numbers_and_folds_that_do_not_match_are_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        split_threshold(np.array([0.1, np.nan]), 0.1)
    with pytest.raises(InputError, match="folds"):
        cross_conformal_sets([], [], 0.1)
    with pytest.raises(InputError, match="2 folds have scores, 1"):
        cross_conformal_sets([np.zeros(1)] * 2, [np.zeros((1, 2))], 0.1)

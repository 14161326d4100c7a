# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from scipy.special import softmax

from lib.classification.calibration import Calibration, calibrate, calibration_error, fit_temperature
from lib.types import InputError


def drawn(seed: int, n: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``sharpness`` times too sure, and classes drawn from what the right ones say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n, 4))
    classes = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    return logits * sharpness, classes


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_and_lowers_the_error(sharpness: float) -> None:
    logits, classes = drawn(0, 4000, sharpness)
    temperature = fit_temperature(logits, classes)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    before, after = (calibration_error(softmax(logits / t, axis=1), classes) for t in (1.0, temperature))
    assert after < 0.03
    assert after <= before + 0.005


def test_a_temperature_never_changes_the_first_class() -> None:
    logits, _ = drawn(1, 50, 2.0)
    assert (Calibration(7.0).probabilities(logits).argmax(1) == logits.argmax(1)).all()


def test_patients_count_once_however_many_studies_they_have() -> None:
    logits, classes = drawn(2, 40, 3.0)
    patients = [f"p{i}" for i in range(40)]
    alone = calibrate(logits, classes, patients, 0.2)
    many = np.concatenate([np.arange(40), np.zeros(500, int)])  # the first patient comes back 500 times
    again = calibrate(logits[many], classes[many], [patients[i] for i in many], 0.2)
    assert again.temperature == pytest.approx(alone.temperature)
    assert again.threshold == pytest.approx(alone.threshold)
    assert again.patients == alone.patients == 40


def test_few_patients_leave_the_set_open() -> None:
    logits, classes = drawn(3, 5, 1.0)
    calibration = calibrate(logits, classes, list("abcde"), 0.1)
    assert calibration.threshold is None
    assert calibration.patients == 5


def test_json_there_and_back() -> None:
    logits, classes = drawn(4, 60, 2.0)
    calibration = calibrate(logits, classes, [str(i) for i in range(60)], 0.1, "folds")
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
    assert Calibration.from_json(None) == Calibration()


@pytest.mark.parametrize("data", [{"temperature": 1}, {"temperature": "hot"}, [1, 2]])
def test_a_broken_header_is_named(data: object) -> None:
    with pytest.raises(InputError, match="calibration in the weights' header"):
        Calibration.from_json(data)  # type: ignore[arg-type]


def test_what_cannot_calibrate_is_refused() -> None:
    with pytest.raises(InputError, match="a row per study"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(InputError, match="a row per study"):
        calibration_error(np.zeros((2, 3)), np.zeros(3, int))
    with pytest.raises(InputError, match="not a number"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))

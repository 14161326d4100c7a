# SPDX-License-Identifier: Apache-2.0
"""The class of a lesion from its voxels: one class for what touches, probabilities, and what cannot be left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.classification.calibration import Calibration
from lib.classification.lesions import class_answer, class_map, found_lesions, lesion_logits, voxel_shares
from lib.configs import load_config
from lib.findings.lesions import find_lesions
from lib.prediction.predictor import FrameBox, Prediction
from lib.types import Finding, InputError, Sequence, SequenceKind, Source

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("solid", "ground_glass")


def nodule(core: float = 0.9, halo: float = 0.8) -> np.ndarray:
    """Ground glass (class 1) with a solid core (class 0) on three frames."""
    probability = np.full((5, 2, 24, 24), 0.01, np.float32)
    probability[1:4, 1, 4:16, 4:16] = halo
    probability[1:4, 0, 8:11, 8:11], probability[1:4, 1, 8:11, 8:11] = core, 0.05
    return probability


def config_for(task: str = "segmentation", **inference: object):
    config = load_config(CONFIGS / f"mr_lesion_{task}.yaml")
    settings = replace(config.inference, min_volume_ml=0.0, **inference)
    return replace(config, labels={name: i for i, name in enumerate(NAMES, 1)}, inference=settings)


def sequence_for(probability: np.ndarray) -> Sequence:
    t, _, h, w = probability.shape
    return Sequence(np.ones((t, 1, h, w)), SequenceKind.STACK, tuple(map(float, range(t))), (1.0, 1.0), np.eye(4))


def prediction_of(probability: np.ndarray, boxes=None, calibration: Calibration | None = None) -> Prediction:
    empty = tuple(() for _ in probability)
    presence = np.ones(len(probability), np.float32)
    return Prediction(probability, boxes or empty, presence, None, None, None, calibration or Calibration())


def find(probability: np.ndarray, calibration: Calibration | None = None, **inference: object):
    prediction = prediction_of(probability, calibration=calibration)
    return find_lesions(prediction, sequence_for(probability), config_for(**inference), Source())


@pytest.mark.parametrize("seed", range(4))
def test_shares_sum_to_one_and_keep_the_order_of_the_classes(seed: int) -> None:
    probability = np.random.default_rng(seed).random((3, 50))
    shares = voxel_shares(probability)
    np.testing.assert_allclose(shares.sum(0), 1)
    np.testing.assert_array_equal(shares.argmax(0), probability.argmax(0))
    assert np.exp(lesion_logits(probability)).sum() == pytest.approx(1)
    assert np.isfinite(voxel_shares(np.array([[0.0, 1.0], [0.0, 1.0]]))).all()


def test_a_lesion_of_two_densities_is_one_finding_with_one_class() -> None:
    labelmap, (finding,) = find(nodule())
    assert finding.label == "ground_glass"
    assert set(np.unique(labelmap[2, 4:16, 4:16])) == {2}
    assert sum(finding.class_probabilities.values()) == pytest.approx(1)
    # 9 of 144 pixels are core: odds 9 to 1/19; the others 1/99 to 4
    core, halo = 9 / (9 + 1 / 19), (1 / 99) / (1 / 99 + 4)
    expected = (9 * core + 135 * halo) / 144
    assert finding.class_probabilities["solid"] == pytest.approx(expected, abs=1e-4)
    assert finding.possible_labels == ()


def test_two_lesions_that_do_not_touch_keep_their_classes() -> None:
    probability = np.zeros((3, 2, 20, 20), np.float32)
    probability[1, 0, 2:6, 2:6], probability[1, 1, 12:16, 12:16] = 0.9, 0.8
    labelmap, found = find(probability)
    assert [finding.label for finding in found] == ["solid", "ground_glass"]
    assert (labelmap[1, 3, 3], labelmap[1, 13, 13]) == (1, 2)


def test_parts_of_a_lesion_stay_findings_where_the_labels_are_parts() -> None:
    labelmap, found = find(nodule(), class_of="pixel")
    assert {finding.label for finding in found} == set(NAMES)
    assert (labelmap[2, 9, 9], labelmap[2, 5, 5]) == (1, 2)
    assert not any(finding.class_probabilities for finding in found)


def test_the_score_is_that_of_a_lesion_whatever_its_class() -> None:
    _, (finding,) = find(nodule(core=0.81, halo=0.81))
    assert finding.score == pytest.approx(0.9)


def test_a_calibration_changes_how_sure_the_class_is_and_says_what_is_possible() -> None:
    _, (plain,) = find(nodule())
    sharp = Calibration(temperature=2.0, threshold=0.5, error_rate=0.1, patients=20)
    _, (soft,) = find(nodule(), sharp)
    assert soft.label == plain.label
    assert soft.class_probabilities["ground_glass"] < plain.class_probabilities["ground_glass"]
    assert soft.possible_labels == ("ground_glass",)
    _, (unsure,) = find(nodule(), replace(sharp, threshold=0.99))
    assert unsure.possible_labels == NAMES
    _, (few,) = find(nodule(), replace(sharp, threshold=None))
    assert few.possible_labels == NAMES, "too few patients: nothing can be left out"
    strict = class_answer(np.log([0.4, 0.6]), NAMES, replace(sharp, temperature=1.0, threshold=0.1))
    assert strict[1] == ("ground_glass",), "the most probable class always stays"


def test_one_class_says_nothing_of_classes_and_its_json_is_as_small_as_before() -> None:
    config = replace(config_for(), labels={"lesion": 1})
    probability = nodule()[:, 1:]
    _, (finding,) = find_lesions(prediction_of(probability), sequence_for(probability), config, Source())
    assert not finding.class_probabilities
    assert not {"class_probabilities", "possible_labels"} & set(finding.to_json())


def test_what_is_told_of_the_class_survives_json() -> None:
    calibration = Calibration(temperature=2.0, threshold=0.99, patients=20)
    _, (finding,) = find(nodule(), calibration)
    data = finding.to_json()
    assert data["possible_labels"] == list(NAMES)
    again = Finding.from_json(data)
    assert again.possible_labels == NAMES
    assert again.class_probabilities == pytest.approx(finding.class_probabilities, abs=1e-4)
    with pytest.raises(InputError, match="finite"):
        Finding.from_json({**data, "class_probabilities": {"solid": float("nan")}})


def test_boxes_have_the_class_that_all_of_them_speak_for() -> None:
    box = (4.0, 4.0, 12.0, 12.0)
    scores = [(0.7, 0.6), (0.5, 0.1), (0.6, 0.55)]
    boxes = tuple((FrameBox(box, 0, first, (first, second)),) for first, second in scores)
    probability = np.zeros((3, 2, 24, 24), np.float32)
    prediction = prediction_of(probability, boxes)
    (finding,) = find_lesions(prediction, sequence_for(probability), config_for("detection"), Source())[1]
    assert finding.label == "solid"
    expected = voxel_shares(np.array(scores).T).mean(1)
    assert list(finding.class_probabilities.values()) == pytest.approx(expected.tolist())


def test_class_map_of_one_class_is_the_threshold() -> None:
    probability = np.array([0.2, 0.5, 0.51]).reshape(1, 1, 1, 3)
    assert class_map(probability, 0.5).ravel().tolist() == [0, 0, 1]
    assert not class_map(np.zeros((2, 3, 4, 4)), 0.5).any()


def test_found_lesions_have_the_class_of_most_of_what_they_cover() -> None:
    probability = nodule()
    truth = np.zeros(probability.shape, np.uint8)
    truth[1:4, 1, 4:16, 4:16] = 1
    probability[4, 0, 20:23, 20:23] = 0.9  # false
    logits, classes = found_lesions(probability, truth, 0.5)
    assert classes.tolist() == [1]
    assert logits.shape == (1, 2)
    nothing = found_lesions(np.zeros_like(probability), truth, 0.5)
    assert nothing[0].shape == (0, 2)
    assert len(nothing[1]) == 0

# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.configs import InferenceConfig, load_config
from lib.evaluation.candidates import (
    faint_mask,
    mask_lesions,
    predicted_frame_boxes,
    predicted_lesions,
    predicted_mask,
    true_frame_boxes,
    true_lesions,
)
from lib.findings.lesions import find_lesions
from lib.phantom import head_stack
from lib.prediction.predictor import FrameBox, Prediction
from lib.transforms.geometry import VolumeGeometry
from lib.types import Sequence, SequenceKind, Source

CONFIGS = Path(__file__).parents[2] / "configs"


def config_for(task, **inference):
    config = load_config(CONFIGS / f"mr_lesion_{task}.yaml")
    return replace(config, inference=replace(config.inference, min_volume_ml=0.0, **inference))


def sequence_for(shape, affine=None):
    frames, height, width = shape
    geometry = VolumeGeometry.from_affine(np.eye(4) if affine is None else affine, (width, height, frames))
    image = np.random.default_rng(0).normal(size=(frames, 1, height, width))
    return Sequence(image, SequenceKind.STACK, tuple(map(float, range(frames))), (1.0, 1.0), geometry.affine_lps)


def prediction_of(probability, boxes=None, presence=None):
    presence = np.ones(len(probability), np.float32) if presence is None else np.array(presence, np.float32)
    boxes = tuple(() for _ in probability) if boxes is None else boxes
    return Prediction(probability, boxes, presence, None, None)


@pytest.fixture(scope="module")
def phantom():
    return head_stack(5, n_frames=10, size=96, spacing_mm=(2.0, 2.0, 8.0), n_lesions=3)


def test_true_lesions_of_a_phantom(phantom):
    found = true_lesions(phantom.mask[:, None].astype(bool))
    expected = set()
    for lesion in phantom.lesions:
        x0, y0, x1, y1 = zip(*lesion.frame_boxes.values(), strict=True)
        expected.add((min(x0), min(y0), min(lesion.frame_boxes), max(x1), max(y1), max(lesion.frame_boxes) + 1))
    assert {tuple(map(int, box)) for box in found.boxes} == expected
    assert (found.scores == 1).all()


def test_diagonal_pixels_are_one_component_and_parts_of_a_frame_are_two():
    truth = np.zeros((2, 1, 8, 8), bool)
    truth[0, 0, [1, 2], [1, 2]] = True  # touch at a corner
    truth[0, 0, 6, 1:4] = True
    truth[1, 0, 3, 3] = True  # touches the first one at a corner in space
    frames = true_frame_boxes(truth)
    assert frames[0].boxes.tolist() == [[1, 1, 3, 3], [1, 6, 4, 7]]
    assert frames[1].boxes.tolist() == [[3, 3, 4, 4]]
    assert true_lesions(truth).boxes.tolist() == [[1, 1, 0, 4, 4, 2], [1, 6, 0, 4, 7, 1]]


def test_an_empty_mask_has_no_boxes_but_their_shape():
    empty = np.zeros((2, 1, 8, 8), bool)
    assert [frame.boxes.shape for frame in true_frame_boxes(empty)] == [(0, 4), (0, 4)]
    assert true_lesions(empty).boxes.shape == (0, 6)


def test_each_pixel_belongs_to_its_most_probable_class():
    probability = np.zeros((1, 2, 1, 3))
    probability[0, :, 0] = [[0.6, 0.9, 0.2], [0.8, 0.7, 0.3]]
    by_pixel = predicted_mask(probability, InferenceConfig(class_of="pixel"))
    assert by_pixel[0, :, 0].tolist() == [[False, True, False], [True, False, False]]
    whole = predicted_mask(probability, InferenceConfig())  # they touch: odds .9 / .7 speak louder than .6 / .8
    assert whole[0, :, 0].tolist() == [[True, True, False], [False, False, False]]


def test_a_lesion_of_several_classes_is_one_candidate_with_the_score_of_its_finding():
    probability = np.zeros((3, 2, 20, 20), np.float32)
    probability[1, 0, 2:10, 2:10] = 0.8
    probability[1, 1, 4:6, 4:6] = 0.9  # a core
    probability[1, 0, 4:6, 4:6] = 0.3
    probability[1, 1, 14:18, 14:18] = 0.2  # faint
    config = replace(config_for("segmentation"), labels={"halo": 1, "core": 2})
    prediction, sequence = prediction_of(probability), sequence_for((3, 20, 20))
    _, findings = find_lesions(prediction, sequence, config, Source())
    found = predicted_lesions(prediction, findings, sequence, config)
    assert found.boxes.tolist() == [[2, 2, 1, 10, 10, 2], [14, 14, 1, 18, 18, 2]]
    assert found.classes.tolist() == [0, 1]
    assert found.scores[0] == pytest.approx(findings[0].score)
    parts = replace(config, inference=replace(config.inference, class_of="pixel"))
    assert len(find_lesions(prediction, sequence, parts, Source())[1]) == 2


def test_faint_components_do_not_touch_the_mask():
    probability = np.zeros((1, 1, 6, 12), np.float32)
    probability[0, 0, 1, 1:4] = [0.3, 0.9, 0.3]  # the halo of a lesion
    probability[0, 0, 4, 8:10] = 0.2
    mask = predicted_mask(probability, InferenceConfig())
    assert np.argwhere(faint_mask(mask, probability, InferenceConfig())).tolist() == [[0, 0, 4, 8], [0, 0, 4, 9]]


def test_segmentation_scores_are_those_of_the_findings(phantom):
    rng = np.random.default_rng(1)
    probability = (phantom.mask * rng.uniform(0.6, 1.0, phantom.mask.shape))[:, None].astype(np.float32)
    prediction = prediction_of(probability, presence=np.linspace(0.3, 0.9, len(probability)))
    config = config_for("segmentation", score_threshold=0.0)
    _, findings = find_lesions(prediction, sequence_for(phantom.mask.shape), config, Source())
    candidates = predicted_lesions(prediction, findings, sequence_for(phantom.mask.shape), config)
    assert sorted(candidates.scores) == pytest.approx(sorted(f.score for f in findings))


def test_faint_lesions_continue_the_list_of_a_segmentation_model():
    probability = np.zeros((3, 1, 20, 20), np.float32)
    probability[1, 0, 2:6, 2:6] = 0.9
    probability[1, 0, 12:16, 12:16] = 0.2
    config = config_for("segmentation")
    found = predicted_lesions(prediction_of(probability), [], sequence_for((3, 20, 20)), config)
    assert found.boxes.tolist() == [[2, 2, 1, 6, 6, 2], [12, 12, 1, 16, 16, 2]]
    assert found.scores[0] > found.scores[1] > 0
    assert len(mask_lesions(probability > 0.5, probability, np.ones(3)).scores) == 1


def test_faint_lesions_continue_the_list_of_a_detection_model():
    here, there, below = (2.0, 2.0, 8.0, 8.0), (12.0, 12.0, 18.0, 18.0), (3.0, 2.0, 8.0, 9.0)
    boxes = (
        (FrameBox(below, 0, 0.1),),  # would be linked to the lesion on the next frame: must not widen it
        (FrameBox(here, 0, 0.9), FrameBox(there, 0, 0.2)),
        (FrameBox(here, 0, 0.8), FrameBox(there, 0, 0.1)),
    )
    prediction = prediction_of(np.zeros((3, 1, 20, 20), np.float32), boxes)
    config, sequence = config_for("detection", score_threshold=0.3), sequence_for((3, 20, 20))
    _, findings = find_lesions(prediction, sequence, config, Source())
    found = predicted_lesions(prediction, findings, sequence, config)
    assert found.boxes.tolist() == [[2, 2, 1, 8, 8, 3], [12, 12, 1, 18, 18, 3]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.2])
    assert [len(frame.scores) for frame in predicted_frame_boxes(prediction, config)] == [1, 2, 2]

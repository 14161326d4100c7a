# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.configs import load_config
from lib.findings.lesions import MAX_COMPONENTS, find_lesions
from lib.phantom import head_stack
from lib.prediction.predictor import FrameBox, Prediction
from lib.transforms.geometry import VolumeGeometry
from lib.types import Sequence, SequenceKind, Source

CONFIGS = Path(__file__).parents[2] / "configs"
SOURCE = Source("mr", "v0001", "abc")


def config_for(task, labels=None, **thresholds):
    config = load_config(CONFIGS / f"mr_lesion_{task}.yaml")
    inference = replace(config.inference, **{"min_volume_ml": 0.0, **thresholds})
    return replace(config, inference=inference, labels=labels or config.labels)


def sequence_of(image, affine_ras=None, kind=SequenceKind.STACK):
    frames, height, width = image.shape
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if affine_ras is None else affine_ras
    geometry = VolumeGeometry.from_affine(affine, (width, height, frames))
    return Sequence(
        image[:, None].astype(np.float32),
        kind,
        geometry.positions_mm(frames),
        geometry.spacing_mm[:2],
        geometry.affine_lps,
    )


def prediction_of(mask, boxes=None, presence=None):
    mask = mask.astype(np.float32)
    boxes = tuple(() for _ in mask) if boxes is None else boxes
    presence = mask.max(axis=(1, 2, 3)) if presence is None else np.asarray(presence, np.float32)
    return Prediction(mask, boxes, presence, None, None)


def blob(shape=(8, 40, 40), where=(slice(2, 5), slice(10, 20), slice(12, 24)), probability=0.9):
    mask = np.zeros(shape, np.float32)
    mask[where] = probability
    return mask


@pytest.fixture(scope="module")
def phantom():
    return head_stack(11, n_frames=14, size=(120, 144), spacing_mm=(1.5, 1.7, 6.0), n_lesions=4)


def test_phantom_lesions_come_back_exactly(phantom):
    sequence = sequence_of(phantom.image, phantom.affine)
    labelmap, found = find_lesions(prediction_of(phantom.mask[:, None]), sequence, config_for("segmentation"), SOURCE)
    np.testing.assert_array_equal(labelmap, phantom.mask)
    assert [f.id for f in found] == [1, 2, 3, 4]
    by_center = {tuple(np.round(f.center_lps_mm, 2)): f for f in found}
    for truth in phantom.lesions:
        lesion = by_center[tuple(np.round(truth.center_lps_mm, 2))]
        assert lesion.measurements["volume"].value == pytest.approx(truth.volume_mm3 / 1000, abs=1e-4)
        assert lesion.boxes == truth.frame_boxes
        assert lesion.box_lps_mm == pytest.approx(truth.box_lps_mm)
        inside = phantom.image[phantom.instances == truth.id]
        assert lesion.measurements["mean_intensity"].value == pytest.approx(inside.mean(), abs=1e-2)
        assert lesion.score == 1.0
        assert lesion.frame_scores == dict.fromkeys(truth.frame_boxes, 1.0)
        assert (lesion.label, lesion.source) == ("lesion", SOURCE)


def test_nothing_found_is_a_normal_result():
    image = np.zeros((5, 32, 32))
    empty = prediction_of(np.zeros((5, 1, 32, 32)))
    labelmap, found = find_lesions(empty, sequence_of(image), config_for("segmentation"), SOURCE)
    assert found == []
    assert labelmap.shape == (5, 32, 32)
    assert not labelmap.any()
    assert find_lesions(empty, sequence_of(image), config_for("detection"), SOURCE) == (None, [])


def test_small_and_unsure_lesions_are_left_out_of_both_results():
    small = blob(where=(slice(0, 1), slice(2, 4), slice(2, 4)))
    unsure = blob(where=(slice(6, 8), slice(28, 38), slice(28, 38)), probability=0.55)
    mask = blob() + small + unsure
    config = config_for("segmentation", min_volume_ml=0.1, score_threshold=0.6)
    labelmap, found = find_lesions(prediction_of(mask[:, None]), sequence_of(mask), config, SOURCE)
    assert len(found) == 1
    np.testing.assert_array_equal(labelmap, blob() > 0)


def test_a_lesion_of_exactly_the_smallest_volume_is_kept():
    mask = blob()
    config = config_for("segmentation", min_volume_ml=float((mask > 0).sum()) / 1000)
    assert len(find_lesions(prediction_of(mask[:, None]), sequence_of(mask), config, SOURCE)[1]) == 1


def test_parts_that_touch_at_a_corner_are_one_lesion():
    mask = np.zeros((4, 16, 16))
    mask[1, 4:8, 4:8] = mask[2, 8:12, 8:12] = 1
    _, found = find_lesions(prediction_of(mask[:, None]), sequence_of(mask), config_for("segmentation"), SOURCE)
    assert [f.boxes for f in found] == [{1: (4, 4, 8, 8), 2: (8, 8, 12, 12)}]


def test_each_pixel_goes_to_its_most_probable_class():
    masks = np.stack([blob(probability=0.9), blob(where=(slice(2, 5), slice(10, 15), slice(12, 24)))], axis=1)
    masks[:, 1] *= 1.1
    config = config_for("segmentation", labels={"core": 1, "edema": 2}, class_of="pixel")
    labelmap, found = find_lesions(prediction_of(masks), sequence_of(masks[:, 0]), config, SOURCE)
    assert {f.label for f in found} == {"core", "edema"}
    assert all(not f.class_probabilities and not f.possible_labels for f in found)
    assert (labelmap[3, 12, 14], labelmap[3, 18, 14]) == (2, 1)


def test_the_score_grows_with_mask_and_presence():
    def score(probability, presence):
        mask = blob(probability=probability)
        prediction = prediction_of(mask[:, None], presence=np.full(8, presence))
        return find_lesions(prediction, sequence_of(mask), config_for("segmentation"), SOURCE)[1][0].score

    assert score(0.81, 0.81) == pytest.approx(0.81)
    assert score(0.9, 0.81) > score(0.81, 0.81)
    assert score(0.81, 0.9) > score(0.81, 0.81)


def test_frames_have_their_own_scores():
    mask = blob()
    presence = [0, 0, 0.4, 0.9, 0.6, 0, 0, 0]
    _, found = find_lesions(
        prediction_of(mask[:, None], presence=presence), sequence_of(mask), config_for("segmentation"), SOURCE
    )
    assert found[0].frame_scores == pytest.approx({2: 0.36**0.5, 3: 0.9, 4: 0.54**0.5}, abs=1e-6)
    assert found[0].score == pytest.approx(0.9)


def test_a_clip_has_no_volume_and_keeps_small_lesions():
    mask = blob()
    config = config_for("segmentation", min_volume_ml=1000.0)
    _, found = find_lesions(prediction_of(mask[:, None]), sequence_of(mask, kind=SequenceKind.CINE), config, SOURCE)
    assert len(found) == 1
    assert "volume" not in found[0].measurements


def test_noise_gives_a_bounded_number_of_lesions():
    mask = (np.random.default_rng(0).random((6, 96, 96)) > 0.97).astype(np.float32)
    _, found = find_lesions(prediction_of(mask[:, None]), sequence_of(mask), config_for("segmentation"), SOURCE)
    assert len(found) == MAX_COMPONENTS


def boxes_by_frame(n_frames, *lesions):
    """Each lesion is {frame: (box, class index, score)}."""
    frames = [[] for _ in range(n_frames)]
    for lesion in lesions:
        for t, (box, class_index, score) in lesion.items():
            frames[t].append(FrameBox(box, class_index, score))
    return tuple(tuple(frame) for frame in frames)


def detect(boxes, affine=None, presence=None, **thresholds):
    image = np.zeros((len(boxes), 40, 50), np.float32)
    labels = {"lesion": 1, "cyst": 2}
    presence = np.ones(len(boxes)) if presence is None else presence
    prediction = prediction_of(image[:, None], boxes, presence)
    return find_lesions(
        prediction, sequence_of(image, affine), config_for("detection", labels=labels, **thresholds), SOURCE
    )[1]


def test_phantom_boxes_become_the_phantoms_lesions(phantom):
    lesions = [{t: (tuple(map(float, b)), 0, 0.9) for t, b in le.frame_boxes.items()} for le in phantom.lesions]
    sequence = sequence_of(phantom.image, phantom.affine)
    prediction = prediction_of(np.zeros_like(phantom.mask)[:, None], boxes_by_frame(14, *lesions), np.ones(14))
    config = config_for("detection")
    _, found = find_lesions(prediction, sequence, config, SOURCE)
    np.testing.assert_allclose(sorted(f.box_lps_mm for f in found), sorted(le.box_lps_mm for le in phantom.lesions))


def test_boxes_are_linked_per_class_and_sorted_by_score():
    first = {t: ((5.0, 5.0, 15.0, 15.0), 0, 0.4 + 0.1 * t) for t in range(3)}
    second = {t: ((6.0, 6.0, 16.0, 16.0), 1, 0.9) for t in range(1, 4)}
    found = detect(boxes_by_frame(5, first, second))
    assert [(f.id, f.label, f.score, sorted(f.boxes)) for f in found] == [
        (1, "cyst", 0.9, [1, 2, 3]),
        (2, "lesion", pytest.approx(0.6), [0, 1, 2]),
    ]
    assert found[1].frame_scores == pytest.approx({0: 0.4, 1: 0.5, 2: 0.6})


def test_boxes_have_sizes_and_places_in_mm():
    affine = np.diag([-2.0, -3.0, 5.0, 1.0])
    affine[:3, 3] = 100, 50, -20
    found = detect(boxes_by_frame(4, {t: ((5.0, 4.0, 15.0, 9.0), 0, 0.8) for t in (1, 2)}), affine)
    size = {name: (m.value, m.unit) for name, m in found[0].measurements.items()}
    assert size == {"width": (20.0, "mm"), "height": (15.0, "mm"), "depth": (10.0, "mm")}
    low, high = np.array(found[0].box_lps_mm[:3]), np.array(found[0].box_lps_mm[3:])
    assert high - low == pytest.approx([20, 15, 10])
    assert found[0].center_lps_mm == pytest.approx(-np.array([100, 50, 0]) + [2 * 9.5, 3 * 6, -20 + 5 * 1.5])


def test_boxes_without_size_score_or_presence_are_left_out():
    lesions = [
        {0: ((5.0, 5.0, 5.0, 15.0), 0, 0.9)},
        {1: ((5.0, 5.0, 15.0, 15.0), 0, 0.2)},
        {2: ((5.0, 5.0, 15.0, 15.0), 0, 0.9)},
    ]
    boxes = boxes_by_frame(3, *lesions)
    assert [sorted(f.boxes) for f in detect(boxes)] == [[2]]
    assert detect(boxes, presence=np.zeros(3), presence_threshold=0.1) == []

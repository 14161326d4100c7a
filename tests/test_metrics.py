# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import stats

from lib.metrics import (
    ScoredBoxes,
    average_precision,
    bootstrap_ci,
    froc,
    match_boxes,
    mean_ci,
    paired_bootstrap,
    slice_auc,
    volume_dice,
)


def boxes(*rows, dimensions=2):
    return ScoredBoxes.of(rows, dimensions)


def square(x, score=1.0, label=0, size=10):
    return (x, 0, x + size, size), label, score


def cube(x, score=1.0):
    return (x, 0, 0, x + 10, 10, 3), 0, score


def volume(*rows):
    return boxes(*rows, dimensions=3)


def masks(*voxels, shape=(3, 1, 4, 4)):
    mask = np.zeros(shape, bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


@pytest.mark.parametrize(
    ("pred", "truth", "dice"),
    [
        (masks((0, 0, 1, 1), (1, 0, 1, 1)), masks((1, 0, 1, 1), (2, 0, 1, 1)), 0.5),
        (masks((0, 0, 1, 1)), masks((0, 0, 1, 1)), 1.0),
        (masks((0, 0, 1, 1)), masks(), 0.0),
        (masks(), masks((0, 0, 1, 1)), 0.0),
        (masks(), masks(), 1.0),
    ],
)
def test_volume_dice(pred, truth, dice):
    assert volume_dice(pred, truth) == pytest.approx(dice)


def test_volume_dice_is_the_mean_over_classes():
    shape = (3, 2, 4, 4)
    pred, truth = masks((0, 0, 1, 1), (0, 1, 2, 2), shape=shape), masks((0, 0, 1, 1), (1, 1, 2, 2), shape=shape)
    assert volume_dice(pred, truth) == pytest.approx(0.5)


def test_slice_auc_counts_ordered_pairs():
    # pairs (lesion, none): (.8, .1) (.8, .4) (.3, .1) are in order, (.3, .4) is not
    assert slice_auc(np.array([0.1, 0.4, 0.3, 0.8]), np.array([False, False, True, True])) == pytest.approx(0.75)


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_slice_auc_of_one_class_is_undefined(truth):
    assert slice_auc(np.array([0.2, 0.9]), np.array(truth)) is None


def test_average_precision_by_hand():
    truth = boxes(square(0), square(100), square(200))
    pred = boxes(square(0, 0.9), square(50, 0.8), square(100, 0.7))
    matches = match_boxes([pred], [truth], [0.5])
    # precision 1 up to recall 1/3 (34 of the 101 recalls), 2/3 up to 2/3 (33), 0 beyond
    assert average_precision([matches], 0) == pytest.approx((34 + 33 * 2 / 3) / 101)


def all_point_ap(scores, hits, n_true):
    """Area under the non-increasing precision curve, exact."""
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hits[order])
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    return float(np.sum(np.diff(true, prepend=0) * precision) / n_true)


def test_average_precision_agrees_with_the_exact_area():
    rng = np.random.default_rng(3)
    pred, truth, hits, scores = [], [], [], []
    for _ in range(60):
        here = rng.random(4) < 0.6
        found = rng.random(4) < 0.7
        score = np.where(here, rng.beta(4, 2, 4), rng.beta(2, 4, 4)).astype(np.float32)
        truth.append(boxes(*(square(100 * i) for i in np.flatnonzero(here))))
        pred.append(boxes(*(square(100 * i, score[i]) for i in np.flatnonzero(found))))
        hits.extend(here[found])
        scores.extend(score[found])
    n_true = sum(len(t.scores) for t in truth)
    split = [match_boxes(pred[:20], truth[:20], [0.5]), match_boxes(pred[20:], truth[20:], [0.5])]
    exact = all_point_ap(np.array(scores), np.array(hits), n_true)
    assert 0.3 < exact < 0.9
    assert average_precision(split, 0) == pytest.approx(exact, abs=0.01)


def test_iou_decides_what_is_a_hit():
    matches = match_boxes([boxes(square(5, 0.9))], [boxes(square(0))], [0.1, 0.3, 0.5])  # IoU 50 / 150
    assert [average_precision([matches], i) for i in range(3)] == [1.0, 1.0, 0.0]


def test_a_true_box_is_hit_once_and_by_its_class_only():
    twice = match_boxes([boxes(square(0, 0.9), square(1, 0.8))], [boxes(square(0))], [0.3])
    assert twice[0]["dtMatches"].tolist() == [[1, 0]]
    other = match_boxes([boxes(square(0, 0.9, label=1))], [boxes(square(0, label=0))], [0.3])
    assert average_precision([other], 0) == 0.0


def test_boxes_match_on_their_own_frame_only():
    nothing = boxes()
    matches = match_boxes([boxes(square(0, 0.9)), nothing], [nothing, boxes(square(0))], [0.3])
    assert average_precision([matches], 0) == 0.0


def test_average_precision_is_the_mean_over_classes_with_true_boxes():
    pred = boxes(square(0, 0.9, label=0), square(50, 0.9, label=2))
    truth = boxes(square(0, label=0), square(100, label=1))
    assert average_precision([match_boxes([pred], [truth], [0.3])], 0) == pytest.approx(0.5)


def test_average_precision_without_true_boxes_is_undefined():
    assert average_precision([match_boxes([boxes(square(0, 0.5))], [boxes()], [0.3])], 0) is None
    assert average_precision([match_boxes([boxes()], [boxes()], [0.3])], 0) is None


def lesion_matches(pred, truth):
    return match_boxes([volume(*pred)], [volume(*truth)], [0.1])


def test_froc_by_hand():
    first = lesion_matches([cube(0, 0.9), cube(50, 0.8)], [cube(0)])
    second = lesion_matches([cube(0, 0.3)], [cube(0)])
    # sensitivity 1/2 up to half a false positive per volume, then 1
    assert froc([first, second]) == pytest.approx((2 * 0.5 + 5 * 1.0) / 7)


def test_froc_counts_the_candidate_with_the_lowest_score():
    assert froc([lesion_matches([cube(0, 0.4)], [cube(0)])]) == 1.0
    assert froc([lesion_matches([cube(0, 0.9), cube(50, 0.4)], [cube(0), cube(50)])]) == 1.0


def test_froc_of_many_candidates_is_read_off_the_whole_curve():
    rng = np.random.default_rng(5)
    cases = []
    for _ in range(3):
        scores = rng.random(80).round(2)  # with ties
        cases.append(lesion_matches([cube(50 * i, s) for i, s in enumerate(scores)], [cube(50 * i) for i in range(6)]))
    hit = np.concatenate([case[0]["dtMatches"][0] for case in cases]).astype(bool)
    scores = np.concatenate([case[0]["dtScores"] for case in cases])
    thresholds = np.unique(scores)[::-1]
    rates = [(scores[~hit] >= t).sum() / 3 for t in thresholds]
    sensitivities = [(scores[hit] >= t).sum() / 18 for t in thresholds]
    assert max(rates) > 20
    whole = np.interp([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], [0, *rates], [0, *sensitivities]).mean()
    assert froc(cases) == pytest.approx(whole)


def test_froc_limits():
    assert froc([lesion_matches([], [cube(0)])]) == 0.0
    assert froc([lesion_matches([cube(0, 0.9)], [])]) is None
    assert froc([lesion_matches([], [])]) is None


def test_froc_counts_volumes_without_a_lesion():
    hit, noise = lesion_matches([cube(0, 0.5)], [cube(0)]), lesion_matches([cube(0, 0.9)], [])
    # the false positive outranks the hit: sensitivity 0 below half a false positive per volume, then 1
    assert froc([hit, noise]) == pytest.approx(5 / 7)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(0).normal(0.7, 0.1, 30)
    reference = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    low, high = mean_ci(values)
    assert low == pytest.approx(reference.confidence_interval.low, abs=0.005)
    assert high == pytest.approx(reference.confidence_interval.high, abs=0.005)
    assert mean_ci(values) == (low, high)


def test_bootstrap_leaves_out_undefined_resamples():
    assert bootstrap_ci(1, lambda index: 1.0) is None
    assert bootstrap_ci(3, lambda index: None) is None
    low, high = bootstrap_ci(3, lambda index: float(index.mean()) if 0 in index else None, resamples=200)
    assert 0 <= low < high < 2


def test_paired_bootstrap_sees_what_unpaired_spread_hides():
    rng = np.random.default_rng(2)
    hard = rng.normal(0.6, 0.2, 20)  # patients differ far more than the models
    better = hard + rng.normal(0.02, 0.01, 20)
    difference = paired_bootstrap(better, hard)
    assert difference.mean == pytest.approx(float(np.mean(better - hard)))
    assert 0 < difference.ci95[0] < difference.mean < difference.ci95[1] < 0.04


def test_paired_bootstrap_needs_pairs():
    with pytest.raises(ValueError, match="paired"):
        paired_bootstrap(np.ones(3), np.ones(2))

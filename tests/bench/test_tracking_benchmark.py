# SPDX-License-Identifier: Apache-2.0
"""Small versions of `lesionloop bench tracking` and `lesionloop bench growth`."""

import numpy as np
import pytest

from lib.followup.spread import SIDES
from monailabel_app.bench import growth, tracking


@pytest.fixture(scope="module")
def truth() -> tuple[tracking.Tracked, tuple[int, int]]:
    return tracking.clip(0, 1, 30)


def test_trackeval_gives_what_its_papers_define():
    """One lesion on 4 frames, found exactly under two names: A = 1/2 in HOTA = sqrt(D A), IDF1 = 2*2 / (4 + 4)."""
    box = (0.0, 0.0, 10.0, 10.0)
    lesion = [{0: box} for _ in range(4)]
    assert tracking.score(lesion, lesion) == pytest.approx((1.0, 1.0, 1.0))
    named_twice = [{t // 2: box} for t in range(4)]
    assert tracking.score(lesion, named_twice) == pytest.approx((np.sqrt(0.5), 0.5, 2.0))
    assert tracking.score(lesion, [{}] * 4) == (0.0, 0.0, 0.0)
    assert tracking.score([{}], [{}]) == (0.0, 0.0, 0.0)


def test_exact_boxes_of_a_phantom_clip_are_one_lesion(truth):
    exact = tracking.BoxNoise(0.0, 0.0, 0.0)
    found, owners = tracking.noisy(*truth, exact, np.random.default_rng(0))
    assert {owner for frame in owners for owner in frame} == {0}
    linked = tracking.linked(found)
    assert tracking.score(truth[0], linked[tracking.BATCH])[0] > 0.95
    assert tracking.score(truth[0], linked[tracking.CAUSAL])[1] > 0.85  # until it is confirmed nothing is told


def test_noisy_boxes_keep_their_identity_nearly_as_well_as_the_boxes_allow():
    scores = tracking.benchmark_tracking(range(2), n_lesions=1, n_frames=40)
    ceiling = scores[tracking.TRUE].means
    for name in (tracking.BATCH, tracking.CAUSAL):
        hota, idf1, tracks = scores[name].means
        assert 0.8 * ceiling[0] < hota <= ceiling[0]
        assert 0.8 * ceiling[1] < idf1 <= ceiling[1] + 1e-9
        assert tracks < 2
    table = tracking.tracking_table(scores, "x")
    assert table.row_count == len(scores)


def test_growth_of_a_phantom_is_measured_and_its_direction_named():
    scores = growth.benchmark_growth(range(1), n_lesions=1)
    assert set(scores) == set(growth.BORDERS)
    true, ragged = scores["true masks"], scores["ragged by a voxel"]
    assert len(true.linked) == 1
    assert len(true.direction_right) == len(SIDES)
    for score in (true, ragged):
        assert score.summary["linked"] == 1
        assert score.summary["within10"] == 1
        assert score.summary["direction_right"] == 1
    assert true.summary["ratio_error_abs"] < 0.03  # a phantom's volumes have the asked ratio within 3%
    assert growth.growth_table(scores).row_count == len(scores)

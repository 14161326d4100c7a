# SPDX-License-Identifier: Apache-2.0
"""Does memory help where only memory can? Lesions stay over frames, distractors look the same on one frame only.

A detector that sees single frames cannot tell them apart: more than half of what it finds is a distractor.
"""

import numpy as np
import pytest

from lib.phantom.toy import ToySettings, toy_sequence
from lib.trainers.arms import CNN_ONLY, MEMORY_ARMS, chosen_arms
from lib.trainers.scoring import box_ap
from monailabel_app.bench.toy import ToySize, run_toy

SEEDS = range(20)


def test_the_lesion_is_in_one_run_of_frames_and_in_one_place():
    settings = ToySettings()
    for seed in SEEDS:
        lesion = toy_sequence(seed).lesion
        there = np.flatnonzero(lesion.any(axis=(1, 2)))
        assert settings.lesion_frames[0] <= len(there) <= settings.lesion_frames[1]
        assert np.array_equal(there, np.arange(there[0], there[-1] + 1))
        assert all((lesion[t] & lesion[t + 1]).any() for t in there[:-1])


def test_no_distractor_goes_on_and_none_touches_the_lesion():
    for seed in SEEDS:
        one = toy_sequence(seed)
        for t in range(len(one.image) - 1):
            assert not (one.distractors[t] & one.distractors[t + 1]).any()
            assert not (one.distractors[t] & one.lesion[t + 1]).any()
        assert not (one.distractors & one.lesion).any()


def test_on_a_single_frame_lesions_and_distractors_are_alike():
    many = [toy_sequence(seed) for seed in range(150)]
    for kind in (lambda one: one.image[one.lesion], lambda one: one.image[one.distractors]):
        assert np.concatenate([kind(one) for one in many]).mean() == pytest.approx(2.0, abs=0.02)
    areas = [np.array([getattr(one, kind).sum() for one in many]) for kind in ("lesion", "distractors")]
    lesion_frames = sum(one.lesion.any(axis=(1, 2)).sum() for one in many)
    assert areas[0].sum() / lesion_frames == pytest.approx(areas[1].sum() / (8 * len(many)), rel=0.05)


def test_the_seed_decides():
    assert np.array_equal(toy_sequence(3).image, toy_sequence(3).image)
    assert not np.array_equal(toy_sequence(3).image, toy_sequence(4).image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ToySettings(lesion_frames=(4, 9)), "lesion_frames"),
        (ToySettings(distractors=17), "distractors"),
        (ToySettings(size_px=12), "size_px"),
        (ToySettings(size_px=20, distractors=16), "no room"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        toy_sequence(0, settings)


@pytest.mark.slow
def test_memory_tells_lesions_from_single_frame_distractors_and_a_frame_only_network_does_not():
    size = ToySize(test=30)
    (recurrent,) = chosen_arms(["ConvGRU"], MEMORY_ARMS)
    frame_only, with_memory = (box_ap(run_toy(arm, 0, size).scores) for arm in (CNN_ONLY, recurrent))
    assert frame_only < 0.65
    assert with_memory > frame_only + 0.25

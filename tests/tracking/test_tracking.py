# SPDX-License-Identifier: Apache-2.0
import pytest

from lib.tracking import link_boxes


def box(x, y, size=10.0):
    return (x, y, x + size, y + size)


def test_a_drifting_box_is_one_track():
    frames = [[box(2.0 * t, 5)] for t in range(6)]
    assert link_boxes(frames, 0.5) == [{t: 0 for t in range(6)}]


def test_two_lesions_stay_apart_whatever_the_order_within_a_frame():
    left, right = box(0, 0), box(40, 0)
    frames = [[left, right], [right, left], [left, right]]
    assert link_boxes(frames, 0.5) == [{0: 0, 1: 1, 2: 0}, {0: 1, 1: 0, 2: 1}]


def test_the_greatest_total_overlap_wins():
    # Greedy matching would give frame 1's first box to the track at 0 and leave the other track alone.
    frames = [[box(0, 0), box(4, 0)], [box(1, 0), box(-3, 0)]]
    assert link_boxes(frames, 0.5) == [{0: 0, 1: 1}, {0: 1, 1: 0}]


@pytest.mark.parametrize(("missed", "tracks"), [(1, 1), (2, 2)])
def test_one_missed_frame_is_bridged_and_two_are_not(missed, tracks):
    frames = [[box(0, 0)], *[[] for _ in range(missed)], [box(1, 1)]]
    assert len(link_boxes(frames, 0.5)) == tracks


def test_too_little_overlap_starts_a_new_track():
    frames = [[box(0, 0)], [box(9, 0)]]  # a tenth of either
    assert link_boxes(frames, 0.5) == [{0: 0}, {1: 0}]
    assert link_boxes(frames, 0.05) == [{0: 0, 1: 0}]


def test_the_tip_of_a_lesion_belongs_to_it():
    assert link_boxes([[box(0, 0, 40)], [box(20, 20, 1)]], 0.5) == [{0: 0, 1: 0}]


@pytest.mark.parametrize("frames", [[], [[]], [[], [], []]])
def test_no_boxes_give_no_tracks(frames):
    assert link_boxes(frames, 0.5) == []


def test_every_box_is_in_exactly_one_track():
    frames = [[box(x * 7 + t * 3, (x * t) % 11) for x in range(5)] for t in range(12)]
    tracks = link_boxes(frames, 0.5)
    members = sorted((t, i) for track in tracks for t, i in track.items())
    assert members == [(t, i) for t in range(12) for i in range(5)]

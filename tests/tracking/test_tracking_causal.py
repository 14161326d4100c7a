# SPDX-License-Identifier: Apache-2.0
import dataclasses
import pickle

import numpy as np
import pytest

from lib.tracking import CausalTracker, Detections, TrackerRules, TrackEventKind, link_frames
from lib.types import InputError

EMPTY = Detections(())
AT_ONCE = TrackerRules(confirm_hits=1)


def box(x, y, width=20.0, height=20.0):
    return (x, y, x + width, y + height)


def frames_of(*paths):
    """One frame per step; a path has a box or None per step."""
    return [Detections([b for b in step if b is not None]) for step in zip(*paths, strict=True)]


def ids_of(frames, rules=AT_ONCE):
    tracker = CausalTracker(rules)
    return [tracker.update(frame).ids for frame in frames]


def kinds(linking):
    return [(event.kind, event.track, event.frame) for event in linking.events]


def test_a_track_is_told_from_the_frame_that_confirms_it():
    tracker = CausalTracker(TrackerRules(confirm_hits=3))
    updates = [tracker.update(Detections([box(t, 0)])) for t in range(5)]
    assert [u.ids for u in updates] == [(None,), (None,), (1,), (1,), (1,)]
    assert [u.candidates for u in updates] == [(1,)] * 5
    assert [u.started for u in updates] == [(), (), (1,), (), ()]


def test_boxes_that_appear_once_are_never_told():
    rng = np.random.default_rng(0)
    tracker = CausalTracker(TrackerRules(confirm_hits=3))
    for t in range(40):
        assert tracker.update(Detections([box(100 * (t % 7), float(rng.uniform(0, 900)))])).ids == (None,)
    assert tracker.n_live <= 2


@pytest.mark.parametrize(("missed", "same"), [(0, True), (1, True), (3, True), (4, False)])
def test_a_gap_is_bridged_up_to_its_limit_and_the_end_is_told(missed, same):
    tracker = CausalTracker(TrackerRules(confirm_hits=1, max_gap=3))
    tracker.update(Detections([box(0, 0)]))
    ended = [tracker.update(EMPTY).ended for _ in range(missed)]
    assert (tracker.update(Detections([box(1, 1)])).ids == (1,)) is same
    assert ended == [()] * min(missed, 3) + [(1,)] * (not same)


def test_an_unsure_detection_goes_on_with_a_track_and_starts_none():
    tracker = CausalTracker(TrackerRules(confirm_hits=2))
    for score, id_ in ((0.9, None), (0.3, 1), (0.2, 1), (0.05, None)):
        assert tracker.update(Detections([box(0, 0)], [score])).ids == (id_,)
    assert CausalTracker(AT_ONCE).update(Detections([box(0, 0)], [0.3])).candidates == (None,)


def test_a_small_sure_box_inside_does_not_take_a_lesion_away():
    frames = [Detections([box(0, 0, 90, 60)], [0.9]), Detections([box(1, 0, 90, 60), box(5, 5, 20, 12)], [0.4, 0.7])]
    assert ids_of(frames) == [(1,), (1, 2)]


def test_a_fast_lesion_without_overlap_is_followed_by_nearness_only_where_asked():
    frames = [Detections([box(0, 0)]), Detections([box(21, 0)])]
    assert ids_of(frames, TrackerRules(confirm_hits=1, max_distance=1.0)) == [(1,), (1,)]
    assert ids_of(frames, TrackerRules(confirm_hits=1, max_distance=0.0)) == [(1,), (2,)]


def test_embeddings_tell_crossing_lesions_apart():
    """Two lesions change places between two frames: by overlap alone each would get the other's id."""
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    first = Detections([box(0, 0), box(8, 0)], embeddings=np.stack([one, other]))
    second = Detections([box(0, 0), box(8, 0)], embeddings=np.stack([other, one]))
    assert ids_of([first, second]) == [(1, 2), (2, 1)]
    plain = [dataclasses.replace(frame, embeddings=None) for frame in (first, second)]
    assert ids_of(plain) == [(1, 2), (1, 2)]


def test_an_embedding_survives_frames_without_one():
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    frames = [Detections([box(0, 0)], embeddings=one), Detections([box(0, 0)])]
    assert ids_of([*frames, Detections([box(0, 0)], embeddings=one)]) == [(1,)] * 3
    assert ids_of([*frames, Detections([box(0, 0)], embeddings=other)]) == [(1,), (1,), (2,)]


def test_masks_tell_apart_what_boxes_cannot():
    """Two diagonal stripes have one box; only their pixels say which is which."""
    down = np.eye(20, dtype=bool)
    masks = np.stack([down, down[::-1]])
    boxes = [box(0, 0), box(0, 0)]
    assert ids_of([Detections(boxes, masks=masks), Detections(boxes, masks=masks[::-1])]) == [(1, 2), (2, 1)]


def test_what_is_said_of_a_frame_does_not_depend_on_later_ones():
    rng = np.random.default_rng(3)
    frames = [
        Detections([box(*rng.uniform(0, 60, 2)) for _ in range(n)], rng.uniform(0, 1, n).tolist())
        for n in rng.integers(0, 6, 40)
    ]
    whole = ids_of(frames, TrackerRules())
    for length in (1, 13, 39):
        assert ids_of(frames[:length], TrackerRules()) == whole[:length]


@pytest.mark.parametrize("seed", range(5))
def test_no_two_detections_of_a_frame_have_one_id_and_tracks_agree_with_the_stream(seed):
    rng = np.random.default_rng(seed)
    frames = [
        Detections([box(*rng.uniform(0, 80, 2)) for _ in range(n)], rng.uniform(0, 1, n).tolist())
        for n in rng.integers(0, 8, 30)
    ]
    streamed = ids_of(frames, TrackerRules())
    for ids in streamed:
        told = [i for i in ids if i is not None]
        assert len(told) == len(set(told))
    tracks = link_frames(frames).tracks
    members = [(t, i) for track in tracks for t, i in track.items()]
    assert len(members) == len(set(members))
    # The batch has every detection that the stream told, under one track per id, and those before the confirmation.
    owner = {member: k for k, track in enumerate(tracks) for member in track.items()}
    pairs = {(i, owner[t, n]) for t, ids in enumerate(streamed) for n, i in enumerate(ids) if i is not None}
    assert len({i for i, _ in pairs}) == len(pairs) == len({k for _, k in pairs}) == len(tracks)


def test_a_long_stream_needs_no_more_memory_than_a_short_one():
    tracker, sizes = CausalTracker(AT_ONCE), []
    for frames in (10, 200):
        for _ in range(frames):
            tracker.update(Detections([box(0, 0), box(100, 0)], [0.9, 0.8], np.eye(2)))
        sizes.append(len(pickle.dumps(tracker)))
    assert tracker.n_live == 2
    assert abs(sizes[1] - sizes[0]) < 16  # the counts take a byte or two more


def test_births_deaths_and_gaps_of_a_clip():
    always = [box(t, 0) for t in range(12)]
    between = [box(200, 0) if 3 <= t <= 8 and t != 5 else None for t in range(12)]
    linking = link_frames(frames_of(always, between))
    assert [sorted(track) for track in linking.tracks] == [list(range(12)), [3, 4, 6, 7, 8]]
    assert kinds(linking) == [
        (TrackEventKind.BIRTH, 1, 3),
        (TrackEventKind.GAP, 1, 5),
        (TrackEventKind.DEATH, 1, 8),
    ]
    assert linking.events[1].frames == 1


@pytest.mark.parametrize("backwards", [False, True])
def test_lesions_merge_and_split(backwards):
    """Two that come together into one; backwards in time one that falls apart."""
    left = [box(0, 0, 40, 30)] * 5 + [box(0, 0, 70, 30)] * 5
    right = [box(45, 0, 20, 30)] * 5 + [None] * 5
    frames = frames_of(left, right)
    linking = link_frames(frames[::-1] if backwards else frames)
    assert len(linking.tracks) == 2
    (event,) = linking.events
    assert event.kind is (TrackEventKind.SPLIT if backwards else TrackEventKind.MERGE)
    assert (event.track, event.frame, event.other) == (1, 5 if backwards else 4, 0)


def test_a_lesion_that_ends_beside_another_has_not_merged():
    linking = link_frames(frames_of([box(0, 0)] * 8, [box(30, 0)] * 4 + [None] * 4))
    assert kinds(linking) == [(TrackEventKind.DEATH, 1, 3)]


@pytest.mark.parametrize("frames", [[], [EMPTY], [EMPTY] * 3, [Detections([box(0, 0)])]])
def test_clips_with_nothing_to_follow_have_no_tracks(frames):
    linking = link_frames(frames)
    assert (linking.tracks, linking.events) == ((), ())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"boxes": [(0, 0, 1)]}, "four numbers"),
        ({"boxes": [(0, 0, float("nan"), 1)]}, "finite"),
        ({"boxes": [(5, 0, 1, 1)]}, "x0 not above x1"),
        ({"boxes": [box(0, 0)], "scores": [0.1, 0.2]}, "1 boxes need as many finite scores"),
        ({"boxes": [box(0, 0)], "scores": [float("nan")]}, "finite scores"),
        ({"boxes": [box(0, 0)], "embeddings": np.zeros(4)}, r"embeddings of shape \(1, D\)"),
        ({"boxes": [box(0, 0)], "embeddings": np.full((1, 2), np.inf)}, "embeddings must be finite"),
        ({"boxes": [box(0, 0)], "masks": np.ones((2, 4, 4), bool)}, "masks of shape"),
    ],
)
def test_detections_that_do_not_fit_together_are_refused(parts, message):
    with pytest.raises(InputError, match=message):
        Detections(**parts)


def test_frames_that_do_not_fit_together_are_refused():
    tracker = CausalTracker()
    tracker.update(Detections([box(0, 0)], embeddings=np.ones((1, 3))))
    with pytest.raises(InputError, match="one length; got 3 and 2"):
        tracker.update(Detections([box(0, 0)], embeddings=np.ones((1, 2))))


@pytest.mark.parametrize(
    "rules", [{"min_iou": 0.0}, {"unsure_score": 0.8}, {"confirm_hits": 0}, {"max_gap": -1}, {"memory": 1.0}]
)
def test_rules_that_cannot_hold_are_refused(rules):
    with pytest.raises(InputError):
        TrackerRules(**rules)

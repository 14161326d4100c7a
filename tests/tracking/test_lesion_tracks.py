# SPDX-License-Identifier: Apache-2.0
"""Findings over the frames: which are one lesion, and what becomes of it."""

import json

import numpy as np
import pytest

from lib.findings.lesions import find_lesions
from lib.phantom import cine
from lib.prediction.predictor import FrameBox, Prediction
from lib.tracking import TrackEventKind, part_events
from lib.tracking.lesion_tracks import Outline, tracks_of, with_tracks
from lib.types import Finding, Sequence, SequenceKind, Source
from tests.findings.test_findings import boxes_by_frame, config_for, prediction_of, sequence_of


def finding(number, boxes, label="lesion"):
    return Finding(number, label, 0.9, {t: tuple(map(float, box)) for t, box in boxes.items()}, (0.0,) * 6, (0.0,) * 3)


def still(frames, x=0, size=10):
    return {t: (x, 0, x + size, size) for t in frames}


def events_of(track):
    return [(event.kind.value, event.frame) for event in track.events]


def test_on_slices_every_finding_is_a_lesion_numbered_from_the_first_slice():
    findings = [finding(1, still(range(4, 6))), finding(2, still(range(0, 3), 30)), finding(3, still(range(4, 7), 60))]
    tracked = with_tracks(findings, SequenceKind.STACK, 8)
    assert [f.track_id for f in tracked] == [2, 1, 3]
    assert [f.id for f in tracked] == [1, 2, 3]
    tracks = tracks_of(tracked, 8)
    assert [(t.id, t.findings, t.frames) for t in tracks] == [
        (1, (2,), (0, 1, 2)),
        (2, (1,), (4, 5)),
        (3, (3,), (4, 5, 6)),
    ]
    assert [events_of(t) for t in tracks] == [
        [("death", 2)],
        [("birth", 4), ("death", 5)],
        [("birth", 4), ("death", 6)],
    ]


def test_in_a_clip_a_lesion_that_vanishes_for_some_frames_or_changes_its_class_is_one():
    findings = [
        finding(1, still(range(0, 5))),
        finding(2, still(range(7, 12))),
        finding(3, still(range(12, 14)), "cyst"),
        finding(4, still(range(0, 14), 50)),
    ]
    tracked = with_tracks(findings, SequenceKind.CINE, 14)
    assert [f.track_id for f in tracked] == [1, 1, 1, 2]
    one, other = tracks_of(tracked, 14)
    assert one.findings == (1, 2, 3)
    assert one.to_json() == {
        "id": 1,
        "findings": [1, 2, 3],
        "first_frame": 0,
        "last_frame": 13,
        "n_frames": 12,
        "events": [{"kind": "gap", "frame": 5, "frames": 2}],
    }
    assert other.events == ()


def test_findings_that_share_a_frame_are_never_one_lesion():
    findings = [finding(1, still(range(0, 4))), finding(2, still(range(3, 8), 2))]
    tracked = with_tracks(findings, SequenceKind.CINE, 8)
    assert len({f.track_id for f in tracked}) == 2


def test_a_box_that_ends_inside_another_has_merged_with_it():
    small = {t: (20 + 4 * t, 0, 30 + 4 * t, 10) for t in range(4)}
    large = {t: (44, 0, 84, 40) for t in range(4)} | {t: (20, 0, 84, 40) for t in range(4, 8)}
    tracked = with_tracks([finding(1, large), finding(2, small)], SequenceKind.STACK, 8)
    tracks = {t.findings[0]: t for t in tracks_of(tracked, 8)}
    (event,) = tracks[2].events
    assert (event.kind, event.other) == (TrackEventKind.MERGE, tracks[1].id)
    outlines = [Outline(number, np.ones((4, 2, 2), bool), 0) for number in (1, 2)]
    assert all(e.other is None for t in tracks_of(tracked, 8, outlines) for e in t.events), "outlines never touch"


def test_parts_of_an_outline_split_and_come_together():
    mask = np.zeros((5, 12, 30), bool)
    mask[0, 2:10, 2:28] = mask[4, 2:10, 2:28] = True
    mask[1:4, 2:10, 2:10] = mask[1:4, 2:10, 20:28] = True
    events = part_events(mask, first_frame=7, track=3)
    assert [(e.kind.value, e.frame, e.parts, e.track) for e in events] == [("split", 8, 2, 3), ("merge", 10, 2, 3)]
    backwards = part_events(mask[::-1], first_frame=7)
    assert [(e.kind.value, e.frame) for e in backwards] == [("split", 8), ("merge", 10)]


def test_specks_beside_an_outline_and_gaps_in_it_are_no_parts():
    mask = np.zeros((4, 20, 20), bool)
    mask[:, 2:14, 2:14] = True
    mask[2, 14, 15] = mask[3, 17, 17] = True
    assert part_events(mask) == []
    mask[1] = False
    assert part_events(mask) == []
    assert part_events(mask[:1]) == []


def test_part_events_are_told_of_their_lesion():
    mask = np.ones((3, 8, 24), bool)
    mask[1:, :, 8:16] = False
    tracked = with_tracks([finding(4, {t: (0, 0, 24, 8) for t in (2, 3, 4)})], SequenceKind.STACK, 5)
    (track,) = tracks_of(tracked, 5, [Outline(4, mask, 2)])
    assert [event["kind"] for event in track.to_json()["events"]] == ["birth", "split"]
    assert track.to_json()["events"][1] == {"kind": "split", "frame": 3, "parts": 2}
    json.dumps(track.to_json(), allow_nan=False)


@pytest.mark.parametrize("kind", [SequenceKind.STACK, SequenceKind.CINE])
def test_nothing_found_gives_no_tracks(kind):
    assert with_tracks([], kind, 5) == []
    assert tracks_of([], 5) == []
    assert tracks_of([], 0, []) == []


def detect_clip(boxes, kind=SequenceKind.CINE, **thresholds):
    image = np.zeros((len(boxes), 40, 60), np.float32)
    prediction = prediction_of(image[:, None], boxes, np.ones(len(boxes)))
    config = config_for("detection", score_threshold=0.5, **thresholds)
    return find_lesions(prediction, sequence_of(image, kind=kind), config, Source())[1]


def test_in_a_clip_a_lesion_that_fades_is_kept_and_noise_is_none():
    lesion = {t: ((5.0 + t, 5.0, 15.0 + t, 15.0), 0, 0.2 if t in (4, 5) else 0.9) for t in range(12) if t != 8}
    noise = {6: ((40.0, 20.0, 50.0, 30.0), 0, 0.9)}
    boxes = boxes_by_frame(12, lesion, noise)
    (found,) = detect_clip(boxes)
    assert sorted(found.boxes) == [t for t in range(12) if t != 8]
    assert found.frame_scores[4] == pytest.approx(0.2)
    assert found.score == pytest.approx(0.9)
    assert len(detect_clip(boxes, SequenceKind.STACK)) == 3, "slices are linked as before"


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_short_clips_keep_what_is_on_all_their_frames(n_frames):
    lesion = {t: ((5.0, 5.0, 15.0, 15.0), 0, 0.9) for t in range(n_frames)}
    (found,) = detect_clip(boxes_by_frame(n_frames, lesion))
    assert len(found.boxes) == n_frames


def test_noisy_boxes_of_a_phantom_clip_are_fewer_lesions_when_linked_as_a_clip():
    rng = np.random.default_rng(4)
    clip = cine(3, n_frames=48, size=(96, 96))
    frames = []
    for t in range(48):
        boxes = []
        if t in clip.boxes and rng.random() > 0.15:
            x0, y0, x1, y1 = clip.boxes[t]
            dx, dy = rng.normal(0, 0.08 * (x1 - x0)), rng.normal(0, 0.08 * (y1 - y0))
            boxes.append(FrameBox((x0 + dx, y0 + dy, x1 + dx, y1 + dy), 0, 0.8))
        if rng.random() < 0.5:
            x, y = rng.uniform(0, 80, 2)
            boxes.append(FrameBox((x, y, x + 12, y + 12), 0, 0.6))
        frames.append(tuple(boxes))
    image = np.zeros((48, 96, 96), np.float32)
    prediction = Prediction(image[:, None], tuple(frames), np.ones(48, np.float32), None, None)
    counts = {}
    for kind in (SequenceKind.CINE, SequenceKind.STACK):
        sequence = Sequence(image[:, None], kind, tuple(map(float, range(48))), (1.0, 1.0), np.eye(4))
        config = config_for("detection", score_threshold=0.5)
        counts[kind] = len(find_lesions(prediction, sequence, config, Source())[1])
    assert 1 <= counts[SequenceKind.CINE] <= 3
    assert counts[SequenceKind.STACK] > 3 * counts[SequenceKind.CINE]

# SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lib.findings.measure import measure_mask
from lib.followup import Beginning, Change, Ending, Response, VisitFindings, follow_visits, recist_response, trend_of
from lib.followup.growth import Size
from lib.followup.spread import SIDES
from lib.phantom import head_visits
from lib.transforms.registration import resample_to
from lib.types import Box, Finding, InputError, Sequence, SequenceKind

SHAPE = (20, 60, 60)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
EMPTY = np.zeros(SHAPE, np.uint8)


def stack(instances: np.ndarray, affine_lps: np.ndarray = AFFINE) -> Sequence:
    steps = np.linalg.norm(affine_lps[:3, :3], axis=0)
    return Sequence(
        frames=instances[:, None].astype(np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(float(t * steps[2]) for t in range(len(instances))),
        spacing_mm=(float(steps[0]), float(steps[1])),
        affine_lps=affine_lps,
    )


def visit(instances: np.ndarray, affine_lps: np.ndarray = AFFINE, labels: dict[int, str] | None = None):
    sequence = stack(instances, affine_lps)
    findings = []
    for value in np.unique(instances[instances > 0]).tolist():
        mask = instances == value
        boxes: dict[int, Box] = {}
        for t in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
            rows, columns = np.flatnonzero(mask[t].any(axis=1)), np.flatnonzero(mask[t].any(axis=0))
            boxes[t] = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        measured = measure_mask(mask, sequence.frames[:, 0], sequence.spacing_mm, sequence.voxel_volumes_ml)
        label = (labels or {}).get(value, "lesion")
        findings.append(Finding(value, label, 1.0, boxes, (0.0,) * 6, (0.0,) * 3, measurements=measured))
    return VisitFindings(sequence, tuple(findings), instances)


def balls(*places: tuple[float, float, float, float]) -> np.ndarray:
    """An instance mask with a ball at each (x, y, z) in voxels with a radius in mm, numbered in this order."""
    t, y, x = np.indices(SHAPE)
    mask = EMPTY.copy()
    for number, (x0, y0, z0, radius) in enumerate(places, start=1):
        mask[(x - x0) ** 2 + (y - y0) ** 2 + (2 * (t - z0)) ** 2 <= radius**2] = number
    return mask


def followed(*masks: np.ndarray, days=None, labels=None):
    days = days or [60.0 * k for k in range(len(masks))]
    return follow_visits([visit(mask, labels=labels) for mask in masks], [np.eye(4)] * len(masks), days)


def members(timeline):
    return [{seen.visit: seen.finding.id for seen in track.observations} for track in timeline.tracks]


A, B, C = (15, 15, 6), (45, 20, 12), (25, 45, 10)


def test_phantom_s_lesions_keep_their_identity_over_four_visits_and_their_growth_is_the_true_one():
    days, factors = (0, 60, 120, 240), (1.0, 1.3, 1.7, 2.4)
    phantoms = head_visits(
        7, days, factors, n_frames=26, size=128, spacing_mm=(1.8, 1.8, 5.0), n_lesions=2, new_lesion=True
    )
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ phantoms[0].affine
    timeline = follow_visits([visit(p.instances, affine) for p in phantoms], [np.eye(4)] * 4, days)
    there = [
        {k: lesion.id for k, p in enumerate(phantoms) for lesion in p.lesions if lesion.id == i} for i in (1, 2, 3)
    ]
    assert members(timeline) == there
    assert [track.beginning for track in timeline.tracks] == [Beginning.FIRST_VISIT] * 2 + [Beginning.NEW]
    assert {track.ending for track in timeline.tracks} == {Ending.LAST_VISIT}
    for track in timeline.tracks[:2]:
        assert track.trend.basis == "volume"
        assert track.trend.overall.percent == pytest.approx(140, abs=10)
        low, high = track.trend.doubling_time_95
        slope = np.polyfit(days, np.log(factors), 1)[0]
        assert low < math.log(2) / slope < high
    assert [f.track_id for f in timeline.findings_at(3)] == [1, 2, 3]
    json.dumps(timeline.to_json(), allow_nan=False)


def test_visits_in_other_poses_are_followed_through_their_maps():
    first = balls((*A, 6), (*B, 8))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians(8) * np.array([0.0, 0.6, 0.8])).as_matrix()
    turn[:3, 3] = (4, -3, 5)
    labels = stack(first)
    labels.frames[:] = first[:, None]
    moved = resample_to(stack(np.zeros((30, 70, 70))), labels, turn, labels=True)[:, 0].astype(np.uint8)
    timeline = follow_visits([visit(first), visit(moved)], [np.eye(4), np.linalg.inv(turn)], [0, 90])
    assert members(timeline) == [{0: 1, 1: 1}, {0: 2, 1: 2}]
    for track in timeline.tracks:
        assert track.spread.main is None
        assert max(abs(v) for v in track.spread.center_mm) < 0.5
        assert max(abs(v) for v in track.spread.sides_mm.values()) < 1.0


def test_a_lesion_missing_at_one_visit_is_found_again():
    timeline = followed(balls((*A, 6), (*B, 6)), balls((*A, 6)), balls((*B, 6), (*A, 6)))
    assert members(timeline) == [{0: 1, 1: 1, 2: 2}, {0: 2, 2: 1}]
    assert timeline.tracks[1].ending is Ending.LAST_VISIT


def test_lesions_are_born_and_die():
    timeline = followed(balls((*A, 6)), balls((*A, 6), (*B, 5)), balls((*B, 5)))
    assert members(timeline) == [{0: 1, 1: 1}, {1: 2, 2: 1}]
    assert [t.beginning for t in timeline.tracks] == [Beginning.FIRST_VISIT, Beginning.NEW]
    assert [t.ending for t in timeline.tracks] == [Ending.GONE, Ending.LAST_VISIT]


def test_lesions_merge_and_split_again():
    apart = balls((22, 30, 10, 7), (38, 30, 10, 6))
    together = balls((30, 30, 10, 16))
    merged = followed(apart, together, together)
    assert [t.ending for t in merged.tracks] == [Ending.LAST_VISIT, Ending.MERGED]
    assert merged.tracks[1].merged_into == 1
    split = followed(together, apart)
    assert [t.beginning for t in split.tracks] == [Beginning.FIRST_VISIT, Beginning.SPLIT]
    assert split.tracks[1].split_from == 1
    assert any("may have split" in warning for warning in split.warnings)


def test_a_place_that_was_not_imaged_is_no_death_and_no_birth():
    lesion = balls((*A, 6), (45, 20, 16, 5))
    short = lesion[:12].copy()
    late = follow_visits([visit(short), visit(lesion)], [np.eye(4)] * 2, [0, 30])
    assert [t.beginning for t in late.tracks] == [Beginning.FIRST_VISIT, Beginning.OUTSIDE]
    early = follow_visits([visit(lesion), visit(short), visit(lesion)], [np.eye(4)] * 3, [0, 30, 60])
    assert members(early) == [{0: 1, 1: 1, 2: 1}, {0: 2, 2: 2}]
    assert early.tracks[1].unseen == (1,)
    gone = follow_visits([visit(lesion), visit(short)], [np.eye(4)] * 2, [0, 30])
    assert gone.tracks[1].ending is Ending.OUTSIDE


def test_one_visit_and_visits_without_lesions_are_a_series_too():
    alone = followed(balls((*A, 6)))
    (track,) = alone.tracks
    assert (track.trend.intervals, track.trend.overall, track.trend.growth_frequency, track.spread) == (
        (),
        None,
        None,
        None,
    )
    assert followed(EMPTY, EMPTY).tracks == ()
    json.dumps(alone.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("maps", "days", "message"),
    [
        ([], [], "at least one visit"),
        ([np.eye(4)] * 2, [0], "2 maps and 1 days"),
        ([np.eye(4), np.eye(3)], [0, 1], r"shape \(4, 4\)"),
        ([np.eye(4), np.full((4, 4), np.nan)], [0, 1], "finite affine"),
        ([np.eye(4)] * 2, [5, 1], "order of time"),
        ([np.eye(4)] * 2, [0, math.nan], "order of time"),
    ],
)
def test_parts_that_do_not_fit_are_refused(maps, days, message):
    with pytest.raises(InputError, match=message):
        follow_visits([visit(EMPTY)] * len(maps), maps, days)


@pytest.mark.parametrize("side", SIDES)
def test_a_lesion_that_grows_to_one_side_has_spread_there(side):
    """A ball that is drawn out by 6 mm to one side of the patient: x to Left, y to Posterior, z to Superior."""
    axis, sign = SIDES.index(side) // 2, 1 - 2 * (SIDES.index(side) % 2)
    first = balls((30, 30, 10, 8))
    steps = 3 if axis == 2 else 6
    swept = np.max([np.roll(first, sign * i, 2 - axis) for i in range(steps + 1)], axis=0)
    spread = followed(first, swept).tracks[0].spread
    assert spread.directions == (side,)
    assert spread.sides_mm[side] == pytest.approx(6, abs=1)
    assert spread.center_mm[axis] == pytest.approx(3 * sign, abs=0.5)


def test_a_lesion_that_grows_all_around_has_spread_to_all_sides_and_back_to_none():
    grown = followed(balls((30, 30, 10, 8)), balls((30, 30, 10, 13)))
    assert set(grown.tracks[0].spread.directions) == set(SIDES)
    assert list(grown.tracks[0].spread.sides_mm.values()) == pytest.approx([5] * 6, abs=0.5)
    shrunk = followed(balls((30, 30, 10, 13)), balls((30, 30, 10, 8)))
    assert shrunk.tracks[0].spread.main is None
    assert list(shrunk.tracks[0].spread.sides_mm.values()) == pytest.approx([-5] * 6, abs=0.5)


def sizes(*values: float, uncertainty: float = 0.05, key: str = "volume"):
    return [{key: Size(v, uncertainty * v), "box": Size(10.0, 0.5)} for v in values]


def test_growth_frequency_counts_the_intervals_with_growth():
    trend = trend_of([0, 30, 60, 90, 120], sizes(1.0, 1.5, 1.51, 1.2, 2.0))
    assert [g.change for g in trend.intervals] == [Change.GROWN, Change.STABLE, Change.SHRUNK, Change.GROWN]
    assert trend.growth_frequency == 0.5
    assert trend.overall.percent == pytest.approx(100)
    assert trend.percent_uncertainty == pytest.approx(200 * 0.05 * math.sqrt(2))


@pytest.mark.parametrize(("key", "power"), [("volume", 1), ("long_axis", 3)])
def test_doubling_time_is_that_of_exponential_growth(key, power):
    days = [0, 40, 100, 160]
    trend = trend_of(days, sizes(*(2 ** (d / 80 / power) for d in days), key=key))
    assert trend.doubling_time_days == pytest.approx(80)
    low, high = trend.doubling_time_95
    assert low < 80 < high
    two = trend_of([0, 80], sizes(1.0, 2 ** (1 / power), key=key))
    assert two.doubling_time_days == pytest.approx(two.overall.doubling_time_days)
    halved = trend_of([0, 80], sizes(1.0, 0.5 ** (1 / power), key=key))
    assert halved.doubling_time_days == pytest.approx(-80)


@pytest.mark.parametrize("days", [[0, 0], [0, None], [None, None]])
def test_without_time_there_is_no_doubling_time(days):
    assert trend_of(days, sizes(1.0, 2.0)).doubling_time_days is None


def test_the_range_of_the_doubling_time_holds_the_true_one():
    rng, held = np.random.default_rng(0), []
    days = np.array([0, 60, 120, 180])
    for _ in range(300):
        noisy = 2 ** (days / 100) * np.exp(0.08 * rng.standard_normal(4))
        found = trend_of(days.tolist(), sizes(*noisy.tolist(), uncertainty=0.08)).doubling_time_95
        held.append(found is not None and found[0] <= 100 <= found[1])
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_a_change_that_the_images_cannot_tell_has_no_doubling_time():
    assert trend_of([0, 60], sizes(1.0, 1.05, uncertainty=0.1)).doubling_time_days is None


def responses(*masks, **options):
    return recist_response(followed(*masks), **options).visits


@pytest.mark.parametrize(
    ("radii", "expected"),
    [
        ((10, 10), Response.STABLE),
        ((10, 11), Response.STABLE),  # 2 mm of 20: 10%
        ((10, 13), Response.PROGRESSION),
        ((8, 10), Response.STABLE),  # 25%, but 4 mm
        ((10, 6.5), Response.PARTIAL),
        ((10, 0), Response.COMPLETE),
    ],
)
def test_response_of_one_target(radii, expected):
    masks = [balls((30, 30, 10, radius)) if radius else EMPTY for radius in radii]
    (response,) = responses(*masks)
    assert response.response is expected
    assert expected in response.within_error


def test_progression_is_from_the_nadir_and_not_from_the_baseline():
    course = recist_response(followed(*(balls((30, 30, 10, radius)) for radius in (14, 8, 11))))
    assert [one.response for one in course.visits] == [Response.PARTIAL, Response.PROGRESSION]
    assert course.visits[1].percent_from_baseline < 0
    assert course.visits[1].nadir_mm == course.visits[0].sum_mm
    assert course.progression == 2
    json.dumps(course.to_json(), allow_nan=False)


def test_a_target_that_comes_back_after_complete_response_is_progression():
    visits = responses(balls((30, 30, 10, 8)), EMPTY, balls((30, 30, 10, 4)))
    assert [one.response for one in visits] == [Response.COMPLETE, Response.PROGRESSION]
    assert visits[1].percent_from_nadir is None


def test_a_new_lesion_is_progression_whatever_the_targets_do():
    (response,) = responses(balls((*A, 8)), balls((*A, 4), (*B, 4)))
    assert (response.response, response.new) == (Response.PROGRESSION, (2,))


def test_a_lesion_that_was_not_imaged_before_is_no_progression_and_a_target_that_is_not_imaged_is_not_evaluable():
    lesion = balls((*A, 6), (45, 20, 16, 6))
    short = lesion[:10].copy()
    later = recist_response(follow_visits([visit(short), visit(lesion)], [np.eye(4)] * 2, [0, 30]))
    assert later.visits[0].response is Response.STABLE
    lost = recist_response(follow_visits([visit(lesion), visit(short)], [np.eye(4)] * 2, [0, 30]))
    assert lost.targets == (1, 2)
    assert (lost.visits[0].response, lost.visits[0].unmeasured) == (Response.NOT_EVALUABLE, (2,))


def test_targets_are_the_largest_two_per_organ_and_five_in_all():
    places = [(12 + 18 * (i % 3), 12 + 18 * (i // 3 % 3), 5 + 9 * (i // 9), 5.2 + 0.4 * (i % 4)) for i in range(9)]
    timeline = followed(balls(*places), labels={i: f"organ {i % 4}" for i in range(1, 10)})
    course = recist_response(timeline)
    largest = {t.id: t.observations[0].finding.measurements["long_axis"].value for t in timeline.tracks}
    per_label = [t.observations[0].finding.label for t in timeline.tracks if t.id in course.targets]
    assert len(course.targets) == 5
    assert max(per_label.count(label) for label in per_label) <= 2
    assert max(largest, key=largest.__getitem__) in course.targets
    assert sorted((*course.targets, *course.others)) == list(range(1, 10))
    assert len(recist_response(timeline, organs={f"organ {i}": "liver" for i in range(4)}).targets) == 2


def test_small_lesions_are_no_targets_and_their_response_is_told_without_a_sum():
    small = balls((*A, 4))
    for later, expected in ((small, Response.NOT_COMPLETE), (EMPTY, Response.COMPLETE)):
        (response,) = responses(small, later)
        assert (response.response, response.sum_mm) == (expected, None)
    assert responses(EMPTY, EMPTY)[0].response is Response.NOT_EVALUABLE


def test_a_lesion_that_is_no_target_keeps_a_response_from_being_complete():
    (response,) = responses(balls((*A, 8), (*B, 4)), balls((*B, 4)))
    assert response.response is Response.PARTIAL


def test_lymph_nodes_are_measured_across_and_are_gone_when_normal():
    t, y, x = np.indices(SHAPE)
    long_node = (((x - 30) / 15) ** 2 + ((y - 30) / 6) ** 2 + ((t - 10) / 3) ** 2 <= 1).astype(np.uint8)  # 30 x 12 mm
    as_lesion, as_node = followed(long_node), followed(long_node, labels={1: "node"})
    assert recist_response(as_lesion).targets == (1,)
    assert recist_response(as_node, nodes={"node"}).targets == ()
    thick, normal = balls((30, 30, 10, 9)), balls((30, 30, 10, 4))
    course = recist_response(followed(thick, normal, labels={1: "node"}), nodes={"node"})
    assert course.targets == (1,)
    assert course.visits[0].response is Response.COMPLETE


def test_parts_of_a_target_add_up_and_merged_targets_count_once():
    together, apart = balls((30, 30, 10, 15)), balls((22, 30, 10, 7), (38, 30, 10, 6))
    split = recist_response(followed(together, apart)).visits[0]
    assert split.new == ()
    assert split.sum_mm == pytest.approx(14 + 12, abs=3)
    merged = recist_response(followed(apart, together)).visits[0]
    assert merged.sum_mm == pytest.approx(30, abs=2)


def test_thick_slices_ask_for_larger_targets():
    thick = np.diag([1.0, 1.0, 8.0, 1.0])
    mask = balls((30, 30, 10, 7))  # 14 mm: enough for slices up to 5 mm, not for twice 8 mm
    assert recist_response(followed(mask)).targets == (1,)
    assert recist_response(follow_visits([visit(mask, thick)], [np.eye(4)], [0])).targets == ()


def test_a_reader_chooses_targets_among_the_lesions_of_the_first_visit():
    timeline = followed(balls((*A, 8), (*B, 6)), balls((*A, 8), (*B, 6), (*C, 5)))
    assert recist_response(timeline, targets=[2]).targets == (2,)
    with pytest.raises(InputError, match=r"tracks \[3\] are not lesions of the first visit"):
        recist_response(timeline, targets=[3])

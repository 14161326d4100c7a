# SPDX-License-Identifier: Apache-2.0
"""From findings to what may be said of them."""

import dataclasses

import numpy as np
import pytest

from lib.drafting.earlier import EarlierVisit, History, earlier_visit
from lib.drafting.measured import (
    LESION_FEATURES,
    MOST_DESCRIBED,
    brain_box,
    by_size,
    described,
    frames_of,
    lesion_vectors,
    measured_study,
)
from lib.followup import findings_of_labels, follow_visits
from lib.phantom import head_visits
from lib.text import Change, MeasuredLesion, MeasuredStudy, Side
from lib.trainers.report_studies import sequence_of
from lib.types import Finding, Measurement, Sequence, SequenceKind, Source

BRAIN = (-70.0, -90.0, -60.0, 70.0, 90.0, 70.0)


def finding(number: int, center: tuple[float, float, float], **measured: float) -> Finding:
    units = {"volume": "ml"}
    values = {name: Measurement(value, units.get(name, "mm")) for name, value in measured.items()}
    return Finding(number, "lesion", 0.8, {3: (0, 0, 2, 2), 4: (0, 0, 4, 1)}, (0,) * 6, center, measurements=values)


def test_sides_are_the_patients():
    study = measured_study([finding(1, (30, -70, 30), long_axis=12, short_axis=7, volume=0.4)], BRAIN)
    assert study.lesions == (MeasuredLesion(1, Side.LEFT, "frontal", 12, 7, 0.4),)
    mirrored = measured_study([finding(1, (-30, -70, 30), long_axis=12, short_axis=7, volume=0.4)], BRAIN)
    assert mirrored.lesions[0].side is Side.RIGHT
    assert not study.compared


def test_boxes_have_width_and_height_and_no_volume():
    (lesion,) = measured_study([finding(1, (30, 40, 50), width=8, height=14)], BRAIN).lesions
    assert (lesion.long_mm, lesion.short_mm, lesion.volume_ml) == (14, 8, None)


def test_changes_and_gone_lesions_of_an_earlier_visit():
    earlier = EarlierVisit(91.6, {1: History(Change.GROWN, 40.0, 0.3)}, ((-50.0, 0.0, -30.0),))
    found = [finding(n, (30, -70, 30), long_axis=12, short_axis=7, volume=0.4) for n in (1, 2)]
    study = measured_study(found, BRAIN, earlier)
    assert (study.compared, study.days) == (True, 92)
    assert [one.change for one in study.lesions] == [Change.GROWN, None, Change.GONE]
    assert study.lesions[0].volume_before_ml == 0.3
    assert (study.lesions[2].id, study.lesions[2].side, study.lesions[2].region) == (-1, Side.RIGHT, "temporal")
    assert measured_study(found, BRAIN, EarlierVisit()).days is None


def test_brain_box_of_a_phantom_head_whichever_way_it_is_stored():
    stack = head_visits(4, (0,), (1.0,), n_frames=20, size=160, spacing_mm=(1.4, 1.4, 6.0), n_lesions=1)[0]
    sequence = sequence_of(stack)
    x0, y0, _, x1, y1, _ = brain_box(sequence)
    assert 100 < x1 - x0 < 150
    assert 130 < y1 - y0 < 190
    mirrored = dataclasses.replace(
        sequence, frames=sequence.frames[..., ::-1], affine_lps=sequence.affine_lps @ _mirror(160)
    )
    np.testing.assert_allclose(brain_box(mirrored), brain_box(sequence), atol=3)


def _mirror(width: int) -> np.ndarray:
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = width - 1
    return flip


def test_brain_box_of_an_empty_image_is_the_whole_image():
    empty = Sequence(
        np.zeros((3, 1, 64, 64), np.float32), SequenceKind.STACK, (0, 5, 10), (2.0, 2.0), np.diag([2.0, 2, 5, 1])
    )
    x0, _, z0, x1, _, z1 = brain_box(empty)
    assert x1 - x0 > 90
    assert (z0, z1) == pytest.approx((0.05, 9.95), abs=0.2)


def test_a_visit_pair_of_a_phantom_is_told_as_it_was_made():
    first, second = head_visits(
        12, (0, 120), (1.0, 1.6), n_frames=20, size=160, spacing_mm=(1.4, 1.4, 6.0), n_lesions=2, new_lesion=True
    )
    visits = [findings_of_labels([("lesion", s.mask > 0)], sequence_of(s), Source()) for s in (first, second)]
    forward = earlier_visit(follow_visits(visits, [np.eye(4)] * 2, [0.0, 120.0]), 1, [np.eye(4)] * 2)
    changes = sorted(history.change for history in forward.lesions.values())
    assert (changes, forward.days, forward.gone) == ([Change.GROWN, Change.GROWN, Change.NEW], 120.0, ())
    assert all(h.percent == pytest.approx(60, abs=6) for h in forward.lesions.values() if h.change is Change.GROWN)
    backward = earlier_visit(follow_visits(visits[::-1], [np.eye(4)] * 2, [0.0, 120.0]), 1, [np.eye(4)] * 2)
    new = next(f for f in visits[1].findings if forward.lesions[f.id].change is Change.NEW)
    assert backward.gone == (pytest.approx(new.center_lps_mm),)
    assert {history.change for history in backward.lesions.values()} == {Change.SHRUNK}
    assert earlier_visit(follow_visits(visits, [np.eye(4)] * 2, [0.0, None]), 1, [np.eye(4)] * 2).days is None
    assert earlier_visit(follow_visits(visits[:1], [np.eye(4)], [0.0]), 0, [np.eye(4)]) is None


def test_vectors_have_a_row_for_the_study_and_numbers_of_the_order_of_one():
    lesions = tuple(MeasuredLesion(i, Side.LEFT, "frontal", 2.0 * i, i, 0.1 * i**2) for i in range(1, 12))
    study = MeasuredStudy((*lesions, MeasuredLesion(-1, Side.RIGHT, "insular", change=Change.GONE)), True, 30)
    vectors = lesion_vectors(study)
    assert vectors.shape == (1 + MOST_DESCRIBED + 1, LESION_FEATURES)
    assert np.abs(vectors).max() < 5
    assert [one.id for one in described(study)] == [11, 10, 9, 8, 7, 6, -1]
    assert [len(part) for part in by_size(study)] == [11, 1]
    assert lesion_vectors(MeasuredStudy()).shape == (1, LESION_FEATURES)


def test_another_side_region_size_or_change_is_another_vector():
    base = MeasuredLesion(1, Side.LEFT, "frontal", 20.0, 10.0, 1.0, Change.GROWN, 20.0, 0.8)
    others = [
        dataclasses.replace(base, side=Side.RIGHT),
        dataclasses.replace(base, region="insular"),
        dataclasses.replace(base, long_mm=30.0),
        dataclasses.replace(base, change=Change.STABLE, percent=None),
        dataclasses.replace(base, volume_ml=None),
    ]
    vectors = [lesion_vectors(MeasuredStudy((one,), True))[1].tobytes() for one in (base, *others)]
    assert len(set(vectors)) == len(vectors)


def test_frames_by_their_share_of_the_area():
    assert frames_of(finding(1, (0, 0, 0), long_axis=3)) == {3: 0.5, 4: 0.5}

# SPDX-License-Identifier: Apache-2.0
"""What a timeline says of a finding at a visit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.followup import Change, findings_of_labels, findings_of_mask, growth_at, without_pixels
from lib.types import Source
from tests.followup.test_followup_series import A, B, balls, followed, stack, visit

ERROR_MM = 0.5


def test_growth_is_told_since_the_first_and_the_previous_visit():
    timeline = followed(balls((*A, 4)), balls((*A, 5)), balls((*A, 7), (*B, 5)), days=[0, 100, 300])
    told = growth_at(timeline, 2, ERROR_MM)
    old = told[1]
    assert (old.since_first.visit, old.since_previous.visit) == (0, 1)
    volumes = [(balls((*A, r)) > 0).sum() * 2 / 1000 for r in (4, 5, 7)]
    assert old.since_first.volume.growth.difference == pytest.approx(volumes[2] - volumes[0])
    assert old.since_first.volume.growth.percent == pytest.approx(100 * (volumes[2] / volumes[0] - 1))
    assert old.since_previous.volume.growth.percent == pytest.approx(100 * (volumes[2] / volumes[1] - 1))
    assert old.since_previous.volume.growth.days == 200
    assert old.since_first.diameter.growth.unit == "mm"
    assert old.since_first.diameter.growth.difference == pytest.approx(6, abs=1.1)
    assert old.since_first.volume.percent_uncertainty > 0
    assert set(old.since_first.spread.directions) == {"left", "right", "posterior", "anterior", "superior", "inferior"}
    assert old.trend.growth_frequency == 1.0
    new = told[2]
    assert (new.beginning, new.since_first, new.since_previous) == ("new", None, None)
    json.dumps([one.to_json() for one in told.values()], allow_nan=False)


def test_a_later_visit_does_not_change_what_is_said_of_an_earlier_one():
    masks = balls((*A, 4)), balls((*A, 5)), balls((*A, 9))
    short, long = followed(*masks[:2], days=[0, 100]), followed(*masks, days=[0, 100, 200])
    assert growth_at(long, 1, ERROR_MM)[1].to_json() == growth_at(short, 1, ERROR_MM)[1].to_json()


def test_the_first_visit_and_a_single_one_have_no_growth():
    for timeline in (followed(balls((*A, 4))), followed(balls((*A, 4)), balls((*A, 5)))):
        said = growth_at(timeline, 0, ERROR_MM)[1].to_json()
        assert said["since_first"] is said["since_previous"] is None
        assert said["growth_frequency"] is said["doubling_time_days"] is None
    assert growth_at(followed(balls()), 0, ERROR_MM) == {}


def test_boxes_have_diameters_and_no_volume():
    from lib.followup import follow_visits

    boxed = [replace(visit(balls((*A, r))), instances=None) for r in (4, 7)]
    timeline = follow_visits(boxed, [np.eye(4)] * 2, [0, None])
    said = growth_at(timeline, 1, ERROR_MM)[1]
    assert said.since_first.volume is None
    assert said.since_first.diameter.growth.change is Change.GROWN
    assert said.since_first.diameter.growth.days is None
    assert said.to_json()["doubling_time_days"] is None


def test_pixels_can_go_without_a_change():
    masks = balls((*A, 4)), balls((*A, 6))
    light = [without_pixels(visit(mask)) for mask in masks]
    assert light[0].sequence.frames.strides == (0, 0, 0, 0)
    from lib.followup import follow_visits

    timeline = follow_visits(light, [np.eye(4)] * 2, [0, 60])
    assert timeline.to_json() == followed(*masks, days=[0, 60]).to_json()


def test_masks_and_their_documents_give_the_same_lesions():
    mask = balls((*A, 5), (*B, 4)) > 0
    sequence = stack(mask.astype(np.uint8))
    found = findings_of_labels([("tumour", mask)], sequence, Source(author="Dr. A"))
    runs = {}
    for t in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        pixels = np.flatnonzero(mask[t])
        runs[str(t)] = [int(v) for pixel in pixels for v in (pixel, 1)]
    document = {"parts": [{"label": "tumour", "finding": None, "frames": runs}]}
    same = findings_of_mask(document, sequence, Source(author="Dr. A"))
    assert found.findings == same.findings
    np.testing.assert_array_equal(found.instances, same.instances)
    assert len(found.findings) == 2
    assert findings_of_labels([], sequence, Source()).findings == ()

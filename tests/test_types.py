# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from lib.types import (
    Finding,
    InputError,
    Measurement,
    Report,
    ReportStatus,
    Sentence,
    Sequence,
    SequenceKind,
    Source,
    VolumeSeries,
)
from lib.types.report import Support

FINDING = Finding(
    id=3,
    label="lesion",
    score=0.8125,
    boxes={4: (1.0, 2.5, 3.0, 4.0), 5: (1.0, 2.0, 3.25, 4.0)},
    box_lps_mm=(-10.0, -20.5, 3.0, -8.0, -18.0, 9.0),
    center_lps_mm=(-9.0, -19.0, 6.0),
    frame_scores={4: 0.75, 5: 0.8125},
    measurements={"long_axis": Measurement(12.5, "mm"), "volume": Measurement(1.25, "ml")},
    source=Source(model="mr_lesion", version="2", weights_sha256="ab" * 32, author="Dr. Ä"),
    score_std=0.0625,
    track_id=7,
)
REPORT = Report(
    sections={
        "findings": (
            Sentence("Läsion links, 12 mm.", (3,), 0.875, Support.SUPPORTED),
            Sentence("Unclear.", (), 0.5, Support.UNSUPPORTED),
        ),
        "impression": (),
    },
    status=ReportStatus.SIGNED,
    author="Dr. Ä",
    changed_at="2026-01-02T03:04:05",
)


def stack(frames: int = 3, **changes) -> Sequence:
    values = {
        "frames": np.zeros((frames, 1, 4, 5), np.float32),
        "kind": SequenceKind.STACK,
        "positions": tuple(2.0 * t for t in range(frames)),
        "spacing_mm": (0.5, 0.5),
        "affine_lps": np.diag([0.5, 0.5, 2.0, 1.0]),
    }
    return Sequence(**{**values, **changes})


def test_a_finding_goes_through_json_without_loss():
    assert Finding.from_json(json.loads(json.dumps(FINDING.to_json()))) == FINDING


def test_the_growth_that_an_answer_tells_of_a_finding_is_not_kept_with_it():
    assert Finding.from_json({**FINDING.to_json(), "growth": {"track": 1}}) == FINDING


def test_a_report_goes_through_json_without_loss():
    assert Report.from_json(json.loads(json.dumps(REPORT.to_json()))) == REPORT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": "high"}, "could not convert"),
        ({"boxes": {"1": [0, 1, 2]}}, "expected 4 finite numbers"),
        ({"boxes": {"1": [0, 1, 2, float("nan")]}}, "expected 4 finite numbers"),
        ({"boxes": [1, 2]}, "no attribute 'items'"),
        ({"box_lps_mm": None}, "not iterable"),
        ({"size": 3}, r"unknown keys \['size'\]"),
        ({"source": {"person": "x"}}, "unexpected keyword"),
    ],
)
def test_a_wrong_finding_is_refused_with_its_id_and_the_reason(changes, reason):
    with pytest.raises(InputError, match=f"finding 3: .*{reason}"):
        Finding.from_json({**FINDING.to_json(), **changes})


def test_a_finding_without_a_needed_value_is_refused():
    data = FINDING.to_json()
    del data["label"]
    with pytest.raises(InputError, match="finding 3: 'label' is missing"):
        Finding.from_json(data)


@pytest.mark.parametrize(
    "data", [{}, {"sections": []}, {"sections": {"findings": [{}]}}, {"sections": {}, "status": "x"}]
)
def test_a_wrong_report_is_refused(data):
    with pytest.raises(InputError, match=r"^report: "):
        Report.from_json(data)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positions": (0.0,)}, "3 frames but 1 positions"),
        ({"sop_instance_uids": ("1", "2", "3")}, "3 SOP Instance UIDs but 0 numbers"),
        ({"sop_instance_uids": ("1",), "frame_numbers": (1,)}, "3 frames but 1 SOP Instance UIDs"),
        ({"origins_lps_mm": np.zeros((2, 3))}, r"frame origins of shape \(2, 3\)"),
        ({"channels": ("a", "b")}, "1 channels but names"),
    ],
)
def test_a_sequence_whose_parts_disagree_is_refused(changes, reason):
    with pytest.raises(InputError, match=reason):
        stack(**changes)


def test_a_slice_over_time_lies_where_it_lies_in_the_volumes():
    volumes = tuple(stack(sop_instance_uids=(f"{i}.1", f"{i}.2", f"{i}.3"), frame_numbers=(1, 1, 1)) for i in range(2))
    for i, volume in enumerate(volumes):
        volume.frames[1] = i + 1
    series = VolumeSeries(SequenceKind.DYNAMIC, volumes, (0.0, 30.0))
    over_time = series.at_slice(1)
    assert over_time.frames[:, 0, 0, 0].tolist() == [1, 2]
    assert over_time.sop_instance_uids == ("0.2", "1.2")
    assert (over_time.positions, over_time.position_unit) == ((0.0, 30.0), "s")
    assert over_time.affine_lps[2, 3] == 2.0
    with pytest.raises(InputError, match="slice 3: the volumes have slices 0 to 2"):
        series.at_slice(3)


def test_volumes_of_different_size_have_no_common_slice():
    series = VolumeSeries(SequenceKind.LONGITUDINAL, (stack(3), stack(4)), (0.0, 90.0))
    with pytest.raises(InputError, match="the volumes differ in shape"):
        series.at_slice(0)
    assert series.position_unit == "days"


@pytest.mark.parametrize(
    ("kind", "positions", "transforms", "reason"),
    [
        (SequenceKind.STACK, (0.0, 1.0), (), "dynamic or longitudinal, not stack"),
        (SequenceKind.DYNAMIC, (0.0,), (), "2 volumes but 1 positions"),
        (SequenceKind.DYNAMIC, (0.0, 1.0), (np.eye(4),), "2 volumes but 1 transforms"),
    ],
)
def test_a_series_of_volumes_whose_parts_disagree_is_refused(kind, positions, transforms, reason):
    with pytest.raises(InputError, match=reason):
        VolumeSeries(kind, (stack(), stack()), positions, transforms)

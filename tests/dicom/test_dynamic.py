# SPDX-License-Identifier: Apache-2.0
"""Slices that repeat: time points by whatever key the files hold, and series that only look dynamic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from lib.dicom.series import read_series
from lib.dicom.types import DicomSeries
from lib.types import InputError, Sequence, SequenceKind, VolumeSeries
from tests.dicom.making import make_times

Key = Callable[[Dataset, int, int], None]


def setting(**values: Callable[[int, int], object]) -> Key:
    """An edit that sets each keyword from (time, slice)."""

    def edit(dataset: Dataset, time: int, index: int) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value(time, index))

    return edit


def private(group: int, creator: str, element: int, vr: str, value: Callable[[int], object]) -> Key:
    def edit(dataset: Dataset, time: int, index: int) -> None:
        dataset.private_block(group, creator, create=True).add_new(element, vr, value(time))

    return edit


def clock(seconds: float) -> str:
    return f"1200{seconds:09.6f}"


def volumes_of(series: DicomSeries, n_times: int = 3) -> VolumeSeries:
    image = series.image
    assert isinstance(image, VolumeSeries)
    assert image.kind is SequenceKind.DYNAMIC
    assert [volume.frames.shape for volume in image.volumes] == [(8, 1, 16, 16)] * n_times
    for time, volume in enumerate(image.volumes):
        np.testing.assert_array_equal(volume.frames[:, 0, 0, 0], time + 1 + 100 * np.arange(8))
        np.testing.assert_allclose(volume.positions, 2.5 * np.arange(8))
    return image


KEYS: dict[str, tuple[Key, list[float]]] = {
    "TemporalPositionIdentifier with times": (
        setting(TemporalPositionIdentifier=lambda t, k: t + 1, AcquisitionTime=lambda t, k: clock(10 * t)),
        [0, 10, 20],
    ),
    "TemporalPositionIdentifier with resolution": (
        setting(TemporalPositionIdentifier=lambda t, k: t + 1, TemporalResolution=lambda t, k: "4500"),
        [0, 4.5, 9],
    ),
    "AcquisitionNumber (Siemens)": (
        setting(AcquisitionNumber=lambda t, k: t + 1, ContentTime=lambda t, k: clock(7.5 * t + 0.01 * k)),
        [0, 7.5, 15],
    ),
    "TriggerTime (GE)": (setting(TriggerTime=lambda t, k: str(6200 * t)), [0, 6.2, 12.4]),
    "TriggerTime that varies from slice to slice": (
        setting(TriggerTime=lambda t, k: str(40 * t + 0.5 * k * t)),
        [0, 0.04175, 0.0835],
    ),
    "FrameReferenceTime (PET)": (setting(FrameReferenceTime=lambda t, k: str(500.0 + 1000 * t)), [0, 1, 2]),
    "AcquisitionTime": (setting(AcquisitionTime=lambda t, k: clock(3 * t)), [0, 3, 6]),
    "AcquisitionTime of every slice": (setting(AcquisitionTime=lambda t, k: clock(3 * t + 0.1 * k)), [0, 3, 6]),
    "AcquisitionTime of interleaved slices": (
        setting(AcquisitionTime=lambda t, k: clock(3 * t + 0.1 * (k % 2 * 4 + k // 2))),
        [0, 3, 6],
    ),
    "AcquisitionDateTime past midnight": (
        setting(AcquisitionDateTime=lambda t, k: ["20240203235950", "20240204000000", "20240204000010"][t]),
        [0, 10, 20],
    ),
    "ContentTime (Philips)": (setting(ContentTime=lambda t, k: clock(12 * t)), [0, 12, 24]),
    "dynamic scan begin time (Philips)": (
        private(0x2005, "Philips MR Imaging DD 001", 0xA0, "FL", lambda t: 2.5 * t),
        [0, 2.5, 5],
    ),
    "delta start time (GE CT)": (private(0x0043, "GEMS_PARM_01", 0x1E, "DS", lambda t: str(1.5 * t)), [0, 1.5, 3]),
}


@pytest.mark.parametrize(("edit", "seconds"), KEYS.values(), ids=KEYS)
def test_key(tmp_path: Path, edit: Key, seconds: list[float]) -> None:
    series = read_series(make_times(tmp_path, edit))
    np.testing.assert_allclose(volumes_of(series).positions, seconds, atol=1e-6)
    assert series.problems == ()
    assert len(series.files) == 24


def test_key_without_seconds(tmp_path: Path) -> None:
    series = read_series(make_times(tmp_path, setting(TemporalPositionIdentifier=lambda t, k: t + 1)))
    assert volumes_of(series).positions == (0, 1, 2)
    assert "by TemporalPositionIdentifier, but not their times" in series.problems[0]


def test_a_number_for_every_image_is_no_key(tmp_path: Path) -> None:
    edit = setting(AcquisitionNumber=lambda t, k: 8 * t + k + 1, AcquisitionTime=lambda t, k: clock(3 * t))
    assert volumes_of(read_series(make_times(tmp_path, edit))).positions == (0, 3, 6)


def test_instance_numbers_as_the_last_resort(tmp_path: Path) -> None:
    series = read_series(make_times(tmp_path, setting()))
    assert volumes_of(series).positions == (0, 1, 2)
    assert "Nothing in the files but the Instance Numbers" in series.problems[0]


def test_nothing_tells_images_apart(tmp_path: Path) -> None:
    edit = setting(InstanceNumber=lambda t, k: 1 + k)
    with pytest.raises(InputError, match=r"different images lie at the same position at 8 of 8 .*, and 2 more"):
        read_series(make_times(tmp_path, edit))


def test_a_lost_slice_costs_one_time_point(tmp_path: Path) -> None:
    files = make_times(tmp_path, setting(TemporalPositionIdentifier=lambda t, k: t + 1))
    series = read_series(files[:-1])
    volumes_of(series, n_times=2)
    assert (
        "Left out incomplete time points (by TemporalPositionIdentifier): number 3 has 7 of 8 slices."
        in series.problems
    )


def test_geometry_problems_are_said_once(tmp_path: Path) -> None:
    heights = [0, 1, 2, 3, 4, 6, 8, 10]
    edit = setting(AcquisitionTime=lambda t, k: clock(t), ImagePositionPatient=lambda t, k: [0, 0, heights[k]])
    series = read_series(make_times(tmp_path, edit))
    assert len(series.problems) == 1
    assert "unevenly spaced" in series.problems[0]


PARTS: dict[str, tuple[Key, str]] = {
    "echoes": (
        setting(EchoTime=lambda t, k: str(20 + 30 * t), AcquisitionTime=lambda t, k: clock(t)),
        "EchoTime 50 ms",
    ),
    "b-values": (setting(DiffusionBValue=lambda t, k: 500.0 * t), "b-value 500 s/mm2"),
    "b-values (Siemens)": (
        private(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", lambda t: 500 * t),
        "b-value 500 s/mm2",
    ),
    "b-values (GE)": (
        private(0x0043, "GEMS_PARM_01", 0x39, "IS", lambda t: [1000000000 + 500 * t, 8, 0, 0]),
        "b-value 500 s/mm2",
    ),
    "b-values (Philips)": (
        private(0x2001, "Philips Imaging DD 001", 0x03, "FL", lambda t: 500.0 * t),
        "b-value 500 s/mm2",
    ),
    "image types": (
        setting(ImageType=lambda t, k: ["ORIGINAL", "PRIMARY", "MPR"[t]]),
        "ImageType ORIGINAL\\PRIMARY\\P",
    ),
    "inversion times": (setting(InversionTime=lambda t, k: str(100 + 100 * t)), "InversionTime 200 ms"),
}


@pytest.mark.parametrize(("edit", "part"), PARTS.values(), ids=PARTS)
def test_parts_are_not_time_points(tmp_path: Path, edit: Key, part: str) -> None:
    files = make_times(tmp_path, edit)
    with pytest.raises(InputError, match="differ in how they were made") as error:
        read_series(files)
    assert f"'{part}' (8 images)".replace("\\", "\\\\") in str(error.value)
    stack = read_series(files, part=part).image
    assert isinstance(stack, Sequence)
    np.testing.assert_array_equal(stack.frames[:, 0, 0, 0], 2 + 100 * np.arange(8))


def test_echoes_over_time(tmp_path: Path) -> None:
    edit = setting(EchoTime=lambda t, k: str(10 + 10 * (t % 2)), AcquisitionTime=lambda t, k: clock(5 * (t // 2)))
    files = make_times(tmp_path, edit, n_times=4)
    image = read_series(files, part="EchoTime 20 ms").image
    assert isinstance(image, VolumeSeries)
    assert image.positions == (0, 5)
    assert [volume.frames[0, 0, 0, 0] for volume in image.volumes] == [2, 4]


def test_unknown_part(tmp_path: Path) -> None:
    files = make_times(tmp_path, setting(EchoTime=lambda t, k: str(20 + 30 * t)))
    with pytest.raises(InputError, match=r"has no part 'T1'; it holds .*'EchoTime 20 ms'"):
        read_series(files, part="T1")

# SPDX-License-Identifier: Apache-2.0
"""Enhanced multi-frame objects: many slices, and time points, in one file."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from lib.dicom.series import find_series, read_series
from lib.types import InputError, Sequence, VolumeSeries
from tests.dicom.making import make_slices, make_times, pixels_of

Fill = Callable[[Dataset, int, int], None]


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def make_enhanced(folder: Path, fill: Fill, *, n_times: int = 3, pointers: tuple[str, ...] = ()) -> Path:
    """One Enhanced MR file with ``n_times`` x 8 frames in random order; ``fill(group, time, slice)`` adds macros."""
    source = make_slices(folder, n_slices=1)[0]
    dataset = dcmread(source)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime"):
        delattr(dataset, keyword)
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.75, 0.5], SliceThickness=2.5)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-10, RescaleType="US")],
        )
    ]
    frames = [(time, index) for time in range(n_times) for index in range(8)]
    random.Random(0).shuffle(frames)
    groups = []
    for time, index in frames:
        group = item(
            FrameContentSequence=[Dataset()],
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, 30 + 2.5 * index])],
        )
        fill(group, time, index)
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.DimensionIndexSequence = [item(DimensionIndexPointer=Tag(pointer)) for pointer in pointers]
    dataset.NumberOfFrames = len(frames)
    volumes = [pixels_of(8, start=time + 1) for time in range(n_times)]
    dataset.PixelData = b"".join(volumes[time][index].tobytes() for time, index in frames)
    dataset.save_as(source)
    return source


def content(group: Dataset, **values: object) -> None:
    for keyword, value in values.items():
        setattr(group.FrameContentSequence[0], keyword, value)


def check_times(image: object, seconds: list[float], n_times: int = 3) -> VolumeSeries:
    assert isinstance(image, VolumeSeries)
    np.testing.assert_allclose(image.positions, seconds)
    assert len(image.volumes) == n_times
    for time, volume in enumerate(image.volumes):
        expected = pixels_of(8, start=time + 1).astype(np.int32) * 2 - 10
        np.testing.assert_array_equal(volume.frames[:, 0], expected)
        assert volume.spacing_mm == (0.5, 0.75)
    return image


def test_one_time_point_is_a_stack(tmp_path: Path) -> None:
    file = make_enhanced(tmp_path, lambda group, time, index: None, n_times=1)
    series = read_series([file])
    stack = series.image
    assert isinstance(stack, Sequence)
    assert series.problems == ()
    np.testing.assert_array_equal(stack.frames[:, 0], pixels_of(8, start=1).astype(np.int32) * 2 - 10)
    expected = np.diag([0.5, 0.75, 2.5, 1.0])
    expected[:3, 3] = -10, -20, 30
    np.testing.assert_allclose(stack.affine_lps, expected)
    assert len(set(stack.sop_instance_uids)) == 1
    stored = dcmread(file)
    for number, position in zip(stack.frame_numbers, stack.positions, strict=True):
        place = stored.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient[2]
        assert place == 30 + position


TIMES: dict[str, tuple[Fill, tuple[str, ...], list[float]]] = {
    "FrameAcquisitionDateTime": (
        lambda g, t, k: content(g, FrameAcquisitionDateTime=f"202402031200{4 * t:02d}"),
        (),
        [0, 4, 8],
    ),
    "TemporalPositionIndex with times of every frame": (
        lambda g, t, k: content(
            g, TemporalPositionIndex=t + 1, FrameAcquisitionDateTime=f"202402031200{5 * t:02d}.{k}"
        ),
        (),
        [0, 5, 10],
    ),
    "TemporalPositionTimeOffset": (
        lambda g, t, k: setattr(g, "TemporalPositionSequence", [item(TemporalPositionTimeOffset=1.25 * t)]),
        (),
        [0, 1.25, 2.5],
    ),
    "cardiac delay": (
        lambda g, t, k: setattr(g, "CardiacSynchronizationSequence", [item(NominalCardiacTriggerDelayTime=50.0 * t)]),
        (),
        [0, 0.05, 0.1],
    ),
    "DimensionIndexValues": (
        lambda g, t, k: content(g, DimensionIndexValues=[1, k + 1, t + 1]),
        ("StackID", "InStackPositionNumber", "TemporalPositionIndex"),
        [0, 1, 2],
    ),
}


@pytest.mark.parametrize(("fill", "pointers", "seconds"), TIMES.values(), ids=TIMES)
def test_time_points(tmp_path: Path, fill: Fill, pointers: tuple[str, ...], seconds: list[float]) -> None:
    series = read_series([make_enhanced(tmp_path, fill, pointers=pointers)])
    image = check_times(series.image, seconds)
    numbers = [number for volume in image.volumes for number in volume.frame_numbers]
    assert sorted(numbers) == list(range(1, 25))


def test_one_time_point_per_file(tmp_path: Path) -> None:
    files = []
    for time in range(3):
        file = make_enhanced(
            tmp_path / str(time),
            lambda g, t, k, time=time: content(g, FrameAcquisitionDateTime=f"202402031200{time:02d}"),  # type: ignore[misc]
            n_times=1,
        )
        dataset = dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PixelData = (np.frombuffer(dataset.PixelData, np.uint16) + time).tobytes()
        dataset.save_as(file)
        files.append(file)
    image = read_series(files).image
    assert isinstance(image, VolumeSeries)
    assert image.positions == (0, 1, 2)
    assert len(read_series(files).files) == 3


def test_b_values_are_parts_that_can_be_chosen(tmp_path: Path) -> None:
    def fill(group: Dataset, time: int, index: int) -> None:
        content(group, DimensionIndexValues=[index + 1, time + 1])
        group.MRDiffusionSequence = [item(DiffusionBValue=float(500 * time))]

    file = make_enhanced(tmp_path, fill, pointers=("InStackPositionNumber", "DiffusionBValue"))
    with pytest.raises(InputError, match=r"'b-value 500 s/mm2' \(8 images\)"):
        read_series([file])
    stack = read_series([file], part="b-value 500 s/mm2").image
    assert isinstance(stack, Sequence)
    np.testing.assert_array_equal(stack.frames[:, 0], pixels_of(8, start=2).astype(np.int32) * 2 - 10)


def test_a_dimension_that_is_not_time(tmp_path: Path) -> None:
    file = make_enhanced(
        tmp_path,
        lambda g, t, k: content(g, DimensionIndexValues=[k + 1, t + 1]),
        pointers=("InStackPositionNumber", "ResonantNucleus"),
    )
    with pytest.raises(InputError, match="'ResonantNucleus 1'"):
        read_series([file])


def test_reconstructed_nuclear_medicine(tmp_path: Path) -> None:
    def detector(dataset: Dataset, index: int) -> None:
        dataset.Modality = "NM"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        dataset.NumberOfFrames = 8
        dataset.SliceVector = list(range(1, 9))
        dataset.SpacingBetweenSlices = "-2.5"
        dataset.DetectorInformationSequence = [
            item(ImagePositionPatient=[-10, -20, 30], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        ]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            delattr(dataset, keyword)
        dataset.PixelData = pixels_of(8).tobytes()

    stack = read_series(make_slices(tmp_path, n_slices=1, edit=detector)).image
    assert isinstance(stack, Sequence)
    np.testing.assert_array_equal(stack.frames[:, 0], pixels_of(8)[::-1])
    assert stack.frame_numbers == tuple(range(8, 0, -1))
    np.testing.assert_allclose(stack.affine_lps[:3, 3], [-10, -20, 12.5])


def test_wrong_number_of_groups(tmp_path: Path) -> None:
    file = make_enhanced(tmp_path, lambda group, time, index: None, n_times=1)
    dataset = dcmread(file)
    dataset.PerFrameFunctionalGroupsSequence.pop()
    dataset.save_as(file)
    with pytest.raises(InputError, match="8 frames but 7 per-frame functional groups"):
        read_series([file])


def converted(files: list[Path], target: Path) -> Path:
    """The same images as one legacy converted enhanced object, by highdicom."""
    datasets = [dcmread(file) for file in files]
    for dataset in datasets:
        dataset["AcquisitionDate"].value = dataset["AcquisitionDate"].value
    image = LegacyConvertedEnhancedMRImage(
        legacy_datasets=datasets,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    image.save_as(target)
    return target


def test_legacy_converted_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydicom.config.datetime_conversion", True)
    files = make_slices(tmp_path)
    random.Random(3).shuffle(files)
    file = converted(files, tmp_path / "converted.dcm")
    monkeypatch.undo()
    series = read_series([file])
    plain = read_series(files).image
    assert isinstance(series.image, Sequence)
    assert isinstance(plain, Sequence)
    np.testing.assert_array_equal(series.image.frames, plain.frames)
    np.testing.assert_allclose(series.image.affine_lps, plain.affine_lps)
    (found,) = (found for found in find_series(tmp_path).series if found.files == (file,))
    assert found.n_frames == 8


def test_legacy_converted_time_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydicom.config.datetime_conversion", True)

    def edit(dataset: Dataset, time: int, index: int) -> None:
        dataset.TemporalPositionIdentifier = time + 1
        dataset.AcquisitionTime = f"1200{10 * time:02d}"

    file = converted(make_times(tmp_path, edit), tmp_path / "converted.dcm")
    monkeypatch.undo()
    image = read_series([file]).image
    assert isinstance(image, VolumeSeries)
    assert image.positions == (0, 10, 20)
    for time, volume in enumerate(image.volumes):
        np.testing.assert_array_equal(volume.frames[:, 0], pixels_of(8, start=time + 1))

# SPDX-License-Identifier: Apache-2.0
"""Slices with faults: what comes out, and what is said about it."""

import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from lib.dicom.series import read_series
from lib.dicom.types import DicomSeries
from lib.types import InputError, Sequence, SequenceKind
from tests.dicom.making import edited, make_slices, pixels_of


def stack_of(series: DicomSeries) -> Sequence:
    assert isinstance(series.image, Sequence)
    assert series.image.kind is SequenceKind.STACK
    return series.image


def test_regular_slices(tmp_path: Path) -> None:
    series = read_series(make_slices(tmp_path))
    stack = stack_of(series)
    assert series.problems == ()
    assert stack.frames.shape == (8, 1, 16, 16)
    assert stack.frames.dtype == np.uint16
    np.testing.assert_array_equal(stack.frames[:, 0], pixels_of(8))
    np.testing.assert_allclose(stack.positions, 2.5 * np.arange(8))
    expected = np.diag([0.5, 0.5, 2.5, 1.0])
    expected[:3, 3] = -10, -20, 30
    np.testing.assert_allclose(stack.affine_lps, expected)
    assert stack.origins_lps_mm is None
    assert stack.frame_numbers == (1,) * 8
    assert set(series.files) == set(stack.sop_instance_uids)
    for uid, path in series.files.items():
        assert dcmread(path).SOPInstanceUID == uid


def test_neither_names_nor_instance_numbers_make_the_order(tmp_path: Path) -> None:
    numbers = random.Random(1).sample(range(1, 9), 8)
    files = make_slices(tmp_path, edit=lambda ds, k: setattr(ds, "InstanceNumber", numbers[k]))
    names = random.Random(2).sample(range(8), 8)
    renamed = [file.rename(tmp_path / f"{name}.x") for file, name in zip(files, names, strict=True)]
    stack = stack_of(read_series(sorted(renamed)))
    np.testing.assert_array_equal(stack.frames[:, 0, 0, 0], 100 * np.arange(8))


def test_slices_from_head_to_feet_are_turned_round(tmp_path: Path) -> None:
    stack = stack_of(read_series(reversed(make_slices(tmp_path))))
    assert stack.frames[0, 0, 0, 0] == 0
    assert stack.affine_lps[2, 2] == 2.5


def test_sagittal_slices(tmp_path: Path) -> None:
    def turn(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [3.0 * index, -20, 30]

    stack = stack_of(read_series(make_slices(tmp_path, edit=turn)))
    # row x column direction is (-1, 0, 0): the last written slice comes first
    np.testing.assert_array_equal(stack.frames[:, 0, 0, 0], 100 * np.arange(8)[::-1])
    np.testing.assert_allclose(stack.affine_lps[:3, 2], [-3, 0, 0])
    np.testing.assert_allclose(stack.affine_lps @ [2, 4, 0, 1], [21, -19, 28, 1])


def test_gantry_tilt_shears_the_affine(tmp_path: Path) -> None:
    tilt = np.deg2rad(15)

    def lean(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(tilt)), -float(np.sin(tilt))]
        dataset.GantryDetectorTilt = "15"

    series = read_series(make_slices(tmp_path, step_mm=4.0, edit=lean))
    stack = stack_of(series)
    assert len(series.problems) == 1
    assert "Gantry tilt of 15.0 degrees (Gantry/Detector Tilt says 15)" in series.problems[0]
    np.testing.assert_allclose(stack.affine_lps[:3, 2], [0, 0, 4], atol=1e-9)
    np.testing.assert_allclose(np.diff(stack.positions), 4 * np.cos(tilt))
    assert stack.origins_lps_mm is None
    assert stack.voxel_volume_ml == pytest.approx(0.5 * 0.5 * 4 * np.cos(tilt) / 1000)


def test_missing_slices_are_named(tmp_path: Path) -> None:
    files = make_slices(tmp_path, n_slices=12)
    series = read_series(files[:3] + files[4:8] + files[10:])
    stack = stack_of(series)
    assert series.problems == (
        "Missing slices: 1 at 7.50 mm (between numbers 3 and 5), 2 at 20.00, 22.50 mm (between numbers 8 and 11). "
        "The usual step is 2.5 mm; positions are from the first slice.",
    )
    np.testing.assert_allclose(stack.positions, 2.5 * np.array([0, 1, 2, 4, 5, 6, 7, 10, 11]))
    assert stack.origins_lps_mm is not None
    np.testing.assert_allclose(stack.origins_lps_mm[:, 2], 30 + np.array(stack.positions))


def test_uneven_slices_keep_their_places(tmp_path: Path) -> None:
    heights = np.array([0, 2, 4, 6, 8, 11, 14, 17.0])
    files = make_slices(tmp_path, edit=lambda ds, k: setattr(ds, "ImagePositionPatient", [1, 2, float(heights[k])]))
    series = read_series(files)
    stack = stack_of(series)
    assert series.problems == (
        "Slices are unevenly spaced: 4 x 2.00 mm (numbers 1 to 5), 3 x 3.00 mm (numbers 5 to 8). "
        "Each keeps its true position.",
    )
    np.testing.assert_allclose(stack.positions, heights)
    assert stack.origins_lps_mm is not None
    np.testing.assert_allclose(stack.origins_lps_mm, np.stack([np.ones(8), np.full(8, 2), heights], axis=1))
    slope, start = np.polyfit(np.arange(8), heights, 1)
    np.testing.assert_allclose(stack.affine_lps[:3, 2:], [[0, 1], [0, 2], [slope, start]], atol=1e-9)


def test_thick_slices_at_double_step_are_not_missing_ones(tmp_path: Path) -> None:
    def protocol(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient = [0, 0, 5.0 * min(index, 5) + 10.0 * max(0, index - 5)]
        dataset.SliceThickness = 5 if index < 6 else 10

    (problem,) = read_series(make_slices(tmp_path, edit=protocol)).problems
    assert problem.startswith("Slices are unevenly spaced: 5 x 5.00 mm (numbers 1 to 6), 2 x 10.00 mm")


def test_slices_shifted_sideways(tmp_path: Path) -> None:
    shifts = [0, 0, 0, 0, 3.0, 3.0, 3.0, 3.0]
    files = make_slices(tmp_path, edit=lambda ds, k: setattr(ds, "ImagePositionPatient", [shifts[k], 0, float(k)]))
    series = read_series(files)
    assert any("shifted sideways" in problem for problem in series.problems)
    origins = stack_of(series).origins_lps_mm
    assert origins is not None
    np.testing.assert_allclose(origins[:, 0], shifts)


def test_exact_duplicates_are_left_out(tmp_path: Path) -> None:
    files = make_slices(tmp_path)
    files.append(edited(files[3], tmp_path / "again.dcm", InstanceNumber=99))
    series = read_series(files)
    assert series.problems == ("Left out exact duplicates of other slices: number 99 at 7.50 mm.",)
    assert len(stack_of(series).frames) == 8
    assert tmp_path / "again.dcm" not in series.files.values()


def test_the_same_series_exported_twice(tmp_path: Path) -> None:
    files = make_slices(tmp_path)
    copies = [edited(file, tmp_path / f"copy{k}.dcm", InstanceNumber=100 + k) for k, file in enumerate(files)]
    series = read_series(files + copies)
    assert len(stack_of(series).frames) == 8
    assert "and 2 more" in series.problems[0]


def test_second_file_of_an_instance(tmp_path: Path) -> None:
    files = make_slices(tmp_path)
    second = tmp_path / "second.dcm"
    second.write_bytes(files[2].read_bytes())
    series = read_series([*files, second])
    assert series.problems == ("Left out second files of the same instance: second.dcm of IM0003.dcm.",)
    assert len(stack_of(series).frames) == 8


def test_different_images_at_one_position(tmp_path: Path) -> None:
    files = make_slices(tmp_path)
    other = dcmread(files[5])
    files.append(edited(files[3], tmp_path / "other.dcm", PixelData=other.PixelData, InstanceNumber=99))
    with pytest.raises(InputError, match=r"series 1\.2\.3\.4: different images .* at 1 of 8 positions \(numbers 4, 99"):
        read_series(files)


def test_mixed_orientations(tmp_path: Path) -> None:
    def turn_last(dataset: Dataset, index: int) -> None:
        if index > 5:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    with pytest.raises(InputError, match=r"6 of 16 x 16 pixels at 0\.5 x 0\.5 mm axial .*2 of 16 x 16 .* coronal"):
        read_series(make_slices(tmp_path, edit=turn_last))


def test_localizer_is_left_out(tmp_path: Path) -> None:
    def scout(dataset: Dataset, index: int) -> None:
        if index == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    series = read_series(make_slices(tmp_path, edit=scout))
    assert series.problems == ("Left out 1 localizer image(s), number 1.",)
    assert len(stack_of(series).frames) == 7


@pytest.mark.parametrize("keyword", ["SliceLocation", "InstanceNumber"])
def test_without_position(tmp_path: Path, keyword: str) -> None:
    def strip(dataset: Dataset, index: int) -> None:
        del dataset.ImagePositionPatient
        del dataset.SliceLocation
        dataset.InstanceNumber = 8 - index
        setattr(dataset, keyword, 8 - index)

    series = read_series(make_slices(tmp_path, edit=strip))
    words = keyword.replace("eL", "e L").replace("eN", "e N")
    assert f"No Image Position (Patient): slices are ordered by {words}" in series.problems[0]
    np.testing.assert_array_equal(stack_of(series).frames[:, 0, 0, 0], 100 * np.arange(8)[::-1])


def test_impossible_geometry_names_the_file(tmp_path: Path) -> None:
    files = make_slices(tmp_path, edit=lambda ds, k: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]))
    with pytest.raises(InputError, match=r"IM0001\.dcm: Image Orientation .* not two perpendicular axes"):
        read_series(files)


def test_slices_with_their_own_rescale(tmp_path: Path) -> None:
    def scale(dataset: Dataset, index: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = ("1", "-1000") if index % 2 else ("0.5", "0")

    stack = stack_of(read_series(make_slices(tmp_path, edit=scale)))
    pixels = pixels_of(8).astype(np.float32)
    assert stack.frames.dtype == np.float32
    np.testing.assert_allclose(stack.frames[::2, 0], pixels[::2] / 2)
    np.testing.assert_allclose(stack.frames[1::2, 0], pixels[1::2] - 1000)


def unpacked(shared_data: Path, name: str, folder: Path) -> list[Path]:
    archive = shared_data / "dicom" / f"{name}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return sorted(folder.rglob("*.dcm"))


def test_chest_ct_as_simpleitk_reads_it(shared_data: Path, tmp_path: Path) -> None:
    files = unpacked(shared_data, "ct_chest_lungcancer_A0002_B40f", tmp_path)
    series = read_series(files)
    stack = stack_of(series)
    assert series.problems == ()
    assert stack.frames.shape == (30, 1, 512, 512)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files[0].parent)))
    image = reader.Execute()
    np.testing.assert_array_equal(stack.frames[:, 0], sitk.GetArrayFromImage(image))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(stack.affine_lps, affine, atol=1e-6)


def test_tilted_head(shared_data: Path, tmp_path: Path) -> None:
    """One tilt of 18.5 degrees all through; 14 slices of 4 mm, then, after 1.1 mm, 14 of 7 mm."""
    series = read_series(unpacked(shared_data, "ct_head_ge_tilt", tmp_path))
    stack = stack_of(series)
    tilt, spacing = series.problems
    assert "Gantry tilt of 18.5 degrees (Gantry/Detector Tilt says 18.5)" in tilt
    assert "13 x 4.00 mm (numbers 1 to 14), 1 x 1.08 mm (numbers 14 to 15), 13 x 7.00 mm (numbers 15 to 28)" in spacing
    assert stack.frames.shape == (28, 1, 512, 512)
    assert stack.origins_lps_mm is not None
    np.testing.assert_allclose(stack.origins_lps_mm[[0, -1], 2], [5.8360586, 157.7760586])
    np.testing.assert_allclose(stack.origins_lps_mm[:, :2], [[-125.0, -123.5404569]] * 28)
    assert stack.positions[-1] == pytest.approx((157.7760586 - 5.8360586) * 0.9483237, abs=1e-4)

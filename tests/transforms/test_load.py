# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from lib.configs import InputConfig
from lib.transforms.geometry import VolumeGeometry
from lib.transforms.load import load_label, load_sequence, load_study
from lib.types import InputError, SequenceKind

AFFINE = np.diag([-0.9, -0.8, 5.0, 1.0])
ONE = InputConfig()


def save(path: Path, volume: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    return path


def volume(shape: tuple[int, ...] = (12, 10, 4)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, shape).astype(np.int16)


def test_nifti_becomes_frames(tmp_path: Path) -> None:
    array = volume()
    sequence, geometry = load_sequence(save(tmp_path / "a.nii.gz", array), ONE)
    assert sequence.frames.shape == (4, 1, 10, 12)
    assert np.array_equal(sequence.frames[:, 0], array.transpose(2, 1, 0))
    assert sequence.spacing_mm == pytest.approx((0.9, 0.8))
    assert sequence.positions == pytest.approx((0, 5, 10, 15))
    assert sequence.position_unit == "mm"
    assert geometry.shape == array.shape


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_other_formats_lie_at_the_same_place(tmp_path: Path, suffix: str) -> None:
    array = volume()
    image = SimpleITK.ReadImage(str(save(tmp_path / "a.nii.gz", array)))
    SimpleITK.WriteImage(image, str(tmp_path / f"b{suffix}"))
    first, _ = load_sequence(tmp_path / "a.nii.gz", ONE)
    second, _ = load_sequence(tmp_path / f"b{suffix}", ONE)
    assert np.array_equal(first.frames, second.frames)
    np.testing.assert_allclose(first.affine_lps, second.affine_lps, atol=1e-4)


def test_a_single_slice_and_its_label_are_one_frame(tmp_path: Path) -> None:
    sequence, geometry = load_sequence(save(tmp_path / "a.nii.gz", volume((12, 10))), ONE)
    assert sequence.frames.shape == (1, 1, 10, 12)
    label = load_label(save(tmp_path / "l.nii.gz", (volume((12, 10)) > 500).astype(np.uint8)), geometry)
    assert label.shape == (1, 10, 12)


def test_several_channels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", volume((12, 10, 4, 2)))
    sequence, _ = load_sequence(path, InputConfig(channels=("t1", "flair")))
    assert sequence.frames.shape == (4, 2, 10, 12)
    with pytest.raises(InputError, match=r"a\.nii\.gz: shape .*expects a volume .* with 1 channel"):
        load_sequence(path, ONE)


def test_values_that_are_not_finite_become_the_lowest_one_and_are_reported(tmp_path: Path) -> None:
    array = volume().astype(np.float32)
    array[3, 4, 1], array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf, -np.inf
    study = load_study(save(tmp_path / "a.nii.gz", array), ONE)
    lowest = array[np.isfinite(array)].min()
    assert np.array_equal(study.sequence.frames[:, 0], np.where(np.isfinite(array), array, lowest).transpose(2, 1, 0))
    assert any("3 " in problem for problem in study.problems)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b broken"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_sequence(tmp_path / name, ONE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.nii\.gz: no such file"):
        load_sequence(tmp_path / "nothing.nii.gz", ONE)


def test_a_label_whose_voxels_are_not_those_of_the_image_is_refused_with_its_name(tmp_path: Path) -> None:
    _, geometry = load_sequence(save(tmp_path / "a.nii.gz", volume()), ONE)
    moved = AFFINE.copy()
    moved[0, 3] = 9.4
    with pytest.raises(InputError, match=r"l\.nii\.gz: .*lies elsewhere in space"):
        load_label(save(tmp_path / "l.nii.gz", np.zeros((12, 10, 4), np.uint8), moved), geometry)
    with pytest.raises(InputError, match=r"s\.nii\.gz: the label reaches beyond image"):
        load_label(save(tmp_path / "s.nii.gz", np.ones((12, 10, 5), np.uint8)), geometry)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2)])
def test_a_label_stored_the_other_way_round_lies_where_it_was_drawn(tmp_path: Path, axes, flipped) -> None:
    _, geometry = load_sequence(save(tmp_path / "a.nii.gz", volume()), ONE)
    label = np.zeros((12, 10, 4), np.uint8)
    label[2:5, 7, 1:3] = 1
    straight = load_label(save(tmp_path / "l.nii.gz", label), geometry)
    turned, affine = label.transpose(axes), AFFINE[:, [*axes, 3]].copy()
    for axis in flipped:
        affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
        affine[:3, axis] *= -1
    turned = np.flip(turned, flipped)
    assert np.array_equal(load_label(save(tmp_path / "t.nii.gz", turned, affine), geometry), straight)


def test_label_values_are_whole_numbers_up_to_255(tmp_path: Path) -> None:
    _, geometry = load_sequence(save(tmp_path / "a.nii.gz", volume()), ONE)
    array = np.zeros((12, 10, 4), np.float32)
    array[2, 3, 1] = 2
    label = load_label(save(tmp_path / "l.nii.gz", array), geometry)
    assert label.dtype == np.uint8
    assert label[1, 3, 2] == 2
    assert label.sum() == 2
    for wrong in (-1, 0.5, 256, np.nan):
        array[0, 0, 0] = wrong
        with pytest.raises(InputError, match=r"w\.nii\.gz: label values must .*in 0\.\.255"):
            load_label(save(tmp_path / "w.nii.gz", array), geometry)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-3.0, 2.0, 7.0, 1.0]), np.diag([-1.0, -1.0, 1.0, 1.0])])
def test_a_label_of_a_cine_only_needs_its_size(tmp_path: Path, affine) -> None:
    geometry = VolumeGeometry.as_stored(np.eye(4), (12, 10, 4))
    label = (volume() > 500).astype(np.uint8)
    read = load_label(save(tmp_path / "l.nii.gz", label, affine), geometry, SequenceKind.CINE)
    assert np.array_equal(read, label.transpose(2, 1, 0))
    with pytest.raises(InputError, match=r"s\.nii\.gz"):
        load_label(save(tmp_path / "s.nii.gz", np.ones((12, 11, 4), np.uint8), affine), geometry, SequenceKind.CINE)

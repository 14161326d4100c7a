# SPDX-License-Identifier: Apache-2.0
from itertools import permutations, product

import numpy as np
import pytest

from lib.transforms.geometry import VolumeGeometry, box_lps, point_lps

SHAPE = (4, 5, 6)
SIGNED_PERMUTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_of(axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...], oblique: bool) -> np.ndarray:
    """Array axis i runs along patient axis ``axes[i]`` (RAS), with ``spacing[i]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for i, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, i] = sign * spacing[i]
    if oblique:
        a, b = np.radians(20), np.radians(-12)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    affine[:3, 3] = 11.0, -7.0, 3.5
    return affine


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.9, 5.0), (4.0, 1.0, 0.7), (1.0, 3.0, 0.5)])
@pytest.mark.parametrize(("axes", "signs"), SIGNED_PERMUTATIONS)
def test_round_trip_and_places_in_space(axes, signs, spacing, oblique: bool) -> None:
    affine = affine_of(axes, signs, spacing, oblique)
    geometry = VolumeGeometry.from_affine(affine, SHAPE)
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    frames = geometry.to_frames(volume)
    assert np.array_equal(geometry.to_volume(frames), volume)
    for voxel in [(0, 0, 0), (3, 0, 0), (1, 4, 2), (3, 4, 5)]:
        t, y, x = np.argwhere(frames == volume[voxel])[0]
        expected = (RAS_TO_LPS @ affine @ [*voxel, 1])[:3]
        np.testing.assert_allclose(point_lps(geometry.affine_lps, x, y, t), expected, atol=1e-9)
    widths = sorted(spacing)
    assert sorted(geometry.spacing_mm) == pytest.approx(widths)
    if widths[2] > 1.2 * widths[1]:
        assert geometry.spacing_mm[2] == pytest.approx(widths[2])
    assert geometry.voxel_volume_ml == pytest.approx(np.prod(spacing) / 1000)


@pytest.mark.parametrize(("axes", "signs"), SIGNED_PERMUTATIONS)
@pytest.mark.parametrize(
    ("slice_axis", "directions"),
    [
        (2, np.diag([1.0, 1.0, 1.0])),  # axial: columns to the left, rows to posterior, frames to superior
        (0, [[0, 0, 1], [1, 0, 0], [0, -1, 0]]),  # sagittal: columns to posterior, rows to inferior, frames to the left
        (1, [[1, 0, 0], [0, 0, 1], [0, -1, 0]]),  # coronal: columns to the left, rows to inferior, frames to posterior
    ],
)
def test_frames_lie_as_a_radiologist_looks_at_them(axes, signs, slice_axis: int, directions) -> None:
    spacing = tuple(5.0 if axis == slice_axis else 1.0 for axis in axes)
    geometry = VolumeGeometry.from_affine(affine_of(axes, signs, spacing, oblique=False), SHAPE)
    unit = geometry.affine_lps[:3, :3] / np.linalg.norm(geometry.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(unit, directions, atol=1e-9)


@pytest.mark.parametrize(("axes", "signs"), SIGNED_PERMUTATIONS)
def test_near_isotropic_volumes_are_read_as_axial(axes, signs) -> None:
    spacing = tuple(1.1 if axis == 0 else 1.0 for axis in axes)
    geometry = VolumeGeometry.from_affine(affine_of(axes, signs, spacing, oblique=True), SHAPE)
    assert np.argmax(np.abs(geometry.affine_lps[:3, 2])) == 2


@pytest.mark.parametrize("slice_array_axis", [0, 1, 2])
def test_a_single_slice_is_one_frame_whatever_its_direction(slice_array_axis: int) -> None:
    shape = tuple(1 if i == slice_array_axis else n for i, n in enumerate(SHAPE))
    geometry = VolumeGeometry.from_affine(np.eye(4), shape)
    volume = np.arange(np.prod(shape)).reshape(shape)
    frames = geometry.to_frames(volume)
    assert len(frames) == 1
    assert np.array_equal(geometry.to_volume(frames), volume)


def test_channels_stay_last() -> None:
    geometry = VolumeGeometry.from_affine(affine_of((1, 2, 0), (1, -1, 1), (1, 1, 4), oblique=False), SHAPE)
    volume = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    frames = geometry.to_frames(volume)
    for c in range(2):
        assert np.array_equal(frames[..., c], geometry.to_frames(volume[..., c]))


def test_positions_start_at_zero() -> None:
    geometry = VolumeGeometry.from_affine(np.diag([1.0, 1.0, 2.5, 1.0]), SHAPE)
    assert geometry.positions_mm(3) == (0.0, 2.5, 5.0)


def test_box_lps_spans_outer_voxel_edges() -> None:
    affine = np.diag([2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = 100, 200, 300
    # one pixel at (4, 6) on frame 7 has its centre at (108, 218, 335) and measures 2 x 3 x 5 mm
    assert box_lps(affine, {7: (4, 6, 5, 7)}) == pytest.approx((107, 216.5, 332.5, 109, 219.5, 337.5))
    two = box_lps(affine, {7: (4, 6, 5, 7), 8: (2, 6, 4, 9)})
    assert two == pytest.approx((103, 216.5, 332.5, 109, 225.5, 342.5))


def test_box_lps_of_an_oblique_stack_holds_the_lesion() -> None:
    geometry = VolumeGeometry.from_affine(affine_of((0, 1, 2), (-1, -1, 1), (1, 1, 5), oblique=True), (32, 32, 8))
    box = box_lps(geometry.affine_lps, {2: (10, 12, 20, 15), 3: (11, 12, 18, 16)})
    for x, y, t in product((10, 19), (12, 14), (2,)):
        point = point_lps(geometry.affine_lps, x, y, t)
        assert all(low < p < high for low, p, high in zip(box[:3], point, box[3:], strict=True))

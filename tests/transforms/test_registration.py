# SPDX-License-Identifier: Apache-2.0
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from lib.phantom import PhantomStack, head_visits
from lib.transforms.geometry import VolumeGeometry
from lib.transforms.registration import register, resample_to
from lib.types import InputError, Sequence, SequenceKind
from lib.volumes.read import read_image_file

LPS_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def stack(frames: np.ndarray, affine_lps: np.ndarray, **more: object) -> Sequence:
    steps = np.linalg.norm(affine_lps[:3, :3], axis=0)
    return Sequence(
        frames=frames[:, None],
        kind=SequenceKind.STACK,
        positions=tuple(float(t * steps[2]) for t in range(len(frames))),
        spacing_mm=(float(steps[0]), float(steps[1])),
        affine_lps=affine_lps,
        **more,  # type: ignore[arg-type]
    )


def from_phantom(phantom: PhantomStack) -> Sequence:
    return stack(phantom.image.astype(np.float32), LPS_FLIP @ phantom.affine)


@pytest.fixture(scope="module")
def visits() -> tuple[Sequence, Sequence]:
    """The same head twice, in register, with other noise and lesions that have grown."""
    first, second = head_visits(3, (0, 90), (1.0, 1.6), n_frames=26, size=128, spacing_mm=(1.8, 1.8, 5.0), n_lesions=3)
    return from_phantom(first), from_phantom(second)


def motion(degrees: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def head_points() -> np.ndarray:
    corners = np.stack(np.meshgrid((-60, 0, 60), (-70, 0, 70), (-50, 0, 50)), axis=-1).reshape(-1, 3)
    return np.c_[corners, np.ones(len(corners))]


def error_mm(to_fixed: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance between where two transforms put points of the head."""
    moving = head_points() @ np.linalg.inv(expected).T
    return float(np.linalg.norm((moving @ to_fixed.T - head_points())[:, :3], axis=1).mean())


@pytest.mark.parametrize(
    ("degrees", "axis", "shift_mm"),
    [(0, (0, 0, 1), (0, 0, 0)), (6, (1, 0.5, 0.2), (10, -8, 6)), (20, (0.2, 1, 1), (-70, 40, 150))],
)
def test_a_known_motion_is_found(
    visits: tuple[Sequence, Sequence], degrees: float, axis: tuple[float, ...], shift_mm: tuple[float, ...]
) -> None:
    moved_by = motion(degrees, axis, shift_mm)  # type: ignore[arg-type]
    moving = dataclasses.replace(visits[1], affine_lps=moved_by @ visits[1].affine_lps)
    seen: list[float] = []
    result = register(visits[0], moving, progress=seen.append)
    assert error_mm(result.to_fixed, np.linalg.inv(moved_by)) < 0.5
    assert result.method.startswith("rigid" if degrees else ("rigid", "identity (rigid registration is no better"))
    assert result.metric_after >= result.metric_before
    assert result.seconds < 60
    assert seen == sorted(seen)
    assert seen[-1] <= 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_transform(visits: tuple[Sequence, Sequence]) -> None:
    moving = dataclasses.replace(visits[1], affine_lps=motion(5, (1, 1, 0), (4, 5, 6)) @ visits[1].affine_lps)
    first, second = (register(visits[0], moving, seed=7).to_fixed for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-6)


def tilted_and_uneven(image: Sequence) -> Sequence:
    """The image as a scanner with a tilted gantry and two slice distances would have taken it."""
    steps = np.where(np.arange(30) < 12, 3.0, 5.5)
    heights = np.cumsum(steps) - steps.sum() / 2
    tilt = np.tan(np.radians(15))
    affine = np.diag([1.8, 1.8, 5.0, 1.0])
    affine[:3, 2], affine[:3, 3] = (0, tilt * steps.mean(), steps.mean()), (-115, -115 + tilt * heights[0], heights[0])
    origins = np.stack([np.full(30, -115.0), -115 + tilt * heights, heights], axis=1)
    grid = stack(np.zeros((30, 128, 128), np.float32), affine, origins_lps_mm=origins)
    return dataclasses.replace(grid, frames=resample_to(grid, image, np.eye(4)))


def test_tilted_and_uneven_slices_are_registered_where_they_truly_are(visits: tuple[Sequence, Sequence]) -> None:
    moving = tilted_and_uneven(visits[1])
    assert error_mm(register(visits[0], moving).to_fixed, np.eye(4)) < 1.0
    assert error_mm(register(moving, visits[0]).to_fixed, np.eye(4)) < 1.0


def test_resampling_is_exact_for_a_linear_image_on_any_grid() -> None:
    """f(p) = a.p + b is reproduced by linear interpolation, whatever the tilt, spacing, order and motion."""
    slope, start = np.array([0.3, -0.7, 1.1]), 500.0
    empty = tilted_and_uneven(stack(np.zeros((4, 8, 8), np.float32), np.eye(4)))
    origins = empty.origins_lps_mm
    assert origins is not None
    x, y = np.meshgrid(np.arange(128) * 1.8, np.arange(128) * 1.8)
    points = origins[:, None, None] + np.stack([x, y, np.zeros_like(x)], axis=-1)
    moving = dataclasses.replace(empty, frames=(points @ slope + start)[:, None].astype(np.float32))
    moved_by = motion(7, (1, 2, 3), (5, 3, -4))
    fixed_affine = moved_by @ np.diag([2.0, -2.0, -4.0, 1.0])  # frames against the normal
    fixed = stack(np.zeros((5, 6, 7), np.float32), fixed_affine)
    result = resample_to(fixed, moving, moved_by)
    index = np.stack(np.meshgrid(np.arange(5), np.arange(6), np.arange(7), indexing="ij")[::-1], axis=-1)
    expected = index * (2.0, -2.0, -4.0) @ slope + start
    np.testing.assert_allclose(result[:, 0], expected, atol=0.01)


def test_labels_keep_their_values_and_outside_is_empty(visits: tuple[Sequence, Sequence]) -> None:
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[2:4, 5:15, 5:15] = 7
    image = stack(labels, np.diag([1.0, 1.0, 3.0, 1.0]))
    assert np.array_equal(resample_to(image, image, np.eye(4), labels=True)[:, 0], labels)
    moved = resample_to(image, image, motion(0, (0, 0, 1), (4, 0, 0)), labels=True)[:, 0]
    assert moved.dtype == np.uint8
    assert np.array_equal(moved[:, :, 4:], labels[:, :, :-4])
    assert not moved[:, :, :4].any()
    air = dataclasses.replace(image, frames=image.frames.astype(np.float32) - 1000)
    assert (resample_to(image, air, motion(0, (0, 0, 1), (500, 0, 0))) == -1000).all()


def test_stacks_without_anything_in_common_stay_where_they_are(visits: tuple[Sequence, Sequence]) -> None:
    noise = np.random.default_rng(0).random(visits[1].frames.shape).astype(np.float32)
    for frames in (noise, np.zeros_like(noise)):
        result = register(visits[0], dataclasses.replace(visits[1], frames=frames))
        assert np.array_equal(result.to_fixed, np.eye(4))
        assert result.method.startswith("identity (")
    few = dataclasses.replace(visits[1], frames=visits[1].frames[:2], positions=visits[1].positions[:2])
    assert "fewer than 4 slices" in register(visits[0], few).method
    with pytest.raises(InputError, match="only stacks can be registered, not a cine"):
        register(visits[0], dataclasses.replace(visits[1], kind=SequenceKind.CINE))


def test_the_channel_that_both_have_is_used(visits: tuple[Sequence, Sequence]) -> None:
    noise = np.random.default_rng(0).random(visits[1].frames.shape).astype(np.float32)
    fixed = dataclasses.replace(visits[0], channels=("flair",))
    moving = dataclasses.replace(
        visits[1],
        frames=np.concatenate([noise, visits[1].frames], axis=1),
        channels=("t1", "flair"),
        channel_present=(True, True),
    )
    assert error_mm(register(fixed, moving).to_fixed, np.eye(4)) < 0.5


def read_stack(path: Path) -> Sequence:
    file = read_image_file(path)
    x, y, z = file.array.shape[:3]
    geometry = VolumeGeometry.from_affine(file.affine_ras, (x, y, z))
    return stack(geometry.to_frames(file.array[..., 0, 0]).astype(np.float32), geometry.affine_lps)


def published(path: Path) -> np.ndarray:
    """Maps LPS mm of the common space to LPS mm of the raw image."""
    transform = sitk.ReadTransform(str(path))
    matrix, center = np.eye(4), np.array(transform.GetFixedParameters())
    matrix[:3, :3] = np.reshape(transform.GetParameters()[:9], (3, 3))
    matrix[:3, 3] = center + transform.GetParameters()[9:] - matrix[:3, :3] @ center
    return matrix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patient", "limit_mm", "correlation"),
    [("patient01", 0.5, 0.92), ("patient03", 1.0, 0.65), ("patient12", 0.5, 0.92)],
)
def test_two_visits_of_a_patient_against_the_published_transforms(
    shared_data: Path, patient: str, limit_mm: float, correlation: float
) -> None:
    folder = shared_data / "ms_longitudinal" / patient
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    fixed, moving = (read_stack(folder / f"study{n}_FLAIR.nii.gz") for n in (1, 2))
    from_common = [published(folder / f"study{n}_FLAIR_to_common_space.txt") for n in (1, 2)]
    mask = read_image_file(folder / "brainmask.nii.gz")
    brain = np.argwhere(mask.array[..., 0, 0] > 0)[::20]
    common = np.c_[brain, np.ones(len(brain))] @ (LPS_FLIP @ mask.affine_ras).T
    result = register(fixed, moving)
    distance = (common @ from_common[1].T @ result.to_fixed.T - common @ from_common[0].T)[:, :3]
    assert np.linalg.norm(distance, axis=1).mean() < limit_mm
    assert result.seconds < 60  # 3 to 8 s measured on one core
    index = (common @ from_common[0].T @ np.linalg.inv(fixed.affine_lps).T)[:, 2::-1]
    index = np.rint(index).astype(int)
    inside = ((index >= 0) & (index < np.array(fixed.frames[:, 0].shape))).all(axis=1)
    at = tuple(index[inside].T)
    moved = resample_to(fixed, moving, result.to_fixed)[:, 0]
    assert np.corrcoef(fixed.frames[:, 0][at], moved[at])[0, 1] > correlation

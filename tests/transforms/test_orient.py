# SPDX-License-Identifier: Apache-2.0
"""Whatever way a sequence was acquired, each pixel stays where it is in the patient, and the way back is exact."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from lib.infers.writers import write_labelmap
from lib.transforms.export import write_nifti
from lib.transforms.geometry import RAS_TO_LPS, VolumeGeometry, point_lps, sequence_box_lps, sequence_point_lps
from lib.transforms.load import load_label
from lib.transforms.orient import off_in_files, oriented, sequence_geometry
from lib.types import Sequence, SequenceKind

AXES = {"axial": (0, 1, 2), "sagittal": (1, 2, 0), "coronal": (0, 2, 1)}
SPACING_MM = (0.7, 0.9, 5.0)


def acquired(plane: str, signs: tuple[int, int, int], shape=(5, 1, 6, 7), spacing_mm=SPACING_MM) -> Sequence:
    """A stack whose columns, rows and slices run along the patient's axes of a plane, each way round."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign, mm) in enumerate(zip(AXES[plane], signs, spacing_mm, strict=True)):
        affine[axis, column] = sign * mm
    affine[:3, 3] = (10, -20, 30)
    frames = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Sequence(
        frames=frames,
        kind=SequenceKind.STACK,
        positions=tuple(t * spacing_mm[2] for t in range(shape[0])),
        spacing_mm=spacing_mm[:2],
        affine_lps=affine,
        sop_instance_uids=tuple(f"1.2.{t}" for t in range(shape[0])),
        frame_numbers=(1,) * shape[0],
    )


def value_at(sequence: Sequence, lps_mm: tuple[float, float, float]) -> float:
    x, y, t = np.rint(np.linalg.inv(sequence.affine_lps) @ np.array([*lps_mm, 1]))[:3].astype(int)
    return float(sequence.frames[t, 0, y, x])


@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_voxel_stays_where_it_is_and_keeps_its_instance(plane, signs):
    stack = acquired(plane, signs)
    turned, geometry = oriented(stack)
    for t, y, x in itertools.product((0, 2, 4), (0, 5), (0, 6)):
        place = point_lps(stack.affine_lps, x, y, t)
        assert value_at(turned, place) == stack.frames[t, 0, y, x]
    for t, uid in enumerate(turned.sop_instance_uids):
        kept = stack.frames[stack.sop_instance_uids.index(uid)]
        assert sorted(kept.ravel()) == sorted(turned.frames[t].ravel())
    back = geometry.to_volume(turned.frames[:, 0])
    assert np.array_equal(back.transpose(2, 1, 0), stack.frames[:, 0])


@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_boxes_go_to_the_pixels_as_stored_and_back(plane, signs):
    stack = acquired(plane, signs)
    turned, geometry = oriented(stack)
    frames = np.zeros(turned.frames.shape[::2] + turned.frames.shape[3:], np.uint8)  # (T, H, W)
    boxes = {1: (1.0, 2.0, 4.0, 5.0), 2: (0.0, 0.0, 1.0, 3.0)}
    for t, (x0, y0, x1, y1) in boxes.items():
        frames[t, int(y0) : int(y1), int(x0) : int(x1)] = 1
    array = geometry.to_volume(frames).transpose(2, 1, 0)
    stored = geometry.boxes_to_array(boxes)
    assert sorted(stored) == sorted(np.flatnonzero(array.any(axis=(1, 2))))
    for t, (x0, y0, x1, y1) in stored.items():
        assert array[t, int(y0) : int(y1), int(x0) : int(x1)].all()
        assert array[t].sum() == (x1 - x0) * (y1 - y0)
    assert geometry.boxes_to_frames(stored) == boxes


def test_frames_cut_across_the_slices_have_no_instances_and_boxes_become_their_outline():
    stack = acquired("sagittal", (1, -1, 1), shape=(6, 1, 6, 6), spacing_mm=(1.0, 1.0, 1.0))
    turned, geometry = oriented(stack)
    assert not geometry.frames_are_slices
    assert turned.sop_instance_uids == ()
    frames = np.zeros((6, 6, 6), np.uint8)
    frames[2:4, 1:3, 3:6] = 1
    stored = geometry.boxes_to_array({2: (3, 1, 6, 3), 3: (3, 1, 6, 3)})
    array = geometry.to_volume(frames).transpose(2, 1, 0)
    assert sorted(stored) == sorted(np.flatnonzero(array.any(axis=(1, 2))))
    for t, (x0, y0, x1, y1) in stored.items():
        assert array[t].sum() == array[t, int(y0) : int(y1), int(x0) : int(x1)].sum() == (x1 - x0) * (y1 - y0)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, -1), (1, -1, -1)])
def test_unevenly_spaced_slices_keep_their_true_places(signs):
    stack = acquired("axial", signs, spacing_mm=(0.5, 0.5, 1.0))
    gaps = np.array([0, 1, 2, 5, 9.0])
    origins = np.array([30.0]) + signs[2] * gaps
    true = np.column_stack([np.full(5, 10.0), np.full(5, -20.0), origins])
    stack = Sequence(**{**vars(stack), "origins_lps_mm": true, "positions": tuple(gaps)})
    turned, _ = oriented(stack)
    assert turned.origins_lps_mm is not None
    for t, uid in enumerate(turned.sop_instance_uids):
        z = true[stack.sop_instance_uids.index(uid), 2]
        assert sequence_point_lps(turned, 0, 0, t)[2] == pytest.approx(z)
    assert sorted(np.diff(turned.positions)) == sorted(np.diff(gaps))
    first_pixel = sequence_point_lps(turned, 0, 0, 0)
    x, y = (first_pixel[0] - 10) / (0.5 * signs[0]), (first_pixel[1] + 20) / (0.5 * signs[1])
    z = list(true[:, 2]).index(pytest.approx(first_pixel[2]))
    assert turned.frames[0, 0, 0, 0] == stack.frames[z, 0, round(y), round(x)]


def test_volumes_and_boxes_of_uneven_slices_reach_half_way_to_the_neighbours():
    stack = acquired("axial", (1, 1, 1), spacing_mm=(1.0, 1.0, 1.0))
    gaps = (0.0, 2.0, 4.0, 10.0, 16.0)
    true = np.array([(10.0, -20.0, 30 + gap) for gap in gaps])
    stack = Sequence(**{**vars(stack), "origins_lps_mm": true, "positions": gaps})
    assert stack.voxel_volumes_ml == pytest.approx(np.array([2, 2, 4, 6, 6]) / 1000)
    box = sequence_box_lps(stack, {2: (0, 0, 1, 1), 3: (0, 0, 2, 3)})
    assert box == pytest.approx((9.5, -20.5, 33, 11.5, -17.5, 43))


def test_a_cine_stays_as_it_is():
    stack = acquired("sagittal", (1, -1, 1))
    cine = Sequence(**{**vars(stack), "kind": SequenceKind.CINE, "content_px": (0, 3, 0, 3)})
    turned, geometry = oriented(cine)
    assert turned is cine
    assert geometry.boxes_to_array({3: (1, 2, 3, 4)}) == {3: (1, 2, 3, 4)}
    assert np.array_equal(geometry.to_volume(cine.frames[:, 0]).transpose(2, 1, 0), cine.frames[:, 0])
    assert isinstance(sequence_geometry(cine), VolumeGeometry)


@pytest.mark.parametrize("degrees", [-25.0, 0.0, 25.0])
def test_tilted_slices_are_as_far_apart_as_their_planes(degrees):
    stack = acquired("axial", (1, 1, 1), spacing_mm=(0.5, 0.5, 4.0))
    affine = stack.affine_lps.copy()
    affine[1, 2] = np.tan(np.deg2rad(degrees)) * 4.0
    turned, geometry = oriented(Sequence(**{**vars(stack), "affine_lps": affine}))
    assert turned.positions == pytest.approx((0, 4, 8, 12, 16))
    assert geometry.spacing_mm == pytest.approx((0.5, 0.5, 4.0))
    assert turned.voxel_volume_ml == pytest.approx(0.5 * 0.5 * 4 / 1000)


def test_uneven_slices_come_with_a_warning_for_files():
    stack = acquired("axial", (1, 1, 1), spacing_mm=(1.0, 1.0, 2.0))
    true = stack.affine_lps[:3, 3] + np.array([[0, 0, z] for z in (0, 2, 4, 9, 14.0)])
    (warning,) = off_in_files(Sequence(**{**vars(stack), "origins_lps_mm": true}))
    assert "up to 6.0 mm off" in warning
    assert off_in_files(stack) == ()


def test_tilted_slices_come_with_a_warning_for_itk():
    stack = acquired("axial", (1, 1, 1), spacing_mm=(0.5, 0.5, 4.0))
    affine = stack.affine_lps.copy()
    affine[1, 2] = 1.5
    (warning,) = off_in_files(Sequence(**{**vars(stack), "affine_lps": affine}))
    assert "the last one 6.0 mm off" in warning


def test_a_tilted_stack_and_its_label_pass_through_itk_voxel_by_voxel(tmp_path):
    stack = acquired("axial", (1, 1, 1), spacing_mm=(0.5, 0.5, 4.0))
    affine = stack.affine_lps.copy()
    affine[1, 2] = -1.5
    tilted = Sequence(**{**vars(stack), "affine_lps": affine})
    write_nifti(tilted, tmp_path / "image.nii.gz")
    np.testing.assert_allclose(nib.load(tmp_path / "image.nii.gz").affine, RAS_TO_LPS @ affine, atol=1e-5)
    image = SimpleITK.ReadImage(str(tmp_path / "image.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), tilted.frames[:, 0])
    threes = SimpleITK.GetImageFromArray((tilted.frames[:, 0] % 3 == 0).astype(np.uint8))
    threes.CopyInformation(image)
    SimpleITK.WriteImage(threes, str(tmp_path / "label.nrrd"))
    geometry = sequence_geometry(tilted)
    drawn = load_label(tmp_path / "label.nrrd", geometry)
    assert np.array_equal(geometry.to_volume(drawn).transpose(2, 1, 0), tilted.frames[:, 0] % 3 == 0)
    write_labelmap(drawn, geometry, {"lesion": 1}, tmp_path / "result.nrrd")
    result = SimpleITK.ReadImage(str(tmp_path / "result.nrrd"))
    assert result.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
    assert result.GetSpacing() == pytest.approx(image.GetSpacing(), abs=1e-6)
    assert np.array_equal(load_label(tmp_path / "result.nrrd", geometry), drawn)

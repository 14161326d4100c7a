# SPDX-License-Identifier: Apache-2.0
"""The chest CT phantom: Hounsfield units by kind, lesions in the lungs, same seed, same bytes."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from lib.phantom import CHEST_LABELS, PhantomStack, chest_stack, write_dicom, write_nifti
from lib.phantom.chest_body import make_chest
from lib.phantom.chest_vessels import Capsule, add_capsules
from lib.transforms.load import read_dicom
from lib.volumes.read import read_image_file

SMALL = {"n_frames": 14, "size": (120, 160), "spacing_mm": (2.2, 2.2, 3.0)}


@pytest.fixture(scope="module")
def large() -> PhantomStack:
    """One nodule of each kind, on voxels small enough to look into them."""
    return chest_stack(3, n_frames=20, size=(200, 256), spacing_mm=(1.4, 1.4, 2.0), kinds=CHEST_LABELS)


def hu_inside(stack: PhantomStack, kind: str, percentile: float) -> float:
    part = stack.mask == CHEST_LABELS.index(kind) + 1
    return float(np.percentile(stack.image[part], percentile))


def test_every_kind_has_its_hounsfield_units(large: PhantomStack) -> None:
    assert [lesion.label for lesion in large.lesions] == list(CHEST_LABELS)
    assert -150 < hu_inside(large, "solid", 60) < 120
    assert -750 < hu_inside(large, "ground_glass", 50) < -350
    assert -750 < hu_inside(large, "part_solid", 30) < -350
    assert hu_inside(large, "part_solid", 98) > -250
    assert hu_inside(large, "calcified", 95) > 200


def test_anatomy_has_air_lungs_soft_tissue_and_bone(large: PhantomStack) -> None:
    assert np.median(large.image[:, :8, :8]) < -950
    middle = large.image[:, 60:140]
    for low, high in ((-950, -750), (0, 120), (250, 1200)):
        assert ((middle > low) & (middle < high)).mean() > 0.005


@pytest.mark.parametrize("seed", range(5))
def test_lesions_lie_in_the_lungs_apart_and_state_what_the_mask_holds(seed: int) -> None:
    stack = chest_stack(seed, **SMALL)
    assert stack.modality == "CT"
    assert stack.image.dtype == np.int16
    np.testing.assert_array_equal(stack.mask > 0, stack.instances > 0)
    assert 1 <= len(stack.lesions) <= 6
    for lesion in stack.lesions:
        part = stack.instances == lesion.id
        assert ndimage.label(part, np.ones((3, 3, 3)))[1] == 1
        assert set(np.unique(stack.mask[part])) == {CHEST_LABELS.index(lesion.label) + 1}
        assert set(lesion.frame_boxes) == set(np.flatnonzero(part.any(axis=(1, 2))).tolist())
        assert not (ndimage.binary_dilation(part, np.ones((3, 3, 3))) & (stack.instances > 0) & ~part).any()
        ring = ndimage.binary_dilation(part, np.ones((1, 3, 3)), iterations=3) & (stack.mask == 0)
        assert np.percentile(stack.image[ring], 20) < -650, "there is lung beside it"


def test_same_seed_same_bytes_and_other_seed_other_bytes() -> None:
    first, again, other = (chest_stack(seed, **SMALL) for seed in (3, 3, 4))
    for name in ("image", "mask", "instances"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.lesions == again.lesions
    assert first.image.tobytes() != other.image.tobytes()


def test_a_healthy_chest_has_no_lesion_and_the_seed_chooses_the_slice_distance() -> None:
    small = {"n_frames": 4, "size": 64, "n_lesions": 0}
    stacks = [chest_stack(seed, **small) for seed in range(6)]
    assert not any(stack.mask.any() or stack.lesions for stack in stacks)
    distances = {stack.spacing_mm[2] for stack in stacks}
    assert len(distances) > 1
    assert all(1.25 <= distance <= 5 for distance in distances)


def test_vessels_go_on_through_slices_where_nodules_end() -> None:
    chest = make_chest(np.random.default_rng(5), (16, 120, 160), (2.0, 2.0, 2.0))
    labelled, count = ndimage.label(chest.vessels, np.ones((3, 3, 3)))
    depths = [part[0].stop - part[0].start for part in ndimage.find_objects(labelled)]
    assert count > 3
    assert max(depths) >= 12
    assert not (chest.vessels & ~chest.lung).any()


def test_a_tube_is_sharp_across_slices_and_blurred_along_them() -> None:
    grid = make_chest(np.random.default_rng(0), (9, 40, 40), (8.0, 8.0, 10.0)).grid
    through = Capsule(np.array([0.0, 0.0, -200.0]), np.array([0.0, 0.0, 200.0]), 14.0)
    along = Capsule(np.array([-200.0, 0.0, 0.0]), np.array([200.0, 0.0, 0.0]), 14.0)
    assert add_capsules(grid, [through]).sum(axis=(1, 2)).std() < 1e-3
    assert np.count_nonzero(add_capsules(grid, [along]).sum(axis=(1, 2))) < 9
    nowhere = Capsule(np.array([0.0, 0.0, 900.0]), np.array([0.0, 0.0, 910.0]), 3.0)
    assert not add_capsules(grid, [nowhere]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_frames": 0}, "32x32 pixels"),
        ({"size": 16}, "32x32 pixels"),
        ({"spacing_mm": (1.0, 0.0, 2.0)}, "32x32 pixels"),
        ({"n_lesions": -1}, "between 0 and 100"),
        ({"kinds": ("solid", "cyst")}, "got cyst"),
        ({"n_frames": 2, "size": 40, "n_lesions": 90}, "found no room"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chest_stack(0, **{"n_frames": 4, "size": 64, **arguments})


def test_a_frame_without_any_lung_still_makes_an_image() -> None:
    stack = chest_stack(1, n_frames=1, size=32, spacing_mm=(1.4, 1.4, 300.0))
    assert stack.image.shape == (1, 32, 32)


def test_nifti_and_dicom_keep_the_hounsfield_units(tmp_path: Path) -> None:
    stack = chest_stack(2, n_frames=5, size=(64, 80), spacing_mm=(4.4, 4.4, 5.0))
    write_nifti(stack, tmp_path / "a.nii.gz", tmp_path / "a_label.nii.gz")
    nifti = read_image_file(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(nifti.array[..., 0, 0].T, stack.image)
    np.testing.assert_allclose(nifti.affine_ras, stack.affine, atol=1e-5)
    files = write_dicom(stack, tmp_path / "series", patient_id="chest1")
    first = pydicom.dcmread(files[0])
    assert (first.Modality, first.RescaleIntercept, first.RescaleType) == ("CT", -1024, "HU")
    series = read_dicom(tmp_path / "series")
    np.testing.assert_array_equal(series.image.frames[:, 0], stack.image)
    assert series.facts.modality == "CT"
    assert not series.problems

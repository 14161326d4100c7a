# SPDX-License-Identifier: Apache-2.0
"""The phantoms: same seed, same bytes; every stated fact is exactly what the mask says."""

import numpy as np
import pytest
from scipy import ndimage

from lib.phantom import PhantomStack, cine, head_stack, head_visits, write_nifti

SMALL = {"n_frames": 12, "size": 96, "spacing_mm": (2.4, 2.4, 10.0)}


def assert_truth(stack: PhantomStack) -> None:
    """Everything a lesion states, recomputed voxel by voxel in another way."""
    sx, sy, sz = stack.spacing_mm
    frames, height, width = stack.image.shape
    assert stack.image.dtype == np.uint16
    assert stack.mask.dtype == stack.instances.dtype == np.uint8
    np.testing.assert_array_equal(stack.mask, stack.instances > 0)
    assert {lesion.id for lesion in stack.lesions} == set(np.unique(stack.instances)) - {0}
    for lesion in stack.lesions:
        part = stack.instances == lesion.id
        assert ndimage.label(part)[1] == 1
        t, r, c = np.nonzero(part)
        lps = np.stack([(c - (width - 1) / 2) * sx, (r - (height - 1) / 2) * sy, (t - (frames - 1) / 2) * sz])
        half = np.array([sx, sy, sz]) / 2
        np.testing.assert_allclose(lesion.center_lps_mm, lps.mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(lesion.box_lps_mm, [*(lps.min(1) - half), *(lps.max(1) + half)], atol=1e-6)
        assert lesion.volume_mm3 == pytest.approx(part.sum() * sx * sy * sz)
        assert set(lesion.frame_boxes) == set(t.tolist())
        for frame, (x0, y0, x1, y1) in lesion.frame_boxes.items():
            rows, cols = np.nonzero(part[frame])
            assert (x0, y0, x1, y1) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("seed", range(6))
def test_lesions_state_what_the_mask_holds(seed: int) -> None:
    stack = head_stack(seed, **SMALL)
    assert 1 <= len(stack.lesions) <= 4
    assert_truth(stack)


def test_full_size_stack_has_truth_and_the_asked_number_of_disjoint_lesions() -> None:
    stack = head_stack(7, n_lesions=3)
    assert stack.image.shape == (24, 256, 256)
    assert len(stack.lesions) == 3
    assert_truth(stack)
    wide = [ndimage.binary_dilation(stack.instances == lesion.id, np.ones((3, 3, 3))) for lesion in stack.lesions]
    assert max(np.sum(wide, axis=0).flat) == 1, "lesions keep two voxels between them"


def test_same_seed_same_bytes_and_other_seed_other_bytes() -> None:
    first, again, other = (head_stack(seed, **SMALL) for seed in (3, 3, 4))
    for name in ("image", "mask", "instances"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.lesions == again.lesions
    assert first.image.tobytes() != other.image.tobytes()


def test_healthy_head_has_an_image_and_no_lesion() -> None:
    stack = head_stack(5, n_lesions=0, **SMALL)
    assert stack.lesions == ()
    assert not stack.mask.any()
    assert stack.image.max() > 100


def test_lesions_lie_in_the_head_and_most_are_brighter_than_their_surroundings() -> None:
    brighter = []
    for seed in range(8):
        stack = head_stack(seed, **SMALL)
        for lesion in stack.lesions:
            part = stack.instances == lesion.id
            ring = ndimage.binary_dilation(part, np.ones((1, 3, 3)), iterations=4) & (stack.mask == 0)
            brighter.append(np.median(stack.image[part]) > np.median(stack.image[ring]))
            assert np.median(stack.image[part]) > 3 * np.median(stack.image[:, :6, :6])
    assert np.mean(brighter) > 0.8


def test_heads_differ_in_brightness_range() -> None:
    tops = [np.percentile(head_stack(seed, n_lesions=0, **SMALL).image, 99.7) for seed in range(12)]
    assert min(tops) < 256
    assert max(tops) > 500


@pytest.mark.parametrize(
    ("n_frames", "size", "spacing_mm"),
    [
        (1, 32, (0.94, 0.94, 5.0)),
        (2, (33, 47), (1.0, 1.2, 3.0)),
        (40, (64, 50), (3.0, 3.0, 4.0)),
        (5, 300, (0.7, 0.7, 6.0)),
    ],
)
def test_any_size(n_frames: int, size: int | tuple[int, int], spacing_mm: tuple[float, float, float]) -> None:
    stack = head_stack(11, n_frames=n_frames, size=size, spacing_mm=spacing_mm, n_lesions=1)
    height, width = (size, size) if isinstance(size, int) else size
    assert stack.image.shape == (n_frames, height, width)
    assert stack.spacing_mm == spacing_mm
    assert_truth(stack)


@pytest.mark.parametrize(
    "wrong",
    [{"n_frames": 0}, {"size": 16}, {"spacing_mm": (1, 0, 1)}, {"n_lesions": -1}, {"n_lesions": 60, "size": 32}],
)
def test_impossible_requests_are_errors(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        head_stack(0, **{"n_frames": 2, **wrong})


@pytest.mark.parametrize("seed", range(4))
def test_growth_is_known(seed: int) -> None:
    growth = (2.0, 3.0, 1.0, 4.4)
    visits = head_visits(seed, days=(0, 30, 90, 180), growth=growth, new_lesion=False, **SMALL)
    assert [visit.day for visit in visits] == [0, 30, 90, 180]
    first = {lesion.id: lesion.volume_mm3 for lesion in visits[0].lesions}
    for visit, factor in zip(visits, growth, strict=True):
        assert_truth(visit)
        for lesion in visit.lesions:
            assert lesion.volume_mm3 / first[lesion.id] == pytest.approx(factor / growth[0], rel=0.1)
    assert visits[0].image.tobytes() != visits[1].image.tobytes()
    small, large = visits[2].mask > 0, visits[3].mask > 0
    assert not (small & ~large).any(), "a lesion grows over its old place"


def test_anatomy_stays_and_noise_changes_between_visits() -> None:
    first, second = head_visits(2, days=(0, 60), growth=(1, 1), new_lesion=False, **SMALL)
    np.testing.assert_array_equal(first.instances, second.instances)
    assert (first.image != second.image).mean() > 0.2
    assert np.corrcoef(first.image.ravel(), second.image.ravel())[0, 1] > 0.98


def test_a_new_lesion_appears_later_and_then_grows() -> None:
    growth = (1.0, 1.5, 2.2)
    visits = head_visits(1, growth=growth, n_lesions=1, new_lesion=True, **SMALL)
    there = [{lesion.id: lesion.volume_mm3 for lesion in visit.lesions} for visit in visits]
    assert set(there[0]) == {1}
    assert set(there[-1]) == {1, 2}
    start = next(k for k, volumes in enumerate(there) if 2 in volumes)
    for k in range(start, 3):
        assert there[k][2] / there[start][2] == pytest.approx(growth[k] / growth[start], rel=0.1)


def test_visits_need_matching_days_and_growth() -> None:
    with pytest.raises(ValueError, match="one entry per visit"):
        head_visits(0, days=(0, 1), growth=(1.0,))
    with pytest.raises(ValueError, match="positive"):
        head_visits(0, days=(0,), growth=(0.0,))


def test_nifti_keeps_pixels_and_affine(tmp_path) -> None:
    import nibabel as nib

    stack = head_stack(6, **SMALL)
    write_nifti(stack, tmp_path / "a" / "image.nii.gz", tmp_path / "a" / "mask.nii.gz")
    image, mask = (nib.load(tmp_path / "a" / f"{name}.nii.gz") for name in ("image", "mask"))
    np.testing.assert_array_equal(np.asarray(image.dataobj), stack.image.transpose(2, 1, 0))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), stack.mask.transpose(2, 1, 0))
    assert image.get_data_dtype() == np.uint16
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, stack.affine, atol=1e-4)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    lesion = stack.lesions[0]
    index = np.argwhere(stack.instances == lesion.id).mean(axis=0)[::-1]
    ras = (image.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(ras * [-1, -1, 1], lesion.center_lps_mm, atol=1e-3)


def test_cine_lesion_enters_moves_and_leaves() -> None:
    clip = cine(4)
    assert clip.image.shape == clip.mask.shape == (48, 240, 320)
    assert clip.image.dtype == clip.mask.dtype == np.uint8
    seen = clip.mask.any(axis=(1, 2))
    assert not seen[0]
    assert not seen[-1]
    assert 0.4 < seen.mean() < 0.95
    first, last = np.flatnonzero(seen)[[0, -1]]
    assert seen[first : last + 1].all()
    assert set(clip.boxes) == set(np.flatnonzero(seen).tolist())
    for frame, (x0, y0, x1, y1) in clip.boxes.items():
        rows, cols = np.nonzero(clip.mask[frame])
        assert (x0, y0, x1, y1) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
    centers = np.array([[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in clip.boxes.values()])
    assert np.ptp(centers, axis=0).max() > 3
    middle = clip.image[24]
    assert middle[clip.mask[24] > 0].mean() < 0.85 * middle[(clip.mask[24] == 0) & (middle > 0)].mean()


def test_cine_is_deterministic_and_takes_any_size() -> None:
    first, again = (cine(9, n_frames=3, size=(40, 56), frame_time_ms=50) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.shape == (3, 40, 56)
    assert first.frame_time_ms == 50
    assert cine(9, n_frames=1, size=(64, 64)).mask.any()
    with pytest.raises(ValueError, match="32x32"):
        cine(0, size=(8, 8))

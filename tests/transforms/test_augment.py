# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from lib.configs import AugmentConfig
from lib.transforms.augment import build_augment
from lib.transforms.tones import bent_by

NOTHING = AugmentConfig(flip=0, reverse=0, affine=0, contrast=0, intensity=0, noise_std=0, blur=0)
GEOMETRY = AugmentConfig(flip=0.5, affine=1.0, contrast=0, intensity=0, noise_std=0, blur=0)
GAMMA_ONLY = AugmentConfig(flip=0, affine=0, contrast=1, intensity=1, noise_std=0, blur=0)


def blob(frames: int = 4, size: int = 64) -> torch.Tensor:
    """The same soft, lopsided blob on every frame, (T, H, W)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    one = torch.exp(-((x - 24.0) ** 2) / 80 - (y - 36.0) ** 2 / 200)
    return one.expand(frames, size, size).clone()


def test_all_frames_and_the_mask_get_the_same_geometric_change() -> None:
    augment = build_augment(GEOMETRY, 64, seed=0)
    changed = 0
    for _ in range(8):
        image = blob()
        out = augment({"image": image, "mask": (image > 0.5).float()})
        pixels, mask = torch.as_tensor(out["image"]), torch.as_tensor(out["mask"]) > 0.5
        for t in range(1, 4):
            torch.testing.assert_close(pixels[t], pixels[0])
            assert torch.equal(mask[t], mask[0])
        seen = pixels[0] > 0.5
        assert 2 * (seen & mask[0]).sum() / (seen.sum() + mask[0].sum()) > 0.95
        changed += int(not torch.allclose(pixels[0], image[0], atol=0.05))
    assert changed == 8


def test_shift_and_scale_act_in_both_directions_of_the_frame() -> None:
    config = AugmentConfig(flip=0, affine=1, rotate_deg=0, contrast=0, intensity=0, noise_std=0, blur=0)
    augment = build_augment(config, 64, seed=0)
    centers = []
    for _ in range(12):
        mask = torch.as_tensor(augment({"image": blob(1), "mask": (blob(1) > 0.5).float()})["mask"])[0]
        centers.append(mask.nonzero().float().mean(0))
    spread = torch.stack(centers).std(0)
    assert spread[0] > 2
    assert spread[1] > 2


@pytest.mark.parametrize("config", [AugmentConfig(), GEOMETRY, GAMMA_ONLY])
def test_the_seed_decides(config: AugmentConfig) -> None:
    def draw(seed: int) -> list[np.ndarray]:
        augment = build_augment(config, 48, seed)
        results = [augment({"image": blob(), "mask": (blob() > 0.5).float()}) for _ in range(4)]
        return [np.asarray(result[key]) for result in results for key in ("image", "mask")]

    first, second, other = draw(3), draw(3), draw(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("size", [32, 64, 96])
def test_switched_off_only_crops_or_pads_around_the_centre(size: int) -> None:
    image = blob()
    out = build_augment(NOTHING, size, seed=0)({"image": image, "mask": (image > 0.5).float()})
    pixels, mask = np.asarray(out["image"]), np.asarray(out["mask"])
    assert pixels.shape == mask.shape == (4, size, size)
    half = min(size, 64) // 2
    inner, source = (slice(n // 2 - half, n // 2 + half) for n in (size, 64))
    np.testing.assert_allclose(pixels[:, inner, inner], image[:, source, source], atol=1e-4)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert mask[:, : size // 2 - half].sum() == 0


def test_intensity_changes_leave_the_mask_and_the_geometry_alone() -> None:
    augment = build_augment(GAMMA_ONLY, 64, seed=0)
    image, mask = blob() + 0.1 * torch.arange(4)[:, None, None], (blob() > 0.5).float()
    out = augment({"image": image.clone(), "mask": mask.clone()})
    pixels = np.asarray(out["image"])
    assert np.array_equal(np.asarray(out["mask"]), mask)
    assert not np.allclose(pixels, image)
    order = np.argsort(image.numpy().ravel(), kind="stable")
    assert (np.diff(pixels.ravel()[order]) >= -1e-5).all()  # one monotone curve for the whole sequence


def head(frames: int = 3, channels: int = 2) -> torch.Tensor:
    """Noisy discs of two tissues on a dark background, each channel with its own tones, (T * C, H, W)."""
    y, x = torch.meshgrid(torch.arange(64) - 32, torch.arange(64) - 32, indexing="ij")
    tissue = ((x**2 + y**2) < 28**2).float() + ((x**2 + y**2) < 14**2).float()
    noise = 0.1 * torch.randn(frames * channels, 64, 64, generator=torch.Generator().manual_seed(0))
    image = torch.where(tissue > 0, tissue + noise, torch.zeros(())) - 2
    image[1::channels] *= 0.7
    return image


def tones(channels: int, seed: int = 0) -> Compose:
    return build_augment(replace(NOTHING, tones=1.0), 64, seed, channels)


def test_tones_change_but_mean_and_spread_of_the_tissue_stay() -> None:
    image = head()
    changed = tones(2)({"image": image, "mask": torch.zeros(3, 64, 64)})["image"]
    for c in range(2):
        before, after = image[c::2], changed[c::2]
        tissue = before > before.min() + 0.5
        assert (before - after)[tissue].abs().mean() > 0.02
        assert after[tissue].mean() == pytest.approx(float(before[tissue].mean()), abs=1e-3)
        assert after[tissue].std() == pytest.approx(float(before[tissue].std()), rel=1e-2)
        assert (after[~tissue] <= before[~tissue]).all()


def test_tones_are_one_draw_for_all_frames_and_one_for_each_channel() -> None:
    frame = head(1)
    changed = tones(2)({"image": frame.repeat(3, 1, 1), "mask": torch.zeros(3, 64, 64)})["image"]
    torch.testing.assert_close(changed[:2], changed[2:4])
    same = head(1, 1).repeat(2, 1, 1)
    apart = tones(2)({"image": same, "mask": torch.zeros(1, 64, 64)})["image"]
    assert (apart[0] - apart[1]).abs().max() > 0.05


def test_tones_keep_which_grey_value_is_above_which_where_nothing_is_shaded() -> None:
    values = np.linspace(0, 5, 50)
    bent = bent_by(values, np.array([0.5, 2.0, 1.0]), np.ones(50, bool))
    assert (np.diff(bent) > 0).all()
    assert bent[0] == 0
    assert bent[-1] == pytest.approx(5)


def test_tones_leave_an_image_without_tissue_alone() -> None:
    image = torch.full((4, 64, 64), -3.0)
    changed = tones(1)({"image": image, "mask": torch.zeros(4, 64, 64)})["image"]
    torch.testing.assert_close(torch.as_tensor(changed), image)

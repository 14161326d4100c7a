# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.configs import InputConfig
from lib.transforms.prepare import FrameGrid, foreground, in_range, prepare, prepare_label
from lib.types import InputError, Sequence, SequenceKind

CONFIG = InputConfig(spacing_mm=1.5, max_size_px=96)


def sequence(frames: np.ndarray, spacing_mm: tuple[float, float] = (1.5, 1.5)) -> Sequence:
    channels = tuple(f"c{i}" for i in range(frames.shape[1]))
    affine = np.diag([*spacing_mm, 5.0, 1.0])
    positions = tuple(5.0 * t for t in range(len(frames)))
    present = (True,) * len(channels)
    return Sequence(frames, SequenceKind.STACK, positions, spacing_mm, affine, channels, present)


def disc(shape: tuple[int, int], t: int = 2, margin: float = 0.9) -> np.ndarray:
    """Noise inside an ellipse on air."""
    rng = np.random.default_rng(0)
    y, x = (np.linspace(-1, 1, n) for n in shape)
    inside = y[:, None] ** 2 + x[None] ** 2 < margin**2
    return (rng.normal(500, 50, (t, 1, *shape)) * inside).astype(np.float32)


SIZES = [
    # (H, W), spacing (x, y), network (h, w) before the crop
    ((64, 64), (1.5, 1.5), (64, 64)),
    ((63, 51), (1.5, 1.5), (63, 51)),
    ((101, 47), (1.2, 0.9), (61, 38)),
    ((40, 40), (3.0, 1.5), (40, 80)),
    ((37, 90), (0.7, 2.0), (49, 42)),
    ((300, 200), (1.5, 1.5), (96, 64)),
    ((17, 9), (1.5, 1.5), (17, 9)),
    ((1, 1), (1.5, 1.5), (1, 1)),
    ((64, 64), (0.01, 0.01), (1, 1)),
]


@pytest.mark.parametrize(("size", "spacing", "expected"), SIZES)
@pytest.mark.parametrize("t", [1, 3])
def test_sizes_there_and_back(size, spacing, expected, t: int) -> None:
    frames, grid = prepare(sequence(disc(size, t), spacing), CONFIG)
    y0, y1, x0, x1 = grid.crop
    assert grid.original == size
    assert grid.resampled == expected
    assert frames.shape == (t, 1, y1 - y0, x1 - x0)
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()
    assert grid.restore(torch.from_numpy(frames)).shape == (t, 1, *size)


@pytest.mark.parametrize(("size", "spacing", "expected"), SIZES[:6])
def test_a_mask_comes_back_where_it_was(size, spacing, expected) -> None:
    frames = disc(size)
    label = np.zeros((2, *size), np.uint8)
    (h, w), half = size, 6
    rows, columns = slice(h // 3, h // 3 + 2 * half), slice(w // 2 - half, w // 2 + half)
    label[1, rows, columns] = 1
    _, grid = prepare(sequence(frames, spacing), CONFIG)
    masks = prepare_label(label, grid, 1)
    back = grid.restore(torch.from_numpy(masks).float())[:, 0].numpy() >= 0.5
    overlap = 2 * (back & (label > 0)).sum() / (back.sum() + label.sum())
    assert not back[0].any()
    assert overlap > 0.8
    np.testing.assert_allclose(
        np.argwhere(back[1]).mean(0), np.argwhere(label[1]).mean(0), atol=0.5 * max(h, w) / max(expected) + 0.1
    )


def test_without_resampling_the_mask_comes_back_exactly() -> None:
    label = np.random.default_rng(1).integers(0, 4, (2, 64, 50)).astype(np.uint8)
    frames, grid = prepare(sequence(np.full((2, 1, 64, 50), 7, np.float32)), CONFIG)
    masks = prepare_label(label, grid, 3)
    assert masks.shape == (2, 3, *frames.shape[-2:])
    back = grid.restore(torch.from_numpy(masks))
    for value in (1, 2, 3):
        assert np.array_equal(back[:, value - 1].numpy() == 1, label == value)


def test_crop_holds_the_foreground_of_all_frames() -> None:
    frames = np.zeros((2, 1, 80, 90), np.float32)
    frames[0, 0, 10:50, 20:60] = 100
    frames[1, 0, 15:70, 25:58] = 100
    _, grid = prepare(sequence(frames), CONFIG)
    assert grid.crop == (10, 70, 20, 60)


def test_small_foreground_is_not_cropped_to() -> None:
    frames = np.zeros((1, 1, 80, 90), np.float32)
    frames[0, 0, 10:30, 10:80] = 100
    _, grid = prepare(sequence(frames), CONFIG)
    assert grid.crop == (0, 80, 0, 90)


def test_foreground_has_mean_zero_and_deviation_one() -> None:
    frames, _ = prepare(sequence(disc((80, 80))), replace(CONFIG, clip=(-100.0, 100.0)))
    inside = foreground(disc((80, 80)), CONFIG.foreground_fraction)[:, :, 4:76, 4:76]
    assert frames[inside].mean() == pytest.approx(0, abs=0.02)
    assert frames[inside].std() == pytest.approx(1, abs=0.02)


def test_channels_are_scaled_apart_and_outliers_clipped() -> None:
    one = disc((80, 80))
    frames, _ = prepare(sequence(np.concatenate([one, 1000 * one], 1)), CONFIG)
    np.testing.assert_allclose(frames[:, 0], frames[:, 1], atol=1e-3)
    one[0, 0, 40, 40] = 1e6
    frames, _ = prepare(sequence(one), CONFIG)
    assert frames.max() == CONFIG.clip[1]
    assert frames.min() >= CONFIG.clip[0]


@pytest.mark.parametrize("value", [0.0, 1.0, 1000.1, -5.0, 1e6])
def test_a_constant_image_is_flat(value: float) -> None:
    frames, grid = prepare(sequence(np.full((3, 1, 70, 61), value, np.float32)), CONFIG)
    assert np.isfinite(frames).all()
    assert np.ptp(frames) == 0
    assert frames.shape[-2:] == (70, 61)
    if value > 0:
        assert abs(frames[0, 0, 0, 0]) < 1e-3 * value
    assert grid.restore(torch.zeros(3, 1, 70, 61)).shape == (3, 1, 70, 61)


def test_air_below_zero_is_background() -> None:
    frames = np.full((1, 1, 80, 80), -1000, np.float32)
    frames[:, :, 20:60, 15:65] = 50
    _, grid = prepare(sequence(frames), CONFIG)
    assert grid.crop == (20, 60, 15, 65)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0)])
def test_spacing_must_be_positive(spacing: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="not positive"):
        prepare(sequence(disc((40, 40)), spacing), CONFIG)


def test_boxes_go_back_to_original_pixels_and_are_clipped() -> None:
    grid = FrameGrid(original=(100, 60), resampled=(50, 90), crop=(10, 40, 20, 80))
    # x: (v + 20) * 60 / 90, y: (v + 10) * 100 / 50
    assert grid.box_to_original((1.0, 2.0, 4.0, 7.0)) == pytest.approx((14, 24, 16, 34))
    assert grid.box_to_original((-50.0, -50.0, 500.0, 500.0)) == (0.0, 0.0, 60.0, 100.0)


def test_box_of_a_mask_goes_where_the_mask_goes() -> None:
    frames, label = disc((100, 70)), np.zeros((2, 100, 70), np.uint8)
    label[0, 40:60, 20:50] = 1
    _, grid = prepare(sequence(frames, (3.0, 1.5)), CONFIG)
    mask = prepare_label(label, grid, 1)[0, 0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = grid.box_to_original((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    assert box == pytest.approx((20, 40, 50, 60), abs=1.0)


CT = InputConfig(spacing_mm=1.5, max_size_px=96, intensity_range=(-1000.0, 400.0), foreground_fraction=0.5)


def chest(extra: float = 0.0) -> np.ndarray:
    """A body of 40 HU in air, a lung in it, and one voxel of metal somewhere."""
    frames = np.full((2, 1, 72, 80), -1000.0, np.float32)
    frames[:, :, 10:60, 12:70] = 40.0
    frames[:, :, 20:50, 20:40] = -850.0
    frames[0, 0, 30, 60] = 40.0 + extra
    return frames


def test_a_range_scales_by_fixed_numbers_and_crops_to_the_body() -> None:
    frames, grid = prepare(sequence(chest()), CT)
    assert grid.crop == (10, 60, 12, 70)
    assert frames[0, 0, 0, 0] == pytest.approx((40 + 300) / 700)
    assert frames[0, 0, 20, 10] == pytest.approx((-850 + 300) / 700)


def test_a_range_does_not_depend_on_the_rest_of_the_image() -> None:
    plain, metal = (prepare(sequence(chest(extra)), CT)[0] for extra in (0.0, 3000.0))
    assert metal.max() == 1.0
    changed = plain != metal
    assert changed.sum() == 1
    one_frame, _ = prepare(sequence(chest()[1:]), CT)
    np.testing.assert_array_equal(one_frame[0], plain[1])


def test_a_range_holds_whatever_lies_beyond_it_and_missing_channels_are_its_middle() -> None:
    values = np.array([-3024.0, -1000.0, -300.0, 400.0, 3071.0], np.float32)
    np.testing.assert_allclose(in_range(values, CT), [-1, -1, 0, 1, 1], atol=1e-6)
    both = np.concatenate([chest(), np.zeros_like(chest())], axis=1)
    image = replace(sequence(both), channel_present=(True, False))
    frames, _ = prepare(image, CT)
    assert not frames[:, 1].any()
    with pytest.raises(InputError, match="intensity_range is not set"):
        in_range(values, CONFIG)


def test_nothing_but_air_is_kept_whole() -> None:
    frames, grid = prepare(sequence(np.full((2, 1, 72, 80), -1000.0, np.float32)), CT)
    assert grid.crop == (0, 72, 0, 80)
    assert (frames == -1).all()


@pytest.mark.parametrize("wrong", [(400.0, -1000.0), (0.0, 0.0)])
def test_a_range_goes_from_low_to_high(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="intensity_range needs a low and a higher number"):
        InputConfig(intensity_range=wrong)

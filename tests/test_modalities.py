# SPDX-License-Identifier: Apache-2.0
"""Several modalities from the prepared frames to the answer: training with channels left out, weights in the result."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from lib.configs import (
    AugmentConfig,
    FrameRecurrenceConfig,
    FusionConfig,
    InferenceConfig,
    InputConfig,
    ModelConfig,
    NetworkConfig,
    TrainingConfig,
)
from lib.infers.lesion import LesionSegmentation
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.studies import CaseRef
from lib.trainers.cases import Case, WindowSampler, load_cases
from lib.trainers.fit import fit
from lib.trainers.scoring import case_dices
from lib.transforms.prepare import prepare
from lib.types import Sequence, SequenceKind
from lib.weights.files import save_weights
from lib.weights.versions import VersionStore

CHANNELS = ("t1", "flair", "t1ce")


def model(kind: str = "additive", dropout: float = 0.0, **training: object) -> ModelConfig:
    quick = {"max_epochs": 1, "steps_per_epoch": 2, "batch_size": 2, "window": 4, "size_px": 32}
    plain = AugmentConfig(affine=0, contrast=0, intensity=0, noise_std=0, blur=0, modality_dropout=dropout)
    return ModelConfig(
        task="segmentation",
        description="test",
        labels={"lesion": 1},
        network=NetworkConfig(
            in_channels=3,
            channels=(8, 12, 16),
            norm_groups=4,
            frame_recurrence=FrameRecurrenceConfig(hidden=8),
            fusion=FusionConfig(kind=kind, hidden=8),
        ),
        input=InputConfig(channels=CHANNELS, reference="flair", spacing_mm=2.0),
        training=TrainingConfig(**{**quick, "augment": plain, **training}),
        inference=InferenceConfig(flip_tta=False, max_frames=4),
        name="test",
    )


def case(seed: int = 0, present: tuple[bool, ...] = (), informative: int = 1) -> Case:
    """Noise in three channels, with a square that one of them shows."""
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(0, 1, (6, 3, 32, 32)), np.zeros((6, 1, 32, 32), np.uint8)
    y, x = rng.integers(2, 18, 2)
    mask[2:5, :, y : y + 12, x : x + 12] = 1
    image[:, informative] += 3 * mask[:, 0]
    image[:, ~np.array(present or (True,) * 3)] = 0
    return Case(f"p{seed}", f"p{seed}", image.astype(np.float16), mask, present)


def sequence(*channels: np.ndarray, present: tuple[bool, ...] | None = None) -> Sequence:
    frames = np.stack(channels, axis=1).astype(np.float32)
    positions = tuple(5.0 * t for t in range(len(frames)))
    there = present or (True,) * len(channels)
    return Sequence(frames, SequenceKind.STACK, positions, (2.0, 2.0), np.diag([2.0, 2, 5, 1]), CHANNELS, there)


def head(seed: int, air: float = 0.0) -> np.ndarray:
    """Noise inside a disc on air, (3, 80, 80)."""
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    inside = y**2 + x**2 < 0.5
    return np.where(inside, np.random.default_rng(seed).normal(500, 50, (3, 80, 80)), air)


# --- preparing


def test_a_channel_with_bright_air_is_cut_and_scaled_like_the_others() -> None:
    config = model().input
    dark, _ = prepare(sequence(head(0), head(1), head(2)), config)
    bright, grid = prepare(sequence(head(0, air=300), head(1), head(2)), config)
    assert grid.crop != (0, 80, 0, 80)
    assert bright.shape == dark.shape
    inside = bright[:, 0, 20:-20, 20:-20]
    np.testing.assert_allclose(inside, dark[:, 0, 20:-20, 20:-20], atol=1e-3)


def test_a_missing_channel_is_the_mean_and_does_not_count_for_the_cut() -> None:
    config, there = model().input, (True, True, False)
    with_rubbish, grid = prepare(sequence(head(0), head(1), np.full((3, 80, 80), 9e3), present=there), config)
    with_zeros, same = prepare(sequence(head(0), head(1), np.zeros((3, 80, 80)), present=there), config)
    assert grid == same
    np.testing.assert_array_equal(with_rubbish, with_zeros)
    assert not with_zeros[:, 2].any()


# --- training


@pytest.mark.parametrize("dropout", [0.0, 0.3, 1.0])
def test_channels_are_dropped_as_often_as_asked_and_never_all(dropout: float) -> None:
    sampler = WindowSampler([case(present=(True, True, False))], model(dropout=dropout, batch_size=50).training)
    batch = sampler.batch()
    assert batch.channel_present.shape == (50, 3)
    assert not batch.channel_present[:, 2].any()
    assert batch.channel_present.any(1).all()
    for row, present in enumerate(batch.channel_present):
        assert not batch.frames[row][:, ~present].any()
        assert all(batch.frames[row][:, c].any() for c in range(3) if present[c])
    lost = 1 - batch.channel_present[:, :2].float().mean()
    assert lost == pytest.approx(dropout if dropout < 1 else 0.5, abs=0.12)


def test_without_dropout_complete_sequences_are_drawn_as_before() -> None:
    complete = [replace(case(0)), replace(case(0), channel_present=(True, True, True))]
    batches = [WindowSampler([one], model().training).batch() for one in complete]
    assert batches[0].channel_present is batches[1].channel_present is None
    assert torch.equal(batches[0].frames, batches[1].frames)


@pytest.mark.parametrize("kind", ["none", "additive", "scaled_dot_product"])
def test_the_loop_runs_with_channels_missing(kind: str) -> None:
    config = model(kind, dropout=0.5)
    cases = [case(0), case(1, (True, True, False)), case(2, (False, True, False))]
    torch.manual_seed(0)
    network = build_network(config)
    result = fit(network, cases, cases[:2], config, learning_rate=1e-3)
    assert np.isfinite(result.history[-1].loss)
    assert all(0 <= dice <= 1 for dice in case_dices(network, cases, config))


def test_the_modality_that_shows_the_lesion_wins_and_its_loss_is_survived() -> None:
    """Two channels show the lesion, one is noise: the noise loses weight, and either of the two suffices."""
    cases = [case(seed) for seed in range(8)]
    for one in cases:
        one.frames[:, 0] += 3 * one.masks[:, 0]  # t1 shows it too; t1ce is noise
    config = model(dropout=0.3, max_epochs=1, steps_per_epoch=120, ema_decay=0.9)
    torch.manual_seed(0)
    network = build_network(config)
    network.load_state_dict(fit(network, cases, [], config, learning_rate=1e-2).state)
    predictor = Predictor(config, network)
    held_out = case(99)
    held_out.frames[:, 0] += 3 * held_out.masks[:, 0]
    truth, frames = held_out.masks.astype(bool), held_out.frames.astype(np.float32)

    def dice_without(*lost: int) -> float:
        present = tuple(c not in lost for c in range(3))
        maps = predictor.maps(np.where(np.array(present)[:, None, None], frames, 0), channel_present=present)
        found = (maps.mask >= 0.5).numpy()
        return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))

    weights = predictor.maps(frames).modality_weights.mean(0)
    assert weights[2] == weights.min()
    assert dice_without() > 0.8
    assert min(dice_without(0), dice_without(1)) > 0.6


def test_a_case_knows_which_channels_its_study_has(tmp_path: Path) -> None:
    flair = head(1).transpose(2, 1, 0).astype(np.float32)
    affine, image, label = np.diag([-2.0, -2, 5, 1]), tmp_path / "a.nii.gz", tmp_path / "l.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.stack([head(0).transpose(2, 1, 0), flair, flair], -1), affine), image)
    nibabel.save(nibabel.Nifti1Image((flair > 600).astype(np.uint8), affine), label)
    (read,) = load_cases([CaseRef("a", "a", image, label)], model())
    assert read.channel_present == (True, True, False)
    assert read.has_channel.tolist() == [True, True, False]
    assert not read.frames[:, 2].any()
    assert case().has_channel.tolist() == [True, True, True]


# --- the result


@pytest.mark.parametrize("flip", [False, True])
def test_the_prediction_says_the_weight_of_each_channel_on_each_frame(flip: bool) -> None:
    config = model()
    config = replace(config, inference=replace(config.inference, flip_tta=flip))
    torch.manual_seed(0)
    predictor = Predictor(config, build_network(config))
    image = sequence(*(np.concatenate([head(c), head(c + 9)]) for c in range(3)))  # two windows of frames
    weights = predictor.predict(image).modality_weights
    assert weights.shape == (6, 3)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    lacking = predictor.predict(replace(image, channel_present=(True, False, True))).modality_weights
    assert not lacking[:, 1].any()
    np.testing.assert_allclose(lacking.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "additive"])
def test_the_answer_names_each_channel_with_its_weight(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "results"))
    config = replace(model(kind), pretrained="w.safetensors")
    save_weights(build_network(config).state_dict(), tmp_path / "shipped" / "w.safetensors", {})
    task = LesionSegmentation(config, VersionStore(tmp_path / "model", config, tmp_path / "shipped"))
    channels = [head(0), head(1), np.zeros((3, 80, 80))]
    array = np.stack([c.transpose(2, 1, 0) for c in channels], -1)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-2.0, -2, 5, 1])), tmp_path / "a.nii.gz")
    _, params = task({"image": str(tmp_path / "a.nii.gz"), "device": "cpu"})
    answer = json.loads(json.dumps(params))
    listed = answer["modalities"]
    assert [(m["channel"], m["present"]) for m in listed] == [("t1", True), ("flair", True), ("t1ce", False)]
    assert "Channel 't1ce' has one value throughout: taken as missing." in answer["warnings"]
    if kind == "none":
        assert answer["modality_weights"] is None
        assert all(m["weight"] is None for m in listed)
        return
    assert listed[2]["weight"] == 0
    assert sum(m["weight"] for m in listed) == pytest.approx(1, abs=2e-3)
    assert len(answer["modality_weights"]) == 3
    np.testing.assert_allclose(np.sum(answer["modality_weights"], axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(np.mean(answer["modality_weights"], axis=0), [m["weight"] for m in listed], atol=1e-3)

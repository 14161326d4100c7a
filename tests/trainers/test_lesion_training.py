# SPDX-License-Identifier: Apache-2.0
"""Training on several lesion classes: balanced windows, crops, the class loss, another model's encoder, calibration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.classification.calibration import Calibration
from lib.configs import InferenceConfig, InputConfig, ModelConfig, NetworkConfig, TrainingConfig, load_config
from lib.networks.heads import MaskHead
from lib.phantom import chest_stack
from lib.registry import build_network
from lib.trainers.cases import Case, WindowSampler
from lib.trainers.draws import class_draws, crop_anywhere, pixel_priors
from lib.trainers.fit import fit
from lib.trainers.folders import train_on_folders
from lib.trainers.lesion_classes import lesion_calibration
from lib.trainers.phantoms import as_labels, phantom_cases
from lib.types import InputError
from lib.weights.files import read_metadata, read_weights, save_weights

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = NetworkConfig(channels=(8, 8, 8), norm_groups=4, boxes=False)


def model(labels: tuple[str, ...] = ("common", "rare"), **training: object) -> ModelConfig:
    settings = TrainingConfig(max_epochs=1, steps_per_epoch=2, batch_size=2, window=3, size_px=32, **training)
    by_name = {name: i for i, name in enumerate(labels, 1)}
    return ModelConfig("segmentation", "test", by_name, network=SMALL, training=settings, name="test")


def case(number: int, class_index: int | None, classes: int = 2, at: int = 20) -> Case:
    masks = np.zeros((6, classes, 64, 64), np.uint8)
    if class_index is not None:
        masks[2:4, class_index, at : at + 6, at : at + 6] = 1
    frames = np.random.default_rng(number).normal(size=(6, 1, 64, 64)) + 3 * masks.max(axis=1, keepdims=True)
    return Case(f"c{number}", f"p{number}", frames.astype(np.float16), masks)


def cases() -> list[Case]:
    return [*(case(i, 0) for i in range(9)), case(9, 1), case(10, None)]


def shares(balance: float) -> np.ndarray:
    config = model(class_balance=balance, lesion_fraction=1.0).training
    sampler = WindowSampler(cases(), replace(config, batch_size=150, augment=replace(config.augment, affine=0.0)))
    shown = sampler.batch().masks.any(axis=(1, 3, 4))
    return shown.mean(axis=0)


def test_rare_classes_come_as_often_as_frequent_ones() -> None:
    as_they_come, balanced = shares(0.0), shares(1.0)
    assert as_they_come[1] < 0.2
    assert balanced == pytest.approx([0.5, 0.5], abs=0.12)


def test_draws_need_balance_several_classes_and_a_lesion() -> None:
    masks, patients = [one.masks for one in cases()], [one.patient for one in cases()]
    draws = class_draws(masks, patients, 1.0)
    assert draws is not None
    assert draws.weights.sum() == pytest.approx(1)
    assert draws.weights[draws.classes == 1].sum() == pytest.approx(0.5)
    assert class_draws(masks, patients, 0.0) is None
    assert class_draws([mask[:, :1] for mask in masks], patients, 1.0) is None
    assert class_draws([np.zeros_like(masks[0])], ["p"], 1.0) is None


def test_priors_are_the_pixels_that_are_drawn() -> None:
    masks, patients = [one.masks for one in cases()], [one.patient for one in cases()]
    assert pixel_priors(masks, None) == pytest.approx([0.9, 0.1])
    assert pixel_priors(masks, class_draws(masks, patients, 1.0)) == pytest.approx([0.5, 0.5])
    assert pixel_priors([np.zeros_like(masks[0])], None) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_anywhere_holds_its_lesion_and_has_none_beyond_the_frame(seed: int) -> None:
    one = case(seed, 0, at=(seed * 3) % 58)
    image, mask = one.frames.astype(np.float32), one.masks
    cropped, lesion = crop_anywhere(np.random.default_rng(seed), image, mask, mask.any(axis=(0, 1)), 32)
    assert cropped.shape == (6, 1, 48, 48)
    assert lesion[2, 0].any()
    assert 0 < lesion.sum() <= mask.sum()
    inside = lesion[2, 0].astype(bool)
    assert cropped[2, 0][inside].mean() > 2, "image and mask move together"
    elsewhere, _ = crop_anywhere(np.random.default_rng(seed), image, mask, None, 32)
    assert elsewhere.shape == (6, 1, 48, 48)


def test_windows_made_to_hold_a_lesion_hold_it_wherever_it_lies() -> None:
    edge = [case(0, 0, at=56)]
    config = model(crop="anywhere", lesion_fraction=1.0).training
    still = replace(config, batch_size=24, augment=replace(config.augment, affine=0.0))
    assert WindowSampler(edge, still).batch().masks.any(axis=(1, 2, 3, 4)).all()
    centred = replace(still, crop="center")
    assert not WindowSampler(edge, centred).batch().masks.any()


def test_the_class_loss_looks_at_lesion_pixels_of_real_frames_only() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 2, 8, 8), torch.zeros(2, 3, 2, 8, 8)
    target[0, 0, 1, 2:4, 2:4] = 1
    target[1, 2, 0, :, :] = 1  # a padded frame
    mask = torch.tensor([[True, True, True], [True, True, False]])
    loss = MaskHead.compute_class_loss(logits, target, mask)
    elsewhere = logits.clone()
    elsewhere[0, 0, :, 5:] += 9
    elsewhere[1, 2] -= 9
    assert MaskHead.compute_class_loss(elsewhere, target, mask) == loss
    right = logits.clone()
    right[0, 0, 1, 2:4, 2:4] += 5
    assert MaskHead.compute_class_loss(right, target, mask) < loss
    shifted = logits + 7.0 * torch.rand(2, 3, 1, 8, 8)  # how sure a lesion is there at all
    assert MaskHead.compute_class_loss(shifted, target, mask) == pytest.approx(float(loss), abs=1e-5)
    empty = MaskHead.compute_class_loss(logits.requires_grad_(), torch.zeros_like(target), mask)
    empty.backward()
    assert empty == 0


def test_rare_classes_weigh_more_in_the_logit_adjusted_loss() -> None:
    logits, target = torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 1, 2, 4, 4)
    target[0, 0, 1, 1, 1] = 1
    mask = torch.ones(1, 1, dtype=torch.bool)
    rare = MaskHead.compute_class_loss(logits, target, mask, torch.tensor([0.9, 0.1]))
    common = MaskHead.compute_class_loss(logits, target, mask, torch.tensor([0.1, 0.9]))
    assert rare > common


@pytest.mark.parametrize("loss", ["focal", "logit_adjusted"])
def test_fit_runs_with_a_class_loss(loss: str) -> None:
    config = model(class_loss=loss, class_balance=1.0, crop="anywhere")
    torch.manual_seed(0)
    result = fit(build_network(config), cases(), [], config, learning_rate=1e-3)
    assert np.isfinite(result.history[-1].loss)


def test_a_calibration_comes_from_other_patients_and_several_classes_only() -> None:
    config, everyone = model(), cases()
    everyone[9].masks[:, 1], everyone[3].masks[:, 0] = 1, 1  # whatever is outlined there is lesion
    network = build_network(config)
    low = replace(config, inference=InferenceConfig(mask_threshold=0.0, flip_tta=False))
    found = lesion_calibration(network, everyone[:3], everyone[3:], low)
    assert found is not None
    assert Calibration.from_json(found).patients >= 1
    assert lesion_calibration(network, everyone, everyone[3:], low) is None
    assert lesion_calibration(network, everyone, [], low) is None
    assert lesion_calibration(network, everyone[:3], everyone[3:], replace(low, labels={"lesion": 1})) is None
    parts = replace(low, inference=replace(low.inference, class_of="pixel"))
    assert lesion_calibration(network, everyone[:3], everyone[3:], parts) is None
    high = replace(low, inference=replace(low.inference, mask_threshold=1.0))
    assert lesion_calibration(network, everyone[:3], everyone[3:], high) is None


def test_phantoms_speak_the_labels_of_the_model() -> None:
    stack = chest_stack(1, n_frames=6, size=64, spacing_mm=(5.0, 5.0, 6.0), kinds=("calcified", "solid"))
    four = load_config(CONFIGS / "chest_ct_segmentation.yaml")
    np.testing.assert_array_equal(as_labels(stack, four).mask, stack.mask)
    other = replace(four, labels={"calcified": 1, "solid": 2, "ground_glass": 3, "part_solid": 4})
    np.testing.assert_array_equal(as_labels(stack, other).mask == 1, stack.mask == 4)
    assert set(np.unique(as_labels(stack, replace(four, labels={"nodule": 1})).mask)) == {0, 1}
    with pytest.raises(InputError, match="the lesions of phantoms"):
        as_labels(stack, replace(four, labels={"cyst": 1, "solid": 2}))


def test_train_on_phantoms_alone_from_another_models_encoder(tmp_path: Path) -> None:
    other = replace(model(), network=replace(SMALL, boxes=True), name="other")
    torch.manual_seed(3)
    donor = build_network(other)
    save_weights(donor.state_dict(), tmp_path / "other.safetensors", {})
    config = replace(model(("lesion",), learning_rate=1e-12, weight_decay=0.0), input=InputConfig(spacing_mm=4.0))
    result = train_on_folders(
        config, [], tmp_path / "a.safetensors", phantoms=2, val_fraction=0.5, encoder=tmp_path / "other.safetensors"
    )
    kept = read_weights(tmp_path / "a.safetensors")
    encoder = {name: value for name, value in donor.state_dict().items() if name.startswith("encoder.")}
    assert encoder
    for name, value in encoder.items():
        torch.testing.assert_close(kept[name], value, atol=1e-5, rtol=1e-4)
    facts = read_metadata(tmp_path / "a.safetensors")
    assert (len(facts["train"]), len(facts["val"]), facts["phantoms"]) == (1, 1, 2)
    assert facts["calibration"] is None
    assert len(result.history) == 1
    wider = replace(config, network=replace(SMALL, channels=(16, 8, 8)))
    with pytest.raises(InputError, match=r"network\.channels"):
        train_on_folders(wider, [], tmp_path / "b.safetensors", phantoms=1, encoder=tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="nothing to train on"):
        train_on_folders(config, [], tmp_path / "b.safetensors")


def test_chest_phantoms_are_the_cases_of_the_chest_model() -> None:
    config = load_config(CONFIGS / "chest_ct_segmentation.yaml")
    (one,) = phantom_cases(replace(config, input=replace(config.input, spacing_mm=4.0)), 1)
    assert one.masks.shape[1] == 4
    assert one.masks.any()
    assert -1 <= one.frames.min() < -0.9
    assert 0.9 < one.frames.max() <= 1

# SPDX-License-Identifier: Apache-2.0
import math
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.configs import (
    AugmentConfig,
    FrameRecurrenceConfig,
    InferenceConfig,
    InputConfig,
    ModelConfig,
    NetworkConfig,
    TrainingConfig,
    load_config,
    override,
)
from lib.networks.lesion_net import LesionNet, LesionOutput
from lib.phantom import head_stack, write_dicom, write_nifti
from lib.registry import build_network
from lib.studies import CaseRef, find_labelled, patient_of
from lib.trainers.cases import Case, WindowSampler, load_cases, split_by_patient
from lib.trainers.fit import fit
from lib.trainers.folders import train_on_folders
from lib.trainers.phantoms import phantom_cases
from lib.trainers.progress import EpochReport, decision
from lib.trainers.schedule import one_cycle
from lib.trainers.scoring import case_dices, score_name, validation_score
from lib.types import InputError
from lib.weights.files import load_weights, read_metadata

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def model(**training: object) -> ModelConfig:
    quick = {
        "max_epochs": 2,
        "steps_per_epoch": 2,
        "batch_size": 2,
        "window": 4,
        "size_px": 32,
        "augment": AugmentConfig(affine=0, contrast=0, intensity=0, noise_std=0, blur=0),
    }
    return ModelConfig(
        task="segmentation",
        description="test",
        labels={"lesion": 1},
        network=NetworkConfig(channels=(8, 12, 16), norm_groups=4, frame_recurrence=FrameRecurrenceConfig(hidden=8)),
        input=InputConfig(spacing_mm=3.0),
        training=TrainingConfig(**{**quick, **training}),
        inference=InferenceConfig(flip_tta=False),
        name="test",
    )


def case(patient: str = "p", frames: int = 6, lesion: slice = slice(2, 4), size: int = 32) -> Case:
    """Noise with a bright square on some frames."""
    rng = np.random.default_rng(len(patient))
    image, mask = rng.normal(0, 0.5, (frames, 1, size, size)), np.zeros((frames, 1, size, size), np.uint8)
    mask[lesion, :, 8:20, 10:22] = 1
    return Case(f"{patient}__a", patient, (image + 3 * mask).astype(np.float16), mask)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studies folder with three labelled phantoms of two patients, and one without a label."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "labels" / "final").mkdir(parents=True)
    for seed, name in enumerate(["P1__visit1", "P1__visit2", "P2", "P3"]):
        stack = head_stack(seed, n_frames=6, size=64, spacing_mm=(3.0, 3.0, 12.0), n_lesions=2)
        label = folder / "labels" / "final" / f"{name}.nii.gz"
        write_nifti(stack, folder / f"{name}.nii.gz", label if name != "P3" else folder.parent / "unused.nii.gz")
    return folder


# --- the loop


def test_loss_falls_and_dice_rises_on_a_tiny_phantom(studies: Path) -> None:
    config = model(max_epochs=5, steps_per_epoch=12, window=6, size_px=64, ema_decay=0.8)
    cases = load_cases(find_labelled(studies), config)
    torch.manual_seed(0)
    network = build_network(config)
    before = validation_score(network, cases, config)
    result = fit(network, cases, cases, config, learning_rate=1e-2)
    losses = [report.loss for report in result.history]
    assert losses[-1] < 0.7 * losses[0]
    network.load_state_dict(result.state)
    assert validation_score(network, cases, config) == pytest.approx(result.val_score)
    assert result.val_score > before + 0.2


def test_a_dicom_folder_trains_as_the_same_image_in_a_file(tmp_path: Path) -> None:
    stack = head_stack(0, n_frames=6, size=64, spacing_mm=(3.0, 3.0, 12.0), n_lesions=2)
    write_nifti(stack, tmp_path / "file.nii.gz", tmp_path / "labels" / "final" / "file.nii.gz")
    write_dicom(stack, tmp_path / "folder", patient_id="P1")
    shutil.copy(tmp_path / "labels" / "final" / "file.nii.gz", tmp_path / "labels" / "final" / "folder.nii.gz")
    of_file, of_folder = load_cases(find_labelled(tmp_path), model())
    assert (of_file.image_id, of_folder.image_id) == ("file", "folder")
    assert np.array_equal(of_file.frames, of_folder.frames)
    assert np.array_equal(of_file.masks, of_folder.masks)


def test_history_counts_epochs_and_time() -> None:
    config, seen = model(max_epochs=3), []
    torch.manual_seed(0)
    result = fit(
        build_network(config),
        [case()],
        [case("v")],
        config,
        learning_rate=1e-3,
        on_epoch=lambda report, state: seen.append((report, state)),
    )
    assert [report.epoch for report in result.history] == [1, 2, 3]
    assert [report for report, _ in seen] == result.history
    for report in result.history:
        assert report.max_epochs == 3
        assert math.isfinite(report.loss)
        assert 0 <= report.val_score <= 1
        share = report.epoch / 3
        assert report.eta_s == pytest.approx(report.elapsed_s * (1 - share) / share, rel=0.2, abs=0.05)
    elapsed = [report.elapsed_s for report in result.history]
    assert elapsed == sorted(elapsed)
    assert result.history[-1].eta_s == 0
    best = max(report.val_score for report in result.history)
    assert result.val_score == best
    assert set(seen[0][1]) == set(build_network(config).state_dict())


def test_report_line_and_json() -> None:
    report = EpochReport(2, 5, 0.51234, "Dice", 0.25, 1e-3, 12.0, 18.0)
    expected = "epoch 2/5, loss 0.5123, validation Dice 0.250, lr 1.0e-03, elapsed 12 s, ETA 18 s"
    assert report.line() == expected
    assert "Dice" not in replace(report, val_score=None).line()
    assert report.to_json() == {
        "epoch": 2, "max_epochs": 5, "loss": 0.51234, "score_name": "Dice", "val_score": 0.25,
        "learning_rate": 1e-3, "elapsed_s": 12.0, "eta_s": 18.0,
    }  # fmt: skip


def test_what_is_scored_is_what_the_model_is_there_for() -> None:
    config, lesion, empty = model(), case(), case("v", lesion=slice(0, 0))
    boxes = replace(config, task="detection")
    torch.manual_seed(0)
    network = build_network(config).train()
    assert (score_name(config), score_name(boxes)) == ("Dice", "box AP50")
    assert validation_score(network, [lesion, empty], config) == np.mean(case_dices(network, [lesion, empty], config))
    untrained = validation_score(network, [lesion, empty], boxes)
    assert validation_score(network, [empty], boxes) is None  # no box that could be found
    assert validation_score(network, [], boxes) is validation_score(network, [], config) is None
    assert network.training
    result = fit(
        network, [lesion], [lesion], replace(boxes, training=replace(boxes.training, max_epochs=6)), learning_rate=1e-2
    )
    assert result.val_score == max(report.val_score for report in result.history)
    assert result.val_score > untrained
    assert "validation box AP50" in result.history[-1].line()


@pytest.mark.parametrize(
    ("challenger", "in_service", "n_val", "publish", "why"),
    [
        (0.81, 0.78, 3, True, "published: validation Dice 0.8100 against 0.7800 of the version in service, 3 {}ies"),
        (0.81, 0.81, 1, False, "not published: validation Dice 0.8100 against 0.8100 of the version in service, 1 {}y"),
        (0.2, None, 3, True, "published: there was no version in service to compare with"),
        (None, None, 0, True, "published: there was no {}y to compare on"),
        (None, None, 2, True, "published: there was no {}y with a lesion to compare on"),
    ],
)
def test_only_what_is_better_is_published(
    challenger: float | None, in_service: float | None, n_val: int, publish: bool, why: str
) -> None:
    assert decision("Dice", challenger, in_service, n_val) == (publish, why.format("validation stud"))


def test_the_seed_decides_the_weights() -> None:
    def run(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = model(seed=seed, augment=AugmentConfig())
        return fit(build_network(config), [case(), case("other")], [], config, learning_rate=1e-3).state

    first, second, third = run(0), run(0), run(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_without_validation_the_last_weights_are_kept() -> None:
    config, states = model(), []
    torch.manual_seed(0)
    result = fit(
        build_network(config),
        [case()],
        [],
        config,
        learning_rate=1e-3,
        on_epoch=lambda _, state: states.append(state),
    )
    assert result.val_score is None
    assert all(torch.equal(result.state[name], states[-1][name]) for name in result.state)
    assert any(not torch.equal(states[0][name], states[-1][name]) for name in result.state)


def test_the_processor_time_budget_ends_the_training() -> None:
    config = model(max_epochs=10_000, steps_per_epoch=5)
    torch.manual_seed(0)
    began = time.process_time()
    result = fit(build_network(config), [case()], [], config, learning_rate=1e-3, cpu_budget_s=1.5)
    assert 1.5 <= time.process_time() - began < 6
    assert 1 <= len(result.history) < 10_000
    assert result.history[-1].eta_s == 0
    assert result.history[-1].learning_rate < 1e-3


def test_an_exception_from_the_callback_stops_the_training() -> None:
    class StopTrainingError(Exception):
        pass

    def stop(report: EpochReport, state: dict[str, torch.Tensor]) -> None:
        raise StopTrainingError

    config = model()
    with pytest.raises(StopTrainingError):
        fit(build_network(config), [case()], [], config, learning_rate=1e-3, on_epoch=stop)


def test_a_crop_that_does_not_fit_the_network_is_named() -> None:
    config = model(size_px=30)
    with pytest.raises(InputError, match=r"'test': training\.size_px is 30; the network needs a multiple of 8"):
        fit(build_network(config), [case()], [], config, learning_rate=1e-3)


@pytest.mark.parametrize("frame_cell", ["none", "mlp", "gru"])
def test_the_variants_without_boxes_and_memory_train_too(frame_cell: str) -> None:
    memory = FrameRecurrenceConfig(cell=frame_cell, hidden=8)
    config = model(max_epochs=1)
    config = replace(config, network=replace(config.network, frame_recurrence=memory, boxes=frame_cell != "none"))
    result = fit(LesionNet(config.network, 1), [case(frames=2)], [case("v")], config, learning_rate=1e-3)
    assert math.isfinite(result.history[0].loss)


def test_learning_rate_goes_up_and_down() -> None:
    rates = [one_cycle(i / 1000, 1.0) for i in range(1001)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[100] == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 / 1000)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert max(abs(np.diff(rates))) < 0.03


def test_dice_of_a_case() -> None:
    config = model()

    class Fixed(LesionNet):
        answer = torch.zeros(6, 1, 32, 32)

        def forward(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> LesionOutput:
            output = super().forward(frames, mask)
            output.mask_logits = (20 * self.answer - 10)[None]
            return output

    network, lesion, empty = Fixed(config.network, 1), case(), case(lesion=slice(0, 0))
    network.train()
    assert case_dices(network, [lesion, empty], config) == [0.0, 1.0]
    network.answer = torch.from_numpy(lesion.masks).float()
    assert case_dices(network, [lesion, empty], config) == [1.0, 0.0]
    network.answer[2] = 0  # one of two frames
    assert case_dices(network, [lesion], config) == [pytest.approx(2 / 3)]
    assert network.training


# --- cases


@pytest.mark.parametrize("count", [2, 3, 10, 40])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_no_patient_lies_on_both_sides(count: int, seed: int, fraction: float) -> None:
    cases = [case(f"P{i % count:02}") for i in range(2 * count)]
    train, val = split_by_patient(cases, fraction, seed)
    sides = [{c.patient for c in side} for side in (train, val)]
    assert not sides[0] & sides[1]
    assert len(train) + len(val) == len(cases)
    assert len(sides[1]) == max(1, round(fraction * count))
    again = split_by_patient(cases[::-1], fraction, seed)
    assert [{c.patient for c in side} for side in again] == sides


def test_few_patients_change_sides_when_others_are_added() -> None:
    cases = [case(f"P{i:03}") for i in range(100)]
    before, after = (split_by_patient(cases[:n], 0.2, 0) for n in (90, 100))
    val_before, val_after = ({c.patient for c in val} for _, val in (before, after))
    early = {c.patient for c in cases[:90]}
    assert len(val_before ^ (val_after & early)) <= 3


def test_split_ends() -> None:
    one = [case("only"), case("only")]
    assert split_by_patient(one, 0.2, 0) == (one, one)
    assert split_by_patient(one, 0.0, 0) == (one, [])
    two = [case("a"), case("b")]
    held_out = {split_by_patient(two, 0.3, seed)[1][0].patient for seed in range(10)}
    assert held_out == {"a", "b"}


def test_patient_of_an_image_id() -> None:
    assert patient_of("P07__visit2__flair") == "P07"
    assert patient_of("P07_visit2") == "P07_visit2"


def test_nothing_labelled_is_an_error_that_names_the_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model 'test' cannot be trained: no study has a label"):
        load_cases([], model())
    with pytest.raises(InputError, match="no image with a mask"):
        find_labelled(tmp_path / "missing")
    broken = CaseRef("x", "x", tmp_path / "x.nii.gz", tmp_path / "y.nii.gz")
    with pytest.raises(InputError, match=r"cannot be trained: .*x\.nii\.gz: no such file"):
        load_cases([broken], model())


def test_a_study_that_cannot_be_read_is_left_out(studies: Path, caplog: pytest.LogCaptureFixture) -> None:
    refs, done = find_labelled(studies), []
    assert [ref.image_id for ref in refs] == ["P1__visit1", "P1__visit2", "P2"]
    assert [ref.patient for ref in refs] == ["P1", "P1", "P2"]
    broken = replace(refs[0], image=studies / "gone.nii.gz")
    cases = load_cases([broken, *refs[1:]], model(), done.append)
    assert [c.image_id for c in cases] == ["P1__visit2", "P2"]
    assert done == [1, 2, 3]
    assert re.search(r"left out of training: .*gone\.nii\.gz", caplog.text)


def test_windows_of_a_batch() -> None:
    config = model(window=4, batch_size=3, lesion_fraction=1.0).training
    sampler = WindowSampler([case(frames=9, lesion=slice(7, 8))], config)
    for _ in range(10):
        batch = sampler.batch()
        assert batch.frames.shape == (3, 4, 1, 32, 32)
        assert batch.masks.shape == (3, 4, 1, 32, 32)
        assert batch.frame_mask.all()
        assert batch.masks.any(axis=(1, 2, 3, 4)).all()
        lesion = torch.from_numpy(batch.masks) > 0
        assert batch.frames[lesion].mean() > batch.frames[~lesion].mean() + 2  # image and mask stay together


def test_short_sequences_are_padded_and_masked() -> None:
    batch = WindowSampler([case(frames=2, lesion=slice(0, 1))], model(window=5).training).batch()
    assert batch.frame_mask.tolist() == [[True, True, False, False, False]] * 2
    assert not batch.masks[:, 2:].any()
    assert not batch.frames[:, 2:].any()


def test_every_start_of_a_window_occurs() -> None:
    sampler = WindowSampler([case(frames=6, lesion=slice(0, 0))], model(window=4).training)
    assert {sampler._start(6, None) for _ in range(60)} == {0, 1, 2}
    sampler = WindowSampler([case(frames=6)], model(window=2, lesion_fraction=1.0).training)
    ends = np.zeros((6, 1, 1), bool)
    ends[[0, 5]] = True
    assert {sampler._start(6, ends) for _ in range(60)} == {0, 4}


# --- folders


def test_training_on_folders_writes_weights_with_their_history(studies: Path, tmp_path: Path) -> None:
    config, output = model(size_px=64), tmp_path / "out" / "test.safetensors"
    result = train_on_folders(config, [studies], output, phantoms=1)
    facts = read_metadata(output)
    assert sorted(facts["train"] + facts["val"]) == ["P1__visit1", "P1__visit2", "P2"]
    assert facts["phantoms"] == 1
    assert facts["last"]["epoch"] == 2
    assert facts["val_score"] == pytest.approx(result.val_score)
    network = build_network(config)
    load_weights(network, output)
    assert all(torch.equal(value, result.state[name]) for name, value in network.state_dict().items())
    again = train_on_folders(config, [studies], tmp_path / "b.safetensors", val_fraction=0.0, start=output)
    assert again.val_score is None
    assert again.history[-1].learning_rate < config.training.finetune_learning_rate


def test_phantom_cases() -> None:
    assert phantom_cases(model(), 0) == []
    (one,) = phantom_cases(model(), 1)
    assert one.patient == "phantom0"
    assert one.masks.any()
    assert one.frames.shape[0] == one.masks.shape[0] == 24


def test_a_phantom_is_the_reference_channel_of_a_model_of_several() -> None:
    three = override(
        model(), {"input.channels": ["t1", "flair", "t1ce"], "input.reference": "flair", "network.in_channels": 3}
    )
    (one,) = phantom_cases(three, 1)
    assert one.channel_present == (False, True, False)
    assert not one.frames[:, [0, 2]].any()
    assert np.array_equal(one.frames[:, 1], phantom_cases(model(), 1)[0].frames[:, 0])


def test_a_clip_phantom_is_a_cine_with_frames_before_and_after_the_lesion() -> None:
    config = load_config(CONFIGS / "cine_lesion_detection.yaml")
    (one,) = phantom_cases(override(config, {"input.spacing_mm": 4.0}), 1)
    holds = one.masks.any(axis=(1, 2, 3))
    assert holds.any()
    assert not holds[0]
    assert not holds[-1]

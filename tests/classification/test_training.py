# SPDX-License-Identifier: Apache-2.0
"""From labelled clips in a folder or a store to weights with a calibration, and from these to an answer."""

import csv
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.classification.labels import CLASS_KEY, find_classed
from lib.classification.transfer import load_encoder
from lib.configs import ModelConfig, load_config, override
from lib.datastore.local import LocalStore
from lib.infers.classification import Classification
from lib.registry import build_network
from lib.trainers.classification import ClassificationTrainTask, stored_classes
from lib.trainers.clip_folders import train_clips_on_folders
from lib.trainers.clips import Clip, ClipSampler, load_clips
from lib.trainers.fit_clips import clip_logits, fit_clips, fit_prototypes, macro_f1
from lib.types import InputError
from lib.weights.files import load_weights, read_metadata, save_weights
from lib.weights.versions import VersionStore

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("covid", "bacterial", "viral", "regular")
SMALL = {
    "network.channels": [8, 12, 16],
    "network.norm_groups": 4,
    "network.dropout": 0.0,
    "network.frame_recurrence.hidden": 16,
    "input.max_size_px": 32,
    "training.size_px": 32,
    "training.window": 4,
    "training.batch_size": 8,
    "training.max_epochs": 2,
    "training.steps_per_epoch": 15,
    "training.learning_rate": 0.01,
    "training.ema_decay": 0.8,
    "training.augment": {"affine": 0, "contrast": 0, "intensity": 0, "noise_std": 0, "blur": 0},
    "inference.max_frames": 8,
}


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return override(load_config(ROOT / "configs" / "lung_ultrasound.yaml"), SMALL)


def clip_frames(rng: np.random.Generator, index: int, frames: int = 8) -> np.ndarray:
    """A disc of noise with stripes; each class has its own direction and width."""
    y, x = np.mgrid[:40, :40] - 20.0
    stripes = np.sin((x, y, x, y)[index] * (0.6, 0.6, 1.6, 1.6)[index])
    image = 100 + 60 * stripes + rng.normal(0, 8, (frames, 40, 40))
    return (image * (x**2 + y**2 < 19**2)).astype(np.float32)


def write_clip(path: Path, frames: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(frames.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0])), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of 12 patients, three per class, and the list of their classes."""
    folder, rng, rows = tmp_path_factory.mktemp("clips"), np.random.default_rng(0), []
    for patient in range(12):
        for visit in "ab":
            image = f"P{patient:02d}__{visit}"
            write_clip(folder / f"{image}.nii.gz", clip_frames(rng, patient % 4))
            rows.append({"image": image, "class": NAMES[patient % 4]})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "class"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def clips(folder: Path, config: ModelConfig) -> list[Clip]:
    return load_clips(find_classed(folder), config)


@pytest.fixture(scope="module")
def trained(folder: Path, config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    train_clips_on_folders(config, [folder], path, val_fraction=0.25)
    return path


# --- where classes are written down


def test_a_list_names_patients_in_the_image_or_in_a_column(folder: Path, tmp_path: Path) -> None:
    assert {study.patient for study in find_classed(folder)} == {f"P{i:02d}" for i in range(12)}
    (tmp_path / "x.nii.gz").touch()
    (tmp_path / "labels.csv").write_text("\ufeffimage,class,patient\nx.nii.gz,viral,Q7\n", encoding="utf-8")
    (study,) = find_classed(tmp_path)
    assert (study.image_id, study.patient, study.class_name) == ("x", "Q7", "viral")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is missing: a CSV file with the columns"),
        ("", "must name the columns"),
        ("image,label\nx,viral\n", "must name the columns"),
        ("image,class\n", "names no study"),
        ("image,class\nx,viral\ny,viral\n", "line 3: there is no image 'y'"),
        ("image,class\nx,\n", "line 2: needs the name of an image"),
        ("image,class\n../x,viral\n", "line 2: needs the name of an image"),
        ("image,class\nx,viral\nx.nii.gz,covid\n", "x stand there twice"),
    ],
)
def test_a_wrong_list_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    (tmp_path / "x.nii.gz").touch()
    if text is not None:
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        find_classed(tmp_path)


def test_classes_that_the_model_lacks_are_left_out_and_one_class_is_too_few(
    folder: Path, config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    studies = find_classed(folder)[:3]
    clips = load_clips([*studies, replace(studies[0], class_name="oedema")], config)
    assert len(clips) == 3
    assert "class 'oedema' is unknown to the model; it has covid, bacterial, viral, regular" in caplog.text
    with pytest.raises(InputError, match="two classes"):
        load_clips(studies[:1], config)


# --- training


def test_the_shipped_config_trains_a_step_and_predicts(clips: list[Clip]) -> None:
    config = override(
        load_config(ROOT / "configs" / "lung_ultrasound.yaml"),
        {"training.max_epochs": 1, "training.steps_per_epoch": 1, "training.batch_size": 2},
    )
    network = build_network(config)
    result = fit_clips(network, clips, [], config, learning_rate=1e-3)
    assert np.isfinite(result.history[-1].loss)
    assert result.steps == 1
    assert np.isfinite(clip_logits(network, clips[:2], config)).all()


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "logit_adjusted"])
def test_every_loss_learns_the_stripes(clips: list[Clip], config: ModelConfig, loss: str) -> None:
    own = override(config, {"classification.loss": loss})
    torch.manual_seed(0)
    network = build_network(own)
    train, test = [c for c in clips if c.patient < "P08"], [c for c in clips if c.patient >= "P08"]
    network.load_state_dict(fit_clips(network, train, [], own, learning_rate=0.01).state)
    assert macro_f1(clip_logits(network, test, own), test) > 0.8


def test_windows_are_padded_and_masked_and_rare_classes_come_as_often(config: ModelConfig) -> None:
    rng = np.random.default_rng(0)
    clips = [
        Clip(f"c{i}", f"p{i}", rng.normal(size=(2 if i else 9, 1, 20, 24)).astype(np.float16), int(i == 0))
        for i in range(10)
    ]
    own = override(config, {"classification.balance": 1.0, "training.batch_size": 200})
    batch = ClipSampler(clips, own).batch()
    assert batch.frames.shape == (200, 4, 1, 32, 32)
    assert batch.classes.float().mean() == pytest.approx(0.5, abs=0.12)
    short = batch.classes == 0
    assert (batch.frame_mask[short].sum(1) == 2).all()
    assert (batch.frame_mask[~short].sum(1) == 4).all()
    assert (batch.frames[short][:, 2:] == 0).all()


def test_a_crop_that_does_not_fit_is_named(clips: list[Clip], config: ModelConfig) -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        fit_clips(build_network(config), clips, [], override(config, {"training.size_px": 30}), learning_rate=1e-3)


def test_weights_carry_the_calibration_of_patients_that_were_held_out(trained: Path) -> None:
    facts = read_metadata(trained)
    assert {image.split("__")[0] for image in facts["train"]}.isdisjoint(i.split("__")[0] for i in facts["val"])
    assert facts["calibration"]["patients"] == 3
    assert facts["calibration"]["threshold"] is None  # three patients cannot leave one in ten out
    assert facts["calibration"]["temperature"] > 0


# --- few studies, and what others have learned


def test_prototypes_of_two_studies_per_class_beat_chance_without_training(
    clips: list[Clip], config: ModelConfig
) -> None:
    torch.manual_seed(0)
    network = build_network(config)
    few, rest = [c for c in clips if c.patient < "P04"], [c for c in clips if c.patient >= "P04"]
    fit_prototypes(network, few, config)
    assert macro_f1(clip_logits(network, rest, config), rest) > 0.6
    with pytest.raises(InputError, match="no example"):
        fit_prototypes(network, few[:2], config)


def test_the_encoder_of_a_lesion_model_is_taken_over(config: ModelConfig, tmp_path: Path) -> None:
    lesion = load_config(ROOT / "configs" / "mr_lesion_segmentation.yaml")
    same = override(lesion, {"network.channels": [8, 12, 16], "network.norm_groups": 4})
    source, network = build_network(same), build_network(config)
    save_weights(source.state_dict(), tmp_path / "lesion.safetensors", {})
    head = network.study_head.out.weight.clone()
    assert load_encoder(network, tmp_path / "lesion.safetensors") == len(source.encoder.state_dict())
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value)
    assert torch.equal(network.study_head.out.weight, head)
    save_weights(build_network(lesion).state_dict(), tmp_path / "larger.safetensors", {})
    with pytest.raises(InputError, match=r"network\.channels"):
        load_encoder(network, tmp_path / "larger.safetensors")


# --- in the server's tasks


def test_an_answer_is_sure_only_with_one_class_left(
    folder: Path, config: ModelConfig, trained: Path, tmp_path: Path
) -> None:
    image = str(folder / "P00__a.nii.gz")
    for threshold, sure in ((0.5, True), (None, False)):
        calibration = {"temperature": 0.1, "threshold": threshold, "error_rate": 0.1, "patients": 30, "scores_of": "x"}
        network = build_network(config)
        load_weights(network, trained)
        store = VersionStore(tmp_path / str(sure), config, tmp_path)
        store.add(network.state_dict(), publish=True, reason="r", parent="", details={"calibration": calibration})
        file, params = Classification(config, store)({"image": image})
        assert file is None
        assert params["sure"] is sure
        assert params["answer"] == ("covid" if sure else "")
        assert params["possible"] == (["covid"] if sure else list(NAMES))
        assert sum(params["study"].values()) == pytest.approx(1, abs=1e-3)
        assert len(params["attention"]) == len(params["frame_study"]["viral"]) == params["n_frames"] == 8
        assert [one["label"] for one in params["prediction"]] == list(NAMES)
        assert params["version"] == "v0001"


def test_without_weights_or_image_it_says_so(config: ModelConfig, tmp_path: Path) -> None:
    task = Classification(config, VersionStore(tmp_path, replace(config, pretrained=None), tmp_path))
    assert not task.is_valid()
    assert task.info()["type"] == "classification"
    with pytest.raises(InputError, match="train it first"):
        task({"image": "x.nii.gz"})
    with pytest.raises(InputError, match="'image' must be the path"):
        task({})


def test_the_store_keeps_classes_and_the_server_trains_on_them(
    folder: Path, config: ModelConfig, tmp_path: Path
) -> None:
    store, versions = LocalStore(folder), VersionStore(tmp_path, replace(config, pretrained=None), tmp_path)
    task = ClassificationTrainTask(config, versions)
    with pytest.raises(InputError, match="label studies of two classes"):
        task({"device": "cpu"}, store)
    for study in find_classed(folder):
        store.update_image_info(study.image_id, {CLASS_KEY: study.class_name})
    assert stored_classes(store)[0].patient == "P00"
    first = task({"device": "cpu", "max_epochs": 2}, store)
    assert first["published"] is True
    assert first["details"]["calibration"]["patients"] == 2
    again = task({"device": "cpu", "max_epochs": 1, "steps_per_epoch": 1, "pretrained": False}, store)
    assert again["published"] is False
    assert "not published: validation macro-F1" in again["reason"]
    assert versions.current()[1] == "v0001"

# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.configs import ModelConfig, load_config, load_configs, override
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.trainers.cases import Case
from lib.trainers.fit import fit
from lib.transforms.prepare import prepare, prepare_label
from lib.types import InputError, Sequence, SequenceKind

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
MINIMAL = "task: segmentation\ndescription: d\nlabels: {lesion: 1}\n"


def write(folder: Path, text: str, name: str = "some_model.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_name_is_the_stem_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config == ModelConfig("segmentation", "d", {"lesion": 1}, name="some_model")
    assert config.input.kind is SequenceKind.STACK


def test_class_names_follow_the_labelmap_values(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL.replace("{lesion: 1}", "{oedema: 2, core: 1}")))
    assert config.class_names == ("core", "oedema")


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("colour: red\n", "key 'colour'"),
        ("network: {frame_recurrence: {cel: gru}}\n", "key 'network.frame_recurrence.cel'"),
        ("network: {frame_recurrence: {cell: transformer}}\n", "key 'network.frame_recurrence.cell'"),
        ("training: {window: many}\n", "key 'training.window'"),
        ("training: {window: 2.5}\n", "key 'training.window'"),
        ("training: {max_epochs: 0}\n", "key 'training.max_epochs'"),
        ("training: {val_fraction: 1.5}\n", "key 'training.val_fraction'"),
        ("input: {spacing_mm: 0}\n", "key 'input.spacing_mm'"),
        ("inference: {max_frames: 0}\n", "key 'inference.max_frames'"),
        ("training: [1, 2]\n", "key 'training'"),
        ("input: {channels: [t1, flair]}\n", "in_channels is 1"),
        ("input: {intensity_range: [400, -1000]}\n", "intensity_range needs a low"),
        ("training: {class_balance: 2}\n", "key 'training.class_balance'"),
        ("training: {class_loss: dice}\n", "key 'training.class_loss'"),
        ("inference: {class_of: voxel}\n", "key 'inference.class_of'"),
        ("network: {map_recurrence: {cell: conv_gru, level: 5}}\n", "levels 0..4"),
        ("report: {source: other, network: {heads: {findings: 0}}}\n", "no other model has"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, extra: str, named: str) -> None:
    path = write(tmp_path, MINIMAL + extra)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("report", "named"),
    [
        ("", "a model of task report has the key report"),
        ("report: {source: other}\n", "findings names 0 findings, network.heads.findings is 14"),
        ("report: {network: {heads: {findings: 0}}}\n", "source names the lesion model"),
        ("report: {source: other, network: {heads: {findings: 0}, image: {kind: grid}}}\n", "source names"),
        ("report: {source: other, lexicon: knee, network: {heads: {findings: 0}}}\n", "key 'report.lexicon'"),
        ("report: {source: other, error_rate: 1, network: {heads: {findings: 0}}}\n", "key 'report.error_rate'"),
    ],
)
def test_the_parts_of_a_report_model_fit_each_other(tmp_path: Path, report: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        load_config(write(tmp_path, MINIMAL.replace("segmentation", "report") + report))


@pytest.mark.parametrize("labels", ["{lesion: 0}", "{a: 1, b: 3}", "{a: 1, b: 1}"])
def test_labels_count_from_one_without_gaps(tmp_path: Path, labels: str) -> None:
    with pytest.raises(InputError, match=r"labels must have the values"):
        load_config(write(tmp_path, MINIMAL.replace("{lesion: 1}", labels)))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="key 'labels'"):
        load_config(write(tmp_path, "task: segmentation\ndescription: d\n"))


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n- 2\n", b"", b"\xff\xfe\x00\x01"])
def test_what_is_not_a_mapping_in_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_config(path)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="no model configuration"):
        load_configs(tmp_path)


def test_override_replaces_nested_keys_and_keeps_the_rest(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    changed = override(
        config, {"training.augment.flip": 0.0, "network.channels": [8, 16], "pretrained": "a.safetensors"}
    )
    assert changed.training.augment.flip == 0.0
    assert changed.network.channels == (8, 16)
    assert changed.pretrained == "a.safetensors"
    assert changed.name == "some_model"
    assert override(changed, {"training.augment.flip": 0.5, "network.channels": config.network.channels}) == override(
        config, {"pretrained": "a.safetensors"}
    )


@pytest.mark.parametrize("key", ["training.epochs", "nothing", "training.window.size", "pretrained.file"])
def test_override_names_a_key_that_does_not_exist(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"'some_model' has no setting '{key}'"):
        override(load_config(write(tmp_path, MINIMAL)), {key: 1})


def test_override_checks_types(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.window"):
        override(load_config(write(tmp_path, MINIMAL)), {"training.window": "all"})


def test_the_channels_of_a_report_model_are_those_of_its_lesion_model_not_of_a_network() -> None:
    report = load_config(CONFIGS / "report_brain_three_channel.yaml")
    lesions = load_config(CONFIGS / "mr_three_channel_segmentation.yaml")
    assert report.input == lesions.input
    assert report.report is not None
    assert report.report.source == lesions.name


def test_an_unknown_network_is_named(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "network: {name: resnet}\n"))
    with pytest.raises(InputError, match="'resnet' is unknown; known: clip_net, lesion_net"):
        build_network(config)


def _random_case(config: ModelConfig) -> tuple[Sequence, Case]:
    """Noise in a disc on air, with one bright square per class that goes through the middle frames."""
    rng = np.random.default_rng(0)
    t, size = 6, 72
    rows, columns = np.mgrid[:size, :size] - size / 2
    frames = np.zeros((t, config.network.in_channels, size, size), np.float32)
    frames += (rows**2 + columns**2 < 30**2) * rng.normal(100, 10, frames.shape)
    label = np.zeros((t, size, size), np.uint8)
    for value in config.labels.values():
        label[2:4, 20 + 10 * value : 28 + 10 * value, 30:40] = value
    frames += 80 * (label > 0)[:, None]
    sequence = Sequence(
        frames.astype(np.float32),
        config.input.kind,
        positions=tuple(5.0 * i for i in range(t)),
        spacing_mm=(2.0, 2.0),
        affine_lps=np.diag([2.0, 2.0, 5.0, 1.0]),
        channels=config.input.channels,
        channel_present=(True,) * len(config.input.channels),
    )
    array, grid = prepare(sequence, config.input)
    masks = prepare_label(label, grid, len(config.labels))
    return sequence, Case("case", "patient", array.astype(np.float16), masks)


LESION_MODELS = [
    path for path in sorted(CONFIGS.glob("*.yaml")) if load_config(path).task in ("segmentation", "detection")
]
"""The others: tests/classification/test_training.py, tests/drafting."""


@pytest.mark.parametrize("path", LESION_MODELS, ids=lambda path: path.stem)
def test_every_shipped_config_trains_a_step_and_predicts(path: Path) -> None:
    config = override(
        load_config(path),
        {
            "training.max_epochs": 1,
            "training.steps_per_epoch": 1,
            "training.batch_size": 1,
            "training.window": 4,
            "training.size_px": 64,
            "inference.max_frames": 4,
        },
    )
    sequence, case = _random_case(config)
    torch.manual_seed(0)
    network = build_network(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = fit(network, [case], [], config, learning_rate=1e-3)
    assert np.isfinite(result.history[-1].loss)
    assert any(not torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.load_state_dict(result.state)
    prediction = Predictor(config, network).predict(sequence)
    assert prediction.mask.shape == (6, len(config.labels), 72, 72)
    assert np.isfinite(prediction.mask).all()
    assert (prediction.mask >= 0).all()
    assert (prediction.mask <= 1).all()
    assert prediction.presence.shape == (6,)
    assert len(prediction.boxes) == 6

# SPDX-License-Identifier: Apache-2.0
"""Explanations: the right place, the right network, the right numbers, and what happens at the edges."""

import base64
import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.visualize import GradCAM
from PIL import Image
from pydicom import dcmread
from scipy.ndimage import binary_dilation
from scipy.stats import spearmanr
from torch import nn
from typer.testing import CliRunner

from lib.configs import (
    FrameRecurrenceConfig,
    FusionConfig,
    InferenceConfig,
    InputConfig,
    MapRecurrenceConfig,
    ModelConfig,
    NetworkConfig,
    load_configs,
)
from lib.explain import METHODS, MOST_FINDINGS, Explanation, Heatmap, explain, write_heatmap
from lib.explain.explainer import HiResCam
from lib.explain.targets import box_target, boxes_on_network, class_target, mask_target, study_target
from lib.findings.lesions import find_lesions
from lib.infers.classification import Classification
from lib.infers.lesion import LesionSegmentation
from lib.networks.heads import BoxMaps
from lib.networks.lesion_net import LesionOutput
from lib.phantom import head_stack, write_dicom, write_nifti
from lib.prediction.clip_predictor import ClipPredictor
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.transforms.geometry import RAS_TO_LPS, VolumeGeometry
from lib.transforms.prepare import FrameGrid, prepare
from lib.types import Finding, InputError, Sequence, SequenceKind, Source
from lib.weights.files import load_weights, save_weights
from lib.weights.versions import VersionStore
from monailabel_app.cli import app
from monailabel_app.explain import Wanted, run_explain
from monailabel_app.explain_pictures import MOST_FRAMES, frames_with_evidence
from monailabel_app.roots import CONFIGS_DIR, PRETRAINED_DIR

SMALL = NetworkConfig(channels=(8, 8, 16, 16), norm_groups=2, frame_recurrence=FrameRecurrenceConfig(hidden=8))
WHOLE = FrameGrid((32, 40), (32, 40), (0, 32, 0, 40))


def model(network: NetworkConfig = SMALL, task: str = "segmentation", **inference: object) -> ModelConfig:
    channels = tuple(f"c{i}" for i in range(network.in_channels))
    return ModelConfig(
        task=task,
        description="test",
        labels={"a": 1, "b": 2},
        network=network,
        input=InputConfig(spacing_mm=1.5, channels=channels),
        inference=InferenceConfig(**inference),
        name="test",
    )


def predictor_of(config: ModelConfig, seed: int = 0) -> Predictor:
    """With random weights; also where a fresh network starts at zero, so that everything counts."""
    torch.manual_seed(seed)
    network = build_network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return Predictor(config, network)


def sequence_of(frames: np.ndarray, spacing_mm: tuple[float, float] = (1.5, 1.5), **kwargs: object) -> Sequence:
    positions = tuple(5.0 * t for t in range(len(frames)))
    return Sequence(frames, SequenceKind.STACK, positions, spacing_mm, np.diag([*spacing_mm, 5.0, 1.0]), **kwargs)


def noise(t: int = 5, channels: int = 1, height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).uniform(50, 60, (t, channels, height, width)).astype(np.float32)


def finding(boxes: dict[int, tuple[float, float, float, float]], number: int = 1, label: str = "a") -> Finding:
    return Finding(number, label, 0.9, boxes, (0, 0, 0, 1, 1, 1), (0, 0, 0))


def by_hand(predictor: Predictor | ClipPredictor, sequence: Sequence, target, method: str) -> np.ndarray:
    """Features of the layer weighed by their gradient, without any of MONAI's hooks."""
    frames = Predictor(predictor.config, predictor.network).padded(prepare(sequence, predictor.config.input)[0])
    layer, kept = predictor.network.encoder.levels[1], []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = target(predictor.network(frames[None]))
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient.mean((2, 3), keepdim=True) if method == "gradcam" else gradient
    cells = torch.relu((weights * kept[0]).sum(1)).detach().numpy()
    return cells / cells.max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "mlp"])
def test_maps_are_the_gradients_of_their_targets(method, cell):
    config = model(replace(SMALL, frame_recurrence=FrameRecurrenceConfig(cell=cell, hidden=8)))
    predictor, sequence = predictor_of(config), sequence_of(noise())
    found = [finding({1: (5, 6, 20, 30), 2: (4, 6, 22, 28)}), finding({4: (30, 2, 31, 3)}, 2, "b")]
    explanation = explain(predictor, sequence, found, method)
    grid = prepare(sequence, config.input)[1]
    targets = [study_target, *(mask_target(boxes_on_network(f.boxes, grid), f.id - 1, 0.5) for f in found)]
    assert [one.finding for one in explanation.heatmaps] == [None, 1, 2]
    for heatmap, target in zip(explanation.heatmaps, targets, strict=True):
        np.testing.assert_allclose(heatmap.cells, by_hand(predictor, sequence, target, method), atol=1e-4)
        assert heatmap.cells.max() == 1
        assert heatmap.cells.min() >= 0


def test_a_detection_model_is_explained_by_its_box_head():
    config = model(task="detection")
    predictor, sequence = predictor_of(config), sequence_of(noise())
    boxes = {0: (5.0, 6.0, 20.0, 30.0), 3: (40.0, 35.0, 48.0, 40.0)}
    explanation = explain(predictor, sequence, [finding(boxes, label="b")])
    target = box_target(boxes_on_network(boxes, prepare(sequence, config.input)[1]), 1)
    np.testing.assert_allclose(
        explanation.heatmaps[1].cells, by_hand(predictor, sequence, target, "hirescam"), atol=1e-4
    )


def test_one_pixel_that_decides_is_all_that_hirescam_shows():
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Identity(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    nn.init.ones_(network[0].weight)
    image = torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    image[0, 0, 2, 5] = 2
    sharp, spread = HiResCam(network, "1").compute_map(image), GradCAM(network, "1").compute_map(image)
    assert (sharp > 0).nonzero().tolist() == [[0, 0, 2, 5]]
    assert (spread > 0).sum() > 30


def test_the_network_in_service_stays_as_it_is():
    predictor, sequence = predictor_of(model()), sequence_of(noise())
    before = predictor.predict(sequence)
    with torch.inference_mode():
        explain(predictor, sequence, [finding({0: (1, 1, 9, 9)})])
    for module in predictor.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert not module.training
    assert all(p.requires_grad and p.grad is None for p in predictor.network.parameters())
    np.testing.assert_array_equal(predictor.predict(sequence).mask, before.mask)


def test_cells_of_a_recurrent_network_stay_in_training_mode_where_cudnn_needs_it():
    from lib.explain.explainer import _Scores

    scores = _Scores(predictor_of(model()).network, "encoder.levels.1", (True,)).eval()
    modes = {type(m).__name__: m.training for m in scores.modules()}
    assert modes["LSTM"]
    assert not modes["Conv2d"]
    assert scores.network.frame_recurrence.cell.dropout == 0


@pytest.mark.parametrize("cell", ["none", "lstm"])
def test_a_long_sequence_is_explained_in_the_windows_of_the_prediction(cell):
    network = replace(SMALL, frame_recurrence=FrameRecurrenceConfig(cell=cell, hidden=8))
    sequence, found = sequence_of(noise(9)), [finding({4: (5, 6, 20, 30)})]
    whole = explain(predictor_of(model(network)), sequence, found)
    cut = explain(predictor_of(model(network, max_frames=4)), sequence, found)
    assert [one.cells.shape for one in cut.heatmaps] == [one.cells.shape for one in whole.heatmaps]
    assert all(one.cells.max() == 1 for one in cut.heatmaps)
    if cell == "none":  # frames know nothing of each other, so neither does the window matter
        for a, b in zip(whole.heatmaps, cut.heatmaps, strict=True):
            np.testing.assert_allclose(a.cells, b.cells, atol=1e-4)
        assert not np.delete(whole.heatmaps[1].cells, 4, axis=0).any()


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (noise(1), [finding({0: (5, 6, 20, 30)})]),
        (noise(2, 1, 7, 5), [finding({1: (0, 0, 5, 7)})]),
        (np.zeros((3, 1, 40, 48), np.float32), []),
        (noise(3), [finding({})]),
        (noise(3), [finding({2: (47.9, 39.9, 60, 60)})]),
        (noise(2), [finding({0: (1, 1, 9, 9)}, i) for i in range(1, MOST_FINDINGS + 4)]),
    ],
    ids=["one frame", "tiny", "black", "finding without boxes", "box over the edge", "many findings"],
)
def test_edges(frames, found):
    explanation = explain(predictor_of(model()), sequence_of(frames), found)
    assert len(explanation.heatmaps) == 1 + min(len(found), MOST_FINDINGS)
    for heatmap in explanation.heatmaps:
        on_frames = explanation.on_frames(heatmap)
        assert on_frames.shape == (len(frames), *frames.shape[2:])
        assert np.isfinite(on_frames).all()
        assert 0 <= on_frames.min() <= on_frames.max() <= 1
    json.dumps(explanation.to_json(), allow_nan=False)
    if found and not found[0].boxes:
        assert explanation.to_json()["maps"][1] == {
            "finding": 1,
            "label": "a",
            "peak": None,
            "frames": [None] * len(frames),
        }


def test_channels_with_one_missing():
    network = replace(SMALL, in_channels=2, fusion=FusionConfig("additive"))
    predictor, frames = predictor_of(model(network)), noise(3, 2)
    names = {"channels": ("c0", "c1")}
    both = explain(predictor, sequence_of(frames, channel_present=(True, True), **names))
    one = explain(predictor, sequence_of(frames, channel_present=(True, False), **names))
    other = frames.copy()
    other[:, 1] += 1000 * np.random.default_rng(1).random((3, 40, 48))
    unseen = explain(predictor, sequence_of(other, channel_present=(True, False), **names))
    np.testing.assert_allclose(one.heatmaps[0].cells, unseen.heatmaps[0].cells, atol=1e-5)
    assert np.abs(one.heatmaps[0].cells - both.heatmaps[0].cells).max() > 1e-3


def test_a_classification_is_explained_by_the_logit_of_a_class():
    config, sequence = model(replace(SMALL, name="clip_net"), task="classification"), sequence_of(noise())
    torch.manual_seed(0)
    clip = ClipPredictor(config, build_network(config))
    maps = [explain(clip, sequence, label=name).heatmaps for name in ("a", "b")]
    for k, (heatmap,) in enumerate(maps):
        assert heatmap.label == "ab"[k]
        expected = by_hand(clip, sequence, class_target(k), "hirescam")
        np.testing.assert_allclose(heatmap.cells, expected, atol=1e-4)
    with pytest.raises(InputError, match="has no class 'None'"):
        explain(clip, sequence)


def test_memory_on_the_explained_map_is_followed():
    network = replace(SMALL, map_recurrence=MapRecurrenceConfig("conv_gru", hidden=8, level=1))
    explanation = explain(predictor_of(model(network)), sequence_of(noise(3)), [finding({1: (5, 6, 20, 30)})])
    assert (explanation.heatmaps[1].cells.max(axis=(1, 2)) > 0).all()  # neighbours speak for it as well


def test_what_cannot_be_explained():
    config = model(replace(SMALL, name="unet3d"))
    with pytest.raises(InputError, match=r"model 'test' cannot be explained: its network 'unet3d'.*use a model"):
        explain(predictor_of(config), sequence_of(noise()))
    with pytest.raises(InputError, match="no explanation method 'lime'; known: hirescam, gradcam"):
        explain(predictor_of(model()), sequence_of(noise()), method="lime")
    with pytest.raises(InputError, match="model 'test' has no class 'c'; known: a, b"):
        explain(predictor_of(model()), sequence_of(noise()), label="c")
    with pytest.raises(InputError, match="no head for study classes"):
        class_target(0)(LesionOutput(torch.zeros(1, 2, 1, 4, 4), None, None, None, None))


def test_targets():
    logits = torch.full((1, 2, 1, 4, 6), -3.0)
    logits[0, 1, 0, 1:3, 2:4] = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    maps = BoxMaps(logits[..., ::2, ::2], torch.zeros(0), torch.zeros(0), 2)
    output = LesionOutput(logits, maps, torch.tensor([[-50.0, 7.0]]), torch.tensor([[0.5, 1.5]]), None)
    assert study_target(output).item() == pytest.approx(7.0, abs=1e-2)
    assert study_target(replace(output, presence_logits=None)).item() == pytest.approx(3.0976, abs=1e-3)
    assert class_target(1)(output).item() == 1.5
    assert mask_target({1: (0, 0, 6, 4)}, 0, 0.5)(output).item() == pytest.approx(2.0)
    assert mask_target({0: (0, 0, 6, 4), 1: (0, 0, 6, 4)}, 0, 0.5)(output).item() == pytest.approx(-1.0)
    assert mask_target({1: (2, 1, 4, 3)}, 0, 0.0)(output).item() == pytest.approx(1.25)
    assert mask_target({1: (2, 1, 4, 3)}, 0, 1.0)(output).item() == pytest.approx(3.0)
    assert box_target({1: (2, 2, 3, 3)}, 0)(output).item() == logits[0, 1, 0, 2, 2]


def test_boxes_go_to_the_network_and_back():
    grid = FrameGrid((100, 80), (50, 60), (5, 45, 10, 55))
    box = (20.0, 30.0, 50.0, 60.0)
    there = boxes_on_network({3: box}, grid)
    assert grid.box_to_original(there[3]) == pytest.approx(box)


# Where a heatmap lies


def spot(rows: int = 4, columns: int = 5) -> Explanation:
    """One warm cell: frame 1, row 2, column 3; cells of 8 pixels, seen from pixel (8, 16) on, twice as fine."""
    cells = np.zeros((3, rows, columns), np.float32)
    cells[1, 2, 3] = 1
    grid = FrameGrid((50, 70), (100, 140), (16, 48, 32, 70))
    return Explanation("hirescam", "layer", (Heatmap(None, None, cells),), grid, (32, 40))


def test_a_cell_lies_where_the_network_saw_it():
    explanation = spot()
    data = explanation.to_json()
    assert data["extent"] == [16, 8, 36, 24]
    assert (data["rows"], data["columns"]) == (4, 5)
    assert data["maps"][0]["peak"] == {"frame": 1, "x": 30.0, "y": 18.0}
    heat = explanation.on_frames(explanation.heatmaps[0])
    t, y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert t == 1
    assert abs(x + 0.5 - 30) <= 1
    assert abs(y + 0.5 - 18) <= 1
    assert not heat[[0, 2]].any()
    assert not heat[1, :8].any()
    assert not heat[1, :, :16].any()


def decoded(data: dict, which: int = 0) -> np.ndarray:
    shape = (data["rows"], data["columns"])
    frames = data["maps"][which]["frames"]
    empty = np.zeros(shape, np.uint8)
    return np.stack(
        [empty if f is None else np.frombuffer(base64.b64decode(f), np.uint8).reshape(shape) for f in frames]
    )


def test_json_keeps_the_cells_to_a_byte():
    explanation = explain(predictor_of(model()), sequence_of(noise()), [finding({0: (1, 1, 20, 20)})])
    data = json.loads(json.dumps(explanation.to_json()))
    for i, heatmap in enumerate(explanation.heatmaps):
        np.testing.assert_allclose(decoded(data, i) / 255, heatmap.cells, atol=0.5 / 255 + 1e-6)
    assert decoded(spot().to_json()).sum() == 255
    assert [f is None for f in spot().to_json()["maps"][0]["frames"]] == [True, False, True]


@pytest.mark.parametrize("axes", [[(0, 1), (1, -1), (2, -1)], [(2, 1), (1, 1), (0, 1)], [(1, -1), (0, 1), (2, 1)]])
def test_on_other_frames_of_the_image_the_peak_is_the_same_voxel(axes):
    explanation, shape = spot(), (70, 50, 3)
    source = VolumeGeometry.as_stored(np.diag([1.0, 1.0, 5.0, 1.0]), shape)
    target = replace(source, to_frame_axes=np.array(axes, float))
    data = explanation.to_json_on(source, target)
    heat = target.to_frames(source.to_volume(explanation.on_frames(explanation.heatmaps[0])))
    expected = np.unravel_index(heat.argmax(), heat.shape)
    peak, cells = data["maps"][0]["peak"], decoded(data)
    assert peak["frame"] == expected[0]
    assert abs(peak["x"] - expected[2] - 0.5) <= heat.shape[2] / data["columns"]
    assert abs(peak["y"] - expected[1] - 0.5) <= heat.shape[1] / data["rows"]
    assert cells.shape[0] == heat.shape[0]
    assert data["extent"] == [0, 0, heat.shape[2], heat.shape[1]]
    assert max(data["rows"], data["columns"]) <= 64
    assert cells.max() == round(heat.max() * 255)


@pytest.mark.parametrize("name", ["heat.nrrd", "heat.nii.gz", "heat.nii"])
def test_a_volume_lies_on_its_image(tmp_path, name):
    affine = np.array([[0, 0, 5.0, -30], [-0.9, 0, 0, 40], [0, -0.9, 0, 25], [0, 0, 0, 1]])
    geometry = VolumeGeometry.from_affine(affine, (24, 20, 6))
    frames = np.random.default_rng(0).random(geometry.to_frames(np.zeros((24, 20, 6))).shape).astype(np.float32)
    nib.save(nib.Nifti1Image(geometry.to_volume(frames), affine), tmp_path / "image.nii")
    write_heatmap(frames, geometry, tmp_path / name)
    image, heat = sitk.ReadImage(tmp_path / "image.nii"), sitk.ReadImage(tmp_path / name)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(heat), sitk.GetArrayFromImage(image))
    for one, other in zip(
        (image.GetOrigin(), image.GetSpacing(), image.GetDirection()),
        (heat.GetOrigin(), heat.GetSpacing(), heat.GetDirection()),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_other_file_types_are_refused(tmp_path):
    geometry = VolumeGeometry.from_affine(RAS_TO_LPS, (4, 4, 2))
    with pytest.raises(InputError, match=r"heat\.png: a heatmap is written as \.nrrd, \.nii\.gz, \.nii"):
        write_heatmap(geometry.to_frames(np.zeros((4, 4, 2))), geometry, tmp_path / "heat.png")


# Whether it can be trusted: shipped weights on phantoms whose truth is known


@pytest.fixture(scope="module")
def phantoms() -> list[tuple[Sequence, np.ndarray]]:
    stacks = [head_stack(seed, n_frames=12, size=96, spacing_mm=(2.0, 2.0, 6.0)) for seed in range(700, 708)]
    return [(sequence_of(s.image[:, None].astype(np.float32), s.spacing_mm[:2]), s.mask > 0) for s in stacks]


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    config = load_configs(CONFIGS_DIR)["mr_lesion_segmentation"]
    config = replace(config, inference=replace(config.inference, flip_tta=False))
    network = build_network(config)
    load_weights(network, PRETRAINED_DIR / "mr_lesion.safetensors")
    return Predictor(config, network)


def near(mask: np.ndarray) -> np.ndarray:
    """The lesions and what lies within 6 mm of them on the same frame."""
    return binary_dilation(mask, np.ones((1, 7, 7)))


def test_the_strongest_evidence_is_at_a_lesion(phantoms, shipped):
    """The pointing game (Zhang et al. Top-down neural attention by excitation backprop. ECCV 2016)."""
    hits, chance, mass = [], [], []
    for sequence, mask in phantoms:
        explanation = explain(shipped, sequence)
        heat, body = explanation.on_frames(explanation.heatmaps[0]), near(mask) | (sequence.frames[:, 0] > 20)
        hits.append(near(mask).flat[heat.argmax()])
        chance.append(near(mask)[body].mean())
        mass.append(heat[near(mask)].sum() / heat.sum())
    print(f"pointing game {np.mean(hits):.2f}, mass {np.mean(mass):.2f}, chance {np.mean(chance):.3f}")
    assert np.mean(hits) >= 0.6 > 5 * np.mean(chance)
    assert np.mean(mass) > 5 * np.mean(chance)


def test_other_weights_give_another_map(phantoms, shipped):
    """Adebayo et al. Sanity checks for saliency maps. NeurIPS 2018: a map must depend on what was learned."""
    likeness = []
    for sequence, _ in phantoms[:2]:
        trained = explain(shipped, sequence).heatmaps[0].cells
        again = explain(shipped, sequence).heatmaps[0].cells
        random = explain(predictor_of(shipped.config, seed=1), sequence).heatmaps[0].cells
        np.testing.assert_array_equal(trained, again)
        likeness.append(spearmanr(trained.ravel(), random.ravel()).statistic)
    assert np.mean(np.abs(likeness)) < 0.4


def test_a_lesion_that_is_there_is_its_own_evidence(phantoms, shipped):
    inside = []
    for sequence, _ in phantoms[:3]:
        prediction = shipped.predict(sequence)
        findings = find_lesions(prediction, sequence, shipped.config, Source())[1][:2]
        explanation = explain(shipped, sequence, findings)
        for heatmap, one in zip(explanation.heatmaps[1:], findings, strict=True):
            frame = int(heatmap.cells.max(axis=(1, 2)).argmax())
            inside.append(any(abs(frame - t) <= 1 for t in one.boxes))
        assert prediction.attention.sum() == pytest.approx(1, abs=1e-5)
    assert np.mean(inside) > 0.5


# The command


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_the_command_writes_picture_volumes_and_json(tmp_path, task):
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=6, size=96, spacing_mm=(2.0, 2.0, 6.0)), image)
    weights = PRETRAINED_DIR / "mr_lesion.safetensors"
    options = [
        "--weights",
        weights,
        "--output",
        tmp_path / "out",
        "--volumes",
        ".nii.gz",
        "--set",
        "inference.flip_tta=false",
    ]
    result = run("explain", f"mr_lesion_{task}", image, *options)
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert sum(data["attention"]) == pytest.approx(1, abs=1e-3)
    assert len(data["presence"]) == 6
    assert data["explain"]["method"] == "hirescam"
    names = {
        f"heatmap-{'study' if m['finding'] is None else 'lesion-' + str(m['finding'])}.nii.gz"
        for m in data["explain"]["maps"]
    }
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"explanation.png", "explanation.json", *names}
    for name in names:
        heat = nib.load(tmp_path / "out" / name)
        np.testing.assert_allclose(heat.affine, nib.load(image).affine, atol=1e-4)
        assert heat.shape == nib.load(image).shape
    picture = np.asarray(Image.open(tmp_path / "out" / "explanation.png").convert("RGB")).astype(int)
    assert min(picture.shape[:2]) > 300
    assert (np.ptp(picture, axis=2) > 60).mean() > 0.001  # there is colour in it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mr_lesion_segmentation", "none.nii.gz"], r"none\.nii\.gz"),
        (["mr_lesion_segmentation", "IMAGE", "--volumes", ".png"], r"--volumes \.png: known are \.nrrd, \.nii\.gz"),
        (["mr_lesion_segmentation", "IMAGE", "--method", "lime"], "no explanation method 'lime'"),
        (["report_brain_mr", "IMAGE"], "writes reports: each of its sentences"),
        (["mr_three_channel_segmentation", "FLAIR"], "not made for studies without t1"),
        (["nonsense", "IMAGE"], "no model 'nonsense'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    images = {"IMAGE": tmp_path / "image.nii.gz", "FLAIR": tmp_path / "image_flair.nii.gz"}
    for image in images.values():
        write_nifti(head_stack(700, n_frames=2, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    arguments = [images.get(a, a) for a in arguments]
    result = run("explain", *arguments, "--output", tmp_path / "out", "--model-dir", tmp_path / "model")
    assert isinstance(result.exception, InputError)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "out").exists()


def test_a_classification_of_two_channels_is_shown_with_its_weights(tmp_path):
    network = replace(SMALL, name="clip_net", in_channels=2, fusion=FusionConfig("additive"))
    config = model(network, task="classification")
    torch.manual_seed(0)
    save_weights(build_network(config).state_dict(), tmp_path / "w.safetensors", {})
    both = np.random.default_rng(0).uniform(50, 60, (40, 48, 5, 1, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(both, np.diag([1.5, 1.5, 5, 1])), tmp_path / "both.nii")
    wanted = Wanted(tmp_path / "both.nii", tmp_path / "out", "hirescam")
    written = run_explain(config, tmp_path / "w.safetensors", "v1", wanted)
    assert [path.name for path in written] == ["explanation.png", "explanation.json", "heatmap-study.nrrd"]
    data = json.loads(written[1].read_text())
    assert sum(data["study"].values()) == pytest.approx(1, abs=1e-3)
    assert data["explain"]["maps"][0]["label"] == max(data["study"], key=data["study"].get)
    assert data["presence"] is None
    assert np.sum(data["modality_weights"], axis=1) == pytest.approx(1, abs=1e-3)
    assert data["modalities"][0]["weight"] + data["modalities"][1]["weight"] == pytest.approx(1, abs=1e-3)
    assert min(Image.open(written[0]).size) > 300


def test_the_picture_shows_the_frames_with_evidence():
    heat = np.zeros((30, 4, 4), np.float32)
    assert frames_with_evidence(heat) == [15]
    heat[3:25, 1, 1] = 0.5
    heat[10, 2, 2] = 1
    shown = frames_with_evidence(heat)
    assert len(shown) == MOST_FRAMES
    assert 10 in shown
    assert shown == sorted(set(shown))


# Over the server's task


@pytest.fixture
def task(tmp_path) -> LesionSegmentation:
    config = replace(model(), pretrained="w.safetensors")
    save_weights(predictor_of(config).network.state_dict(), tmp_path / "shipped" / "w.safetensors", {})
    return LesionSegmentation(config, VersionStore(tmp_path / "model", config, tmp_path / "shipped"))


def request(path, **params: object) -> dict:
    return {"image": str(path), "device": "cpu", "result_write_to_file": False, "mask_threshold": 0.0, **params}


def test_an_answer_says_why_when_asked(task, tmp_path):
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=3, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    assert "explain" not in task(request(image))[1]
    params = task(request(image, explain=True))[1]
    why = json.loads(json.dumps(params["explain"]))
    assert [one["finding"] for one in why["maps"]] == [None, *(f["id"] for f in params["findings"][:MOST_FINDINGS])]
    assert len(why["maps"][0]["frames"]) == params["n_frames"] == len(params["attention"])
    assert sum(params["attention"]) == pytest.approx(1, abs=1e-3)
    assert params["latencies"]["explain"] > 0
    assert decoded(why).max() == 255
    with pytest.raises(InputError, match="'explain' is 'maybe'"):
        task(request(image, explain="maybe"))


def test_an_answer_for_a_viewer_is_on_the_stored_frames(task, tmp_path):
    """A head stored upside down and from above: models see no difference, a viewer does."""
    stack = head_stack(700, n_frames=4, size=64, spacing_mm=(3.0, 3.0, 6.0))
    (tmp_path / "turned").mkdir()
    for file in write_dicom(stack, tmp_path / "head", patient_id="P"):
        dataset = dcmread(file)
        dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[::-1, ::-1]).tobytes()
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 63 * 3, y + 63 * 3, z]
        dataset.save_as(tmp_path / "turned" / file.name)
    usual = task(request(tmp_path / "head", explain=True, frame_mask=True))[1]["explain"]
    turned = task(request(tmp_path / "turned", explain=True, frame_mask=True))[1]["explain"]
    assert len(usual["maps"]) == len(turned["maps"])
    for own, other in zip(turned["maps"], usual["maps"], strict=True):
        assert own["finding"] == other["finding"]
        assert own["peak"]["frame"] == other["peak"]["frame"]
        cell_px = (usual["extent"][2] - usual["extent"][0]) / usual["columns"]
        assert abs(own["peak"]["x"] - (64 - other["peak"]["x"])) <= cell_px
        assert abs(own["peak"]["y"] - (64 - other["peak"]["y"])) <= cell_px


def test_an_answer_of_a_classification_says_why(tmp_path):
    config = replace(model(replace(SMALL, name="clip_net"), task="classification"), pretrained="w.safetensors")
    torch.manual_seed(0)
    save_weights(build_network(config).state_dict(), tmp_path / "shipped" / "w.safetensors", {})
    task = Classification(config, VersionStore(tmp_path / "model", config, tmp_path / "shipped"))
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=3, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    assert "explain" not in task(request(image))[1]
    params = task(request(image, explain=True))[1]
    (heatmap,) = params["explain"]["maps"]
    assert heatmap["label"] == max(params["study"], key=params["study"].get)
    assert len(heatmap["frames"]) == 3

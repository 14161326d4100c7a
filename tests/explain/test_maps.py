# SPDX-License-Identifier: Apache-2.0
"""Maps of evidence are the gradients that they claim to be, and leave the network as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from torch import nn

from lib.configs import (
    FrameRecurrenceConfig,
    FusionConfig,
    MapRecurrenceConfig,
)
from lib.explain import METHODS, MOST_FINDINGS, explain
from lib.explain.explainer import HiResCam
from lib.explain.targets import box_target, boxes_on_network, class_target, mask_target, study_target
from lib.networks.heads import BoxMaps
from lib.networks.lesion_net import LesionOutput
from lib.prediction.clip_predictor import ClipPredictor
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.transforms.prepare import FrameGrid, prepare
from lib.types import InputError, Sequence

from .conftest import SMALL, finding, model, noise, predictor_of, sequence_of


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

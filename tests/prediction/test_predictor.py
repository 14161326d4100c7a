# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lib.configs import FrameRecurrenceConfig, InferenceConfig, InputConfig, ModelConfig, NetworkConfig
from lib.networks.heads import BoxHead, BoxMaps
from lib.networks.lesion_net import LesionNet, LesionOutput
from lib.prediction.predictor import Predictor, frame_windows
from lib.transforms.prepare import prepare
from lib.transforms.targets import build_targets, component_boxes
from lib.types import Sequence, SequenceKind

SPACING = (1.5, 1.5)


def model(network: NetworkConfig | None = None, **inference: object) -> ModelConfig:
    return ModelConfig(
        task="detection",
        description="test",
        labels={"a": 1, "b": 2},
        network=network or NetworkConfig(channels=(8, 8, 8), norm_groups=2),
        input=InputConfig(spacing_mm=1.5),
        inference=InferenceConfig(**{"class_of": "pixel", **inference}),  # the boxes of a and b lie in each other
        name="test",
    )


def sequence(frames: np.ndarray, spacing_mm: tuple[float, float] = SPACING) -> Sequence:
    affine = np.diag([*spacing_mm, 5.0, 1.0])
    return Sequence(frames, SequenceKind.STACK, tuple(5.0 * t for t in range(len(frames))), spacing_mm, affine)


def ramp(t: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Frames that grow brighter with their number and to the right; never zero, so nothing is cropped."""
    frames = np.random.default_rng(0).uniform(50, 51, (t, 1, height, width)) + np.linspace(0, 10, width)
    return (frames + 10 * np.arange(t)[:, None, None, None]).astype(np.float32)


class Echo(nn.Module):
    """Says of each frame what it shows: mask logits are the pixels, presence is the frame's mean."""

    size_divisor = 8
    box_head = None

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[int] = []

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> LesionOutput:
        assert frames.shape[-1] % 8 == frames.shape[-2] % 8 == 0
        b, t = frames.shape[:2]
        self.windows.append(t)
        mean = frames.mean((2, 3, 4))
        study = torch.full((b, 2), float(len(self.windows)) - 2)
        return LesionOutput(frames.expand(b, t, 2, *frames.shape[-2:]), None, mean, study, torch.ones(b, t) / t)


class Ideal(nn.Module):
    """Answers with the maps that a perfect box head would give for some masks (T, K, H, W); mirrors them when asked to.

    The images grow brighter to the right, so that it can see whether they were mirrored.
    """

    size_divisor = 4

    def __init__(self, masks: np.ndarray) -> None:
        super().__init__()
        self.masks, self.box_head = masks, BoxHead(1, masks.shape[1], 4)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> LesionOutput:
        mirrored = bool(frames[0, 0, 0, 0, 0] > frames[0, 0, 0, 0, -1])
        masks = self.masks[..., ::-1].copy() if mirrored else self.masks
        targets = build_targets(masks[None], 4)
        heatmap = torch.logit(targets.heatmap.clamp(1e-4, 1 - 1e-4))
        log_size, offset = (
            torch.zeros(1, len(masks), 2, *heatmap.shape[-2:]),
            torch.zeros(1, len(masks), 2, *heatmap.shape[-2:]),
        )
        for _, t, _, *box in targets.boxes.tolist():
            x0, y0, x1, y1 = (v / 4 for v in box)
            center = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2])
            x, y = center.floor().long().tolist()
            log_size[0, int(t), :, y, x] = torch.tensor([x1 - x0, y1 - y0]).log()
            offset[0, int(t), :, y, x] = center - center.floor()
        logits = 20 * targets.mask - 10
        return LesionOutput(logits, BoxMaps(heatmap, log_size, offset, 4), None, None, None)


@pytest.mark.parametrize(("n", "longest"), [(1, 64), (64, 64), (65, 64), (200, 64), (7, 2), (5, 1), (10, 3), (128, 64)])
def test_windows_cover_every_frame_and_overlap(n: int, longest: int) -> None:
    windows = frame_windows(n, longest)
    seen = np.zeros(n, int)
    for window in windows:
        seen[window] += 1
        assert window.stop - window.start == min(n, longest)
    assert (seen >= 1).all()
    assert windows[-1].stop == n
    for a, b in pairwise(windows):
        assert b.start > a.start
        assert longest < 2 or b.start < a.stop


@pytest.mark.parametrize("longest", [1, 2, 3, 8, 64])
def test_a_long_sequence_in_windows_is_the_whole(longest: int) -> None:
    network, shares = Echo(), []
    prediction = Predictor(model(max_frames=longest, flip_tta=False), network).predict(sequence(ramp(9)), shares.append)
    frames, _ = prepare(sequence(ramp(9)), model().input)
    expected = 1 / (1 + np.exp(-frames))
    np.testing.assert_allclose(prediction.mask[:, 1:], expected, atol=1e-5)
    np.testing.assert_allclose(prediction.mask[:, :1], expected, atol=1e-5)
    assert max(network.windows) == min(9, longest)
    assert prediction.attention.sum() == pytest.approx(1, abs=1e-5)
    assert (prediction.attention > 0).all()
    assert prediction.study == pytest.approx(
        [1 / (1 + np.exp(2 - len(network.windows)))] * 2
    )  # the last is the largest
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == len(network.windows)


def test_windows_leave_a_network_without_memory_unchanged() -> None:
    torch.manual_seed(0)
    config = model(NetworkConfig(channels=(8, 8, 8), norm_groups=2, frame_recurrence=FrameRecurrenceConfig("none")))
    network = LesionNet(config.network, 2)
    whole = Predictor(config, network).predict(sequence(ramp(7)))
    cut = Predictor(replace(config, inference=InferenceConfig(max_frames=3)), network).predict(sequence(ramp(7)))
    np.testing.assert_allclose(cut.mask, whole.mask, atol=1e-5)
    assert whole.study is None
    assert whole.attention is None
    np.testing.assert_allclose(whole.presence, whole.mask.max(axis=(1, 2, 3)))


@pytest.mark.parametrize("shape", [(3, 1, 37, 41), (1, 1, 20, 20), (2, 1, 5, 9), (2, 1, 64, 33)])
@pytest.mark.parametrize("spacing", [SPACING, (0.8, 1.1), (4.0, 2.0)])
def test_any_size_comes_back_in_its_own_geometry(shape, spacing) -> None:
    torch.manual_seed(0)
    config = model()
    network = LesionNet(config.network, 2)
    image = np.random.default_rng(0).uniform(0, 100, shape).astype(np.float32)
    prediction = Predictor(config, network).predict(sequence(image, spacing))
    assert prediction.mask.shape == (shape[0], 2, *shape[2:])
    assert np.isfinite(prediction.mask).all()
    assert prediction.presence.shape == prediction.attention.shape == (shape[0],)
    for frame in prediction.boxes:
        for found in frame:
            x0, y0, x1, y1 = found.box
            assert 0 <= x0 < x1 <= shape[3]
            assert 0 <= y0 < y1 <= shape[2]


def mirror_symmetric(network: LesionNet) -> LesionNet:
    """Make every kernel even in x, with the stem's and the upsampling's phases alike."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.copy_((parameter + parameter.flip(-1)) / 2)
    return network


def test_flipping_a_symmetric_network_changes_nothing() -> None:
    torch.manual_seed(0)
    network = mirror_symmetric(LesionNet(NetworkConfig(channels=(8, 8, 8), norm_groups=2), 2))
    image = sequence(ramp(3, 40, 48))
    plain = Predictor(model(flip_tta=False), network).predict(image)
    flipped = Predictor(model(flip_tta=True), network).predict(image)
    np.testing.assert_allclose(flipped.mask, plain.mask, atol=1e-5)
    np.testing.assert_allclose(flipped.presence, plain.presence, atol=1e-5)


def test_with_flips_any_network_is_symmetric() -> None:
    torch.manual_seed(0)
    predictor = Predictor(model(flip_tta=True), LesionNet(NetworkConfig(channels=(8, 8, 8), norm_groups=2), 2))
    frames = torch.randn(3, 1, 40, 48).numpy()
    there, back = predictor.maps(frames), predictor.maps(frames[..., ::-1].copy())
    torch.testing.assert_close(back.mask.flip(-1), there.mask, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(back.heatmap.flip(-1), there.heatmap, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(back.log_size.flip(-1), there.log_size, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(1 - back.offset[:, 0].flip(-1), there.offset[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(back.presence, there.presence, atol=1e-5, rtol=1e-4)


def lesions() -> np.ndarray:
    masks = np.zeros((3, 2, 64, 80), np.uint8)
    masks[0, 0, 5:17, 30:36] = 1
    masks[0, 0, 40:50, 3:20] = 1
    masks[0, 1, 41:51, 4:21] = 1
    masks[2, 1, 60:64, 74:80] = 1
    return masks


@pytest.mark.parametrize("spacing", [SPACING, (0.75, 3.0)])
@pytest.mark.parametrize("flip_tta", [False, True])
def test_ideal_maps_decode_to_the_boxes_they_were_made_from(spacing, flip_tta: bool) -> None:
    masks = lesions()
    columns = np.broadcast_to(np.linspace(100, 200, 80, dtype=np.float32), (3, 1, 64, 80))
    image = sequence(np.ascontiguousarray(columns))
    predictor = Predictor(model(flip_tta=flip_tta), Ideal(masks))
    frames, grid = prepare(image, predictor.config.input)
    # the same network grid, as if it came from an image with other pixels
    original = (round(64 * SPACING[1] / spacing[1]), round(80 * SPACING[0] / spacing[0]))
    prediction = predictor.restore(predictor.maps(frames), replace(grid, original=original))
    sx, sy = original[1] / 80, original[0] / 64
    for t in range(3):
        truth = sorted(
            (k, x0 * sx, y0 * sy, x1 * sx, y1 * sy) for k in range(2) for x0, y0, x1, y1 in component_boxes(masks[t, k])
        )
        found = [(b.class_index, *b.box) for b in prediction.boxes[t] if b.score > 0.5]
        assert [f[0] for f in sorted(found)] == [k for k, *_ in truth]
        if not flip_tta:  # with flips, a centre on a cell's edge falls into two cells
            np.testing.assert_allclose(sorted(found), truth, atol=1e-3)
        scores = [b.score for b in prediction.boxes[t]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("class_of", "expected"), [("lesion", [(0, 0.9, (0.9, 0.0))]), ("pixel", [(0, 0.9, ()), (1, 0.5, ())])]
)
def test_two_peaks_of_one_lesion_become_one_box(class_of: str, expected: list[tuple[object, ...]]) -> None:
    predictor = Predictor(model(nms_iou=0.3, flip_tta=False, class_of=class_of), Ideal(lesions()))
    heatmap = torch.zeros(1, 2, 8, 8)
    heatmap[0, 0, 3, 2], heatmap[0, 0, 3, 4], heatmap[0, 1, 3, 4] = 0.9, 0.6, 0.5
    maps = predictor.maps(np.zeros((3, 1, 64, 80), np.float32))
    maps.mask, maps.heatmap = maps.mask[:1], heatmap
    maps.log_size, maps.offset = torch.full((1, 2, 8, 8), 6.0).log(), torch.full((1, 2, 8, 8), 0.5)
    (boxes,) = predictor.decode_boxes(maps)
    found = [(b.class_index, round(b.score, 3), tuple(round(p, 3) for p in b.class_scores)) for b in boxes]
    assert found == expected
    assert boxes[0].box == pytest.approx((-2, 2, 22, 26), abs=1e-3)


def test_boxes_beyond_the_edge_of_the_frame_are_left_out() -> None:
    predictor = Predictor(model(flip_tta=False), Ideal(lesions()))
    frames, grid = prepare(sequence(ramp(3, 64, 80)), predictor.config.input)
    maps = predictor.maps(frames)
    inside = predictor.restore(maps, grid)
    assert [len(frame) for frame in inside.boxes] == [3, 0, 1]
    # the frame ends where the last lesion begins: what the network saw there was padding
    maps.mask = maps.mask[..., :60, :72]
    cut = predictor.restore(maps, replace(grid, original=(60, 72), resampled=(60, 72), crop=(0, 60, 0, 72)))
    assert [len(frame) for frame in cut.boxes] == [3, 0, 0]


def test_presence_threshold_empties_frames_of_mask_and_boxes() -> None:
    class Judged(Ideal):
        def forward(self, frames: Tensor, mask: Tensor | None = None) -> LesionOutput:
            output = super().forward(frames, mask)
            output.presence_logits = torch.tensor([[-3.0, 0.0, 3.0]])
            return output

    image = sequence(ramp(3, 64, 80))
    every = Predictor(model(flip_tta=False), Judged(lesions())).predict(image)
    some = Predictor(model(flip_tta=False, presence_threshold=0.5), Judged(lesions())).predict(image)
    assert [len(frame) for frame in every.boxes] == [3, 0, 1]
    assert [len(frame) for frame in some.boxes] == [0, 0, 1]
    assert some.mask[0].max() == 0
    np.testing.assert_array_equal(some.mask[2], every.mask[2])
    np.testing.assert_array_equal(some.presence, every.presence)

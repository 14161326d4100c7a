# SPDX-License-Identifier: Apache-2.0
"""Class activation maps of the lesion net and the clip net.

A map weighs the features of one layer by the gradient of a target (:mod:`lib.explain.targets`) and sums them; what is
negative speaks against it and is left out. Two methods:

- ``gradcam``: MONAI's Grad-CAM. A channel has one weight per frame, the mean of its gradient over the pixels.
- ``hirescam``: each pixel has its own gradient, nothing is averaged. A map then shows only features that the answer
  depends on at that place. A frame is summed up by the maximum of each feature as well as by its mean; the gradient of
  a maximum is at one pixel, and averaged over the frame the place is lost.

References:
    Selvaraju et al. Grad-CAM: visual explanations from deep networks via gradient-based localization. ICCV 2017.
    Draelos, Carin. Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks.
    arXiv:2011.08891.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from monai.visualize import GradCAM
from torch import Tensor, nn

from ..configs import ModelConfig
from ..networks.clip_net import ClipNet
from ..networks.lesion_net import LesionNet
from ..prediction.predictor import frame_windows
from ..transforms.prepare import FrameGrid, prepare
from ..types import Box, Finding, FloatArray, InputError, Sequence
from .heatmaps import Explanation, Heatmap
from .targets import Target, box_target, boxes_on_network, class_target, mask_target, study_target

MOST_FINDINGS = 10
"""Lesions that get a map of their own, best first; each costs a pass backward through the network."""


class HiResCam(GradCAM):  # type: ignore[misc]
    """MONAI's Grad-CAM without the averaging of gradients over pixels."""

    def compute_map(
        self, x: Tensor, class_idx: int | None = None, retain_graph: bool = False, layer_idx: int = -1, **kwargs: Any
    ) -> Tensor:
        """Map (T, 1, h, w) of one score of ``x``; arguments as MONAI's."""
        _, features, gradients = self.nn_module(x, class_idx=class_idx, retain_graph=retain_graph, **kwargs)
        return torch.relu((gradients[layer_idx] * features[layer_idx]).sum(1, keepdim=True))


METHODS: dict[str, type[GradCAM]] = {"hirescam": HiResCam, "gradcam": GradCAM}
DEFAULT_METHOD = "hirescam"


class Model(Protocol):
    """What is explained: a predictor of :mod:`lib.prediction`, of stacks or of clips."""

    @property
    def config(self) -> ModelConfig:
        """The model."""

    @property
    def network(self) -> nn.Module:
        """With weights."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""


def explain(
    model: Model,
    sequence: Sequence,
    findings: Iterable[Finding] = (),
    method: str = DEFAULT_METHOD,
    label: str | None = None,
) -> Explanation:
    """Show what speaks for a study's answer and for its lesions.

    The served network stays as it is: a copy carries the hooks. Unlike a prediction, the map is of the image only, not
    also of its mirror image. Sequences longer than ``max_frames`` are run in the windows of the prediction; maps of
    overlapping windows are averaged.

    Args:
        model: What gave the answer.
        sequence: (T, C, H, W).
        findings: What the model found in it, best first; the first :data:`MOST_FINDINGS` get a map.
        method: Key in :data:`METHODS`.
        label: Class of the study to explain; None for "some frame holds a lesion", which a classification cannot say.

    Raises:
        InputError: If there is no such method or class, or the network has no encoder per frame.
    """
    config = model.config
    if method not in METHODS:
        raise InputError(f"there is no explanation method '{method}'; known: {', '.join(METHODS)}")
    if label not in config.labels and (label is not None or config.task == "classification"):
        raise InputError(f"model '{config.name}' has no class '{label}'; known: {', '.join(config.class_names)}")
    layer = explained_layer(model.network, config)
    frames, grid = prepare(sequence, config.input)
    chosen = list(findings)[:MOST_FINDINGS]
    study = study_target if label is None else class_target(config.class_names.index(label))
    with torch.inference_mode(False), torch.enable_grad():
        padded = _padded(frames, model)
        scores = _Scores(model.network, layer, sequence.channel_present)
        camera = METHODS[method](scores, f"network.{layer}")
        cells = _in_windows(camera, scores, padded, study, _lesions(chosen, grid, config), config.inference.max_frames)
    heatmaps = [Heatmap(None, label, _scaled(cells[0]))]
    heatmaps += [Heatmap(one.id, one.label, _scaled(values)) for one, values in zip(chosen, cells[1:], strict=True)]
    return Explanation(method, layer, tuple(heatmaps), grid, (padded.shape[-2], padded.shape[-1]))


def explained_layer(network: nn.Module, config: ModelConfig) -> str:
    """The encoder level with the cells of the box head: four pixels wide behind a stem of stride 2.

    Measured on phantoms (docs/how-to/see-why.md): of all levels its maps lie most at lesions; coarser ones miss small
    ones, the finest follows edges more.

    Raises:
        InputError: If the network has no encoder per frame.
    """
    if not isinstance(network, LesionNet | ClipNet):
        raise InputError(
            f"model '{config.name}' cannot be explained: its network '{config.network.name}' has no encoder per frame; "
            "use a model whose network is 'lesion_net' or 'clip_net', or leave 'explain' out"
        )
    return f"encoder.levels.{min(1, len(config.network.channels) - 1)}"


class _Scores(nn.Module):
    """The network as MONAI's Grad-CAM takes it: frames (T, C, H, W) in, a score per target (1, n) out.

    The pass forward is kept until the next :meth:`aim`, so that each further target costs a pass backward only.
    """

    def __init__(self, network: nn.Module, layer: str, channel_present: tuple[bool, ...]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.network.get_submodule(layer).register_forward_pre_hook(_start_graph)
        self._channel_present = channel_present
        self._targets: list[Target] = []
        self._scores: Tensor | None = None

    def aim(self, targets: list[Target]) -> None:
        """Set the targets and forget the frames before."""
        self._targets, self._scores = targets, None

    def forward(self, frames: Tensor) -> Tensor:
        """Scores of the targets, (1, n)."""
        if self._scores is None:
            complete = all(self._channel_present)
            present = (
                {} if complete else {"channel_present": torch.tensor([self._channel_present], device=frames.device)}
            )
            output = self.network(frames[None], **present)
            self._scores = torch.stack([target(output) for target in self._targets])[None]
        return self._scores

    def train(self, mode: bool = True) -> _Scores:
        """As torch's, but recurrent cells stay in training: cuDNN refuses to go backward through them otherwise.

        They are the same in both modes, because they are built without dropout.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.RNNBase):
                nn.Module.train(module)
        return self


def _start_graph(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients are needed from the layer on, not below it."""
    return (inputs[0].detach().requires_grad_(), *inputs[1:])


def _padded(frames: FloatArray, model: Model) -> Tensor:
    """Prepared frames on the device, right and lower edge repeated up to a size that the network takes."""
    height, width = frames.shape[-2:]
    divisor = int(model.network.size_divisor)  # type: ignore[arg-type]
    tensor = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
    return nn.functional.pad(tensor, (0, -width % divisor, 0, -height % divisor), mode="replicate").to(model.device)


def _lesions(findings: list[Finding], grid: FrameGrid, config: ModelConfig) -> list[_Lesion]:
    return [_Lesion(boxes_on_network(one.boxes, grid), config.class_names.index(one.label), config) for one in findings]


@dataclass(frozen=True)
class _Lesion:
    """A lesion to explain: its boxes on the network's pixels by frame, and its class."""

    boxes: dict[int, Box]
    class_index: int
    config: ModelConfig

    def target(self, window: slice) -> Target | None:
        """What to explain in a window of frames; None where the lesion is not in it."""
        boxes = {t - window.start: box for t, box in self.boxes.items() if window.start <= t < window.stop}
        if not boxes:
            return None
        if self.config.task == "detection":
            return box_target(boxes, self.class_index)
        return mask_target(boxes, self.class_index, self.config.inference.mask_threshold)


def _in_windows(
    camera: GradCAM, scores: _Scores, padded: Tensor, study: Target, lesions: list[_Lesion], max_frames: int
) -> Tensor:
    """Maps of the study and of the lesions, (1 + n, T, rows, columns), not scaled."""
    total: Tensor | None = None
    count = torch.zeros(1 + len(lesions), len(padded), 1, 1)
    for window in frame_windows(len(padded), max_frames):
        targets = {0: study, **{i: one.target(window) for i, one in enumerate(lesions, start=1)}}
        there = {i: target for i, target in targets.items() if target is not None}
        scores.aim(list(there.values()))
        for place, i in enumerate(there):
            cells = camera.compute_map(padded[window], class_idx=place, retain_graph=True)[:, 0].detach().float().cpu()
            if total is None:
                total = cells.new_zeros(1 + len(lesions), len(padded), *cells.shape[1:])
            total[i, window] += cells
            count[i, window] += 1
    assert total is not None  # a sequence has frames
    return total / count.clamp(min=1)


def _scaled(cells: Tensor) -> FloatArray:
    """0..1 over the study; all 0 where nothing is positive."""
    highest = float(cells.max())
    return np.asarray(cells / highest if highest > 0 else cells)

# SPDX-License-Identifier: Apache-2.0
"""What a heatmap explains: a number that the network computes, whose gradient says which features speak for it.

References:
    Vinogradova, Dibrov, Myers. Towards interpretable semantic segmentation via gradient-weighted class activation
    mapping. AAAI 2020 (the logits of the pixels of a region as target).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..networks.clip_net import ClipOutput
from ..networks.lesion_net import LesionOutput
from ..transforms.prepare import FrameGrid
from ..types import Box, InputError

Target = Callable[[Any], Tensor]
"""From what the network says of one sequence (:class:`LesionOutput` or :class:`ClipOutput`, batch of 1) to a number."""


def study_target(output: LesionOutput) -> Tensor:
    """How surely frames hold a lesion: the sum over frames of ``-log(1 - presence)``.

    Its gradient with respect to a frame's logit is the frame's presence: a frame that holds nothing adds nothing,
    whatever the gradient there, and a frame that surely holds a lesion counts in full (the gradient of the presence
    itself would vanish there). Without a presence head the highest mask logit of a frame stands for it, as in
    :class:`lib.prediction.predictor.Prediction`.
    """
    logits = output.mask_logits.amax((2, 3, 4)) if output.presence_logits is None else output.presence_logits
    return softplus(logits.float()).sum()


def class_target(class_index: int) -> Target:
    """How surely the study has a class: its logit.

    Args:
        class_index: From 0.
    """

    def target(output: LesionOutput | ClipOutput) -> Tensor:
        if output.study_logits is None:
            raise InputError("this network has no head for study classes; switch its frame_recurrence on")
        return output.study_logits[0, class_index].float()

    return target


def mask_target(boxes: dict[int, Box], class_index: int, threshold: float) -> Target:
    """How surely a lesion is outlined: per frame the mean mask logit of its pixels, summed over its frames.

    Args:
        boxes: Of the lesion on the network's pixels, by frame.
        class_index: Of its label, from 0.
        threshold: Mask probability above which a pixel in a box belongs to it; where none does, the highest counts.
    """
    lowest = math.inf if threshold >= 1 else -math.inf if threshold <= 0 else math.log(threshold / (1 - threshold))

    def target(output: LesionOutput) -> Tensor:
        parts = [_part(output.mask_logits[0, t, class_index].float(), box) for t, box in boxes.items()]
        return torch.stack([p[p > lowest].mean() if bool((p > lowest).any()) else p.max() for p in parts]).sum()

    return target


def box_target(boxes: dict[int, Box], class_index: int) -> Target:
    """How surely a lesion is boxed: the highest logit of the centre heatmap in its box, summed over its frames.

    Args:
        boxes: Of the lesion on the network's pixels, by frame.
        class_index: Of its label, from 0.
    """

    def target(output: LesionOutput) -> Tensor:
        assert output.boxes is not None  # a network that finds boxes has the head
        logits, stride = output.boxes.heatmap_logits[0, :, class_index].float(), output.boxes.stride
        cells = {t: (x0 / stride, y0 / stride, x1 / stride, y1 / stride) for t, (x0, y0, x1, y1) in boxes.items()}
        return torch.stack([_part(logits[t], box).max() for t, box in cells.items()]).sum()

    return target


def _part(logits: Tensor, box: Box) -> Tensor:
    """What a box touches of (h, w), at least one pixel."""
    rows, columns = logits.shape
    left, top = min(max(int(box[0]), 0), columns - 1), min(max(int(box[1]), 0), rows - 1)
    right, bottom = max(math.ceil(box[2]), left + 1), max(math.ceil(box[3]), top + 1)
    return logits[top:bottom, left:right]


def boxes_on_network(boxes: dict[int, Box], grid: FrameGrid) -> dict[int, Box]:
    """Boxes in pixels of the image -> boxes in pixels of the network: the inverse of ``grid.box_to_original``."""
    top, _, left, _ = grid.crop
    sy, sx = grid.resampled[0] / grid.original[0], grid.resampled[1] / grid.original[1]
    return {t: (x0 * sx - left, y0 * sy - top, x1 * sx - left, y1 * sy - top) for t, (x0, y0, x1, y1) in boxes.items()}

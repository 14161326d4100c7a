# SPDX-License-Identifier: Apache-2.0
"""Boxes on single frames, read off the box head's maps.

References:
    Zhou, Wang, Kraehenbuehl. Objects as points. arXiv:1904.07850.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from monai.data.box_utils import non_max_suppression
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..configs import InferenceConfig
from ..transforms.prepare import FrameGrid
from ..types import Box

MAX_BOXES_PER_FRAME = 20
LOWEST_BOX_SCORE = 0.05


@dataclass(frozen=True)
class FrameBox:
    """One detected box on one frame: pixels, class index (0-based), score, and with several classes that of each."""

    box: Box
    class_index: int
    score: float
    class_scores: tuple[float, ...] = ()


def decode_boxes(
    heatmap: Tensor, log_size: Tensor, offset: Tensor, stride: int, settings: InferenceConfig
) -> list[list[FrameBox]]:
    """Read boxes off the centre heatmaps: local maxima, then non-maximum suppression per frame.

    A lesion has one box, of its best class. Labels that are parts of a lesion (``inference.class_of`` is ``pixel``)
    have boxes of their own, whatever lies in the same place.

    Args:
        heatmap: Probabilities, (T, K, h, w).
        log_size: (T, 2, h, w).
        offset: (T, 2, h, w).
        stride: Pixels per cell.
        settings: Overlap from which two boxes are one, and what a class belongs to.

    Returns:
        Per frame, best first, in network pixels.
    """
    n_classes = heatmap.shape[1]
    groups = [[k] for k in range(n_classes)] if settings.class_of == "pixel" else [list(range(n_classes))]
    frames: list[list[FrameBox]] = [[] for _ in range(len(heatmap))]
    for group in groups:
        scores = heatmap[:, group].float()
        best = scores.amax(1)  # (T, h, w)
        peaks = (best == max_pool2d(best, 3, stride=1, padding=1)) & (best >= LOWEST_BOX_SCORE)
        for t, found in enumerate(frames):
            y, x = torch.nonzero(peaks[t], as_tuple=True)
            if len(y):
                boxes = _boxes_at(y, x, log_size[t].float(), offset[t].float(), stride)
                found += _kept(boxes, scores[t][:, y, x].T, group, settings.nms_iou)
    return [sorted(found, key=lambda b: -b.score) for found in frames]


def _boxes_at(y: Tensor, x: Tensor, log_size: Tensor, offset: Tensor, stride: int) -> Tensor:
    """Boxes (N, 4) in network pixels of the cells (N,), (N,) of one frame's maps (2, h, w)."""
    center = torch.stack([x, y], 1) + offset[:, y, x].T
    half = log_size[:, y, x].T.clamp(max=6).exp() / 2
    return torch.cat([center - half, center + half], 1) * stride


def _kept(boxes: Tensor, per_class: Tensor, classes: list[int], nms_iou: float) -> list[FrameBox]:
    """The boxes (N, 4) that no better one overlaps, with the scores (N, k) of these classes."""
    scores, best = per_class.max(1)
    found: list[FrameBox] = []
    for i in non_max_suppression(boxes, scores, nms_iou, MAX_BOXES_PER_FRAME):
        x0, y0, x1, y1 = boxes[i].tolist()
        told = tuple(per_class[i].tolist()) if len(classes) > 1 else ()
        found.append(FrameBox((x0, y0, x1, y1), classes[int(best[i])], float(scores[i]), told))
    return found


def on_original(boxes: list[FrameBox], grid: FrameGrid) -> tuple[FrameBox, ...]:
    """Move a frame's boxes to original pixels; what lies beyond the frame's edge is left out."""
    moved = (replace(b, box=grid.box_to_original(b.box)) for b in boxes)
    return tuple(b for b in moved if b.box[2] > b.box[0] and b.box[3] > b.box[1])

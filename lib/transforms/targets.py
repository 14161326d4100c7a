# SPDX-License-Identifier: Apache-2.0
"""Everything the heads learn from, derived from masks alone: boxes, centre heatmaps, presence, study classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ..types import Box


@dataclass
class Targets:
    """Training targets of a batch; shapes as in :mod:`lib.networks.heads`.

    Attributes:
        mask: (B, T, K, H, W) float, 0/1.
        presence: (B, T) float.
        study: (B, K) float.
        heatmap: (B, T, K, h, w) float.
        boxes: (M, 7) float: sequence, frame, class, x0, y0, x1, y1.
    """

    mask: torch.Tensor
    presence: torch.Tensor
    study: torch.Tensor
    heatmap: torch.Tensor
    boxes: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """Move every tensor."""
        return Targets(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def component_boxes(mask: npt.NDArray[np.uint8], min_px: int = 1) -> list[Box]:
    """Boxes of the connected lesion components (8-neighbours) of one frame.

    Args:
        mask: (H, W), 0/1.
        min_px: Smaller components are left out.
    """
    labelled, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes: list[Box] = []
    for i, region in enumerate(ndimage.find_objects(labelled), start=1):
        if min_px <= 1 or int((labelled[region] == i).sum()) >= min_px:
            rows, columns = region
            boxes.append((float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)))
    return boxes


def build_targets(masks: npt.NDArray[np.uint8], stride: int) -> Targets:
    """Derive all targets from masks.

    Args:
        masks: (B, T, K, H, W), 0/1.
        stride: Pixels per cell of the box head.
    """
    b, t, k, height, width = masks.shape
    heatmap = np.zeros((b, t, k, height // stride, width // stride), np.float32)
    rows: list[tuple[float, ...]] = []
    for i, j, c in np.argwhere(masks.any(axis=(3, 4))):
        for box in component_boxes(masks[i, j, c], min_px=4):
            draw_gaussian(heatmap[i, j, c], box, stride)
            rows.append((i, j, c, *box))
    mask = torch.from_numpy(masks.astype(np.float32))
    holds = masks.any(axis=(3, 4))  # (B, T, K)
    return Targets(
        mask=mask,
        presence=torch.from_numpy(holds.any(2).astype(np.float32)),
        study=torch.from_numpy(holds.any(1).astype(np.float32)),
        heatmap=torch.from_numpy(heatmap),
        boxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 7),
    )


def draw_gaussian(heatmap: npt.NDArray[np.float32], box: Box, stride: int) -> None:
    """Draw a peak of height 1 at the box's centre cell, as wide as a sixth of the box, keeping the larger value."""
    height, width = heatmap.shape
    x0, y0, x1, y1 = (v / stride for v in box)
    cx = min(int((x0 + x1) / 2), width - 1)
    cy = min(int((y0 + y1) / 2), height - 1)
    sx, sy = max((x1 - x0) / 6, 0.6), max((y1 - y0) / 6, 0.6)
    gx = np.exp(-((np.arange(width) - cx) ** 2) / (2 * sx**2))
    gy = np.exp(-((np.arange(height) - cy) ** 2) / (2 * sy**2))
    np.maximum(heatmap, np.outer(gy, gx).astype(np.float32), out=heatmap)

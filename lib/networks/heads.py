# SPDX-License-Identifier: Apache-2.0
"""Heads of the lesion net; each owns its loss.

References:
    Zhou, Wang, Kraehenbuehl. Objects as points. arXiv:1904.07850 (centre heatmap, size, offset).
    Rezatofighi et al. Generalized intersection over union. CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.lesion import (
    center_focal_loss,
    class_focal_loss,
    logit_adjusted_loss,
    masked_bce,
    pair_giou_loss,
    sequence_dice_loss,
)


@dataclass
class BoxMaps:
    """The box head's output; strides are in pixels of the network's input.

    Attributes:
        heatmap_logits: (B, T, K, h, w), peaks at lesion centres.
        log_size: (B, T, 2, h, w), log of width and height in cells.
        offset: (B, T, 2, h, w), centre minus cell corner in cells, 0..1.
        stride: Pixels per cell.
    """

    heatmap_logits: Tensor
    log_size: Tensor
    offset: Tensor
    stride: int


class MaskHead(nn.Module):
    """Per-class lesion logits at full resolution.

    Args:
        in_channels: Channels of the finest decoded map.
        n_classes: Lesion classes K.
        stride: Stride of that map; a transposed convolution undoes it.
        prior_logit: Initial bias: lesions are rare.
    """

    def __init__(self, in_channels: int, n_classes: int, stride: int, prior_logit: float = -4.0) -> None:
        super().__init__()
        self.out: nn.Module
        if stride == 1:
            self.out = nn.Conv2d(in_channels, n_classes, 1)
        else:
            kernel, padding = (4, 1) if stride == 2 else (stride, 0)
            self.out = nn.ConvTranspose2d(in_channels, n_classes, kernel, stride=stride, padding=padding)
        nn.init.constant_(self.out.bias, prior_logit)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> logits (N, K, H, W)."""
        return self.out(features)  # type: ignore[no-any-return]

    @staticmethod
    def compute_loss(logits: Tensor, target: Tensor, mask: Tensor, *, focal: bool = False) -> Tensor:
        """Soft Dice over each sequence + 2 BCE, or + a focal loss per lesion pixel.

        Args:
            logits: (B, T, K, H, W).
            target: 0/1, same shape.
            mask: (B, T), real frames.
            focal: For lesions of a few pixels, whose share in an average over all pixels is next to nothing.
        """
        pixels = center_focal_loss(logits, target, mask) if focal else 2 * masked_bce(logits, target, mask)
        return sequence_dice_loss(logits, target, mask) + pixels

    @staticmethod
    def compute_class_loss(logits: Tensor, target: Tensor, mask: Tensor, priors: Tensor | None = None) -> Tensor:
        """Loss between the classes, on the lesion pixels of real frames only; 0 without any.

        Args:
            logits: (B, T, K, H, W).
            target: 0/1, same shape; of a pixel with several classes the first one counts.
            mask: (B, T), real frames.
            priors: How often each class is drawn, (K,), for the logit-adjusted loss; None for the focal loss.
        """
        lesion = target.amax(dim=2).bool() & mask[:, :, None, None]
        chosen, classes = logits.movedim(2, -1)[lesion], target.movedim(2, -1)[lesion].argmax(-1)  # (N, K), (N,)
        if len(classes) == 0:
            return logits.sum() * 0
        return class_focal_loss(chosen, classes) if priors is None else logit_adjusted_loss(chosen, classes, priors)


class BoxHead(nn.Module):
    """Centre heatmap, size and offset of the lesion boxes of each frame.

    Args:
        in_channels: Channels of the decoded map it works on.
        n_classes: Lesion classes K.
        stride: Stride of that map.
    """

    def __init__(self, in_channels: int, n_classes: int, stride: int) -> None:
        super().__init__()
        self.n_classes, self.stride = n_classes, stride
        self.body = nn.Sequential(nn.Conv2d(in_channels, 48, 3, padding=1), nn.LeakyReLU(0.1, inplace=True))
        self.out = nn.Conv2d(48, n_classes + 4, 1)
        nn.init.constant_(self.out.bias[:n_classes], -4.0)  # type: ignore[index]

    def forward(self, features: Tensor, frames: tuple[int, int]) -> BoxMaps:
        """(B * T, C, h, w) and (B, T) -> maps."""
        x = self.out(self.body(features)).unflatten(0, frames)
        k = self.n_classes
        return BoxMaps(x[:, :, :k], x[:, :, k : k + 2], torch.sigmoid(x[:, :, k + 2 :]), self.stride)

    @staticmethod
    def compute_loss(maps: BoxMaps, heatmap: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """Penalty-reduced focal loss on the heatmap + L1 on log size and offset + GIoU at the true centres.

        Args:
            maps: The head's output.
            heatmap: (B, T, K, h, w), Gaussian peaks of height 1.
            boxes: (M, 7): sequence index, frame index, class index, x0, y0, x1, y1 in input pixels.
            mask: (B, T), real frames.
        """
        focal = center_focal_loss(maps.heatmap_logits, heatmap, mask)
        if len(boxes) == 0:
            return focal
        b, t = boxes[:, 0].long(), boxes[:, 1].long()
        xyxy = boxes[:, 3:] / maps.stride
        size = (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=0.25)
        center = (xyxy[:, 2:] + xyxy[:, :2]) / 2
        cell = center.floor().long()
        x = cell[:, 0].clamp(0, maps.offset.shape[-1] - 1)
        y = cell[:, 1].clamp(0, maps.offset.shape[-2] - 1)
        log_size, offset = maps.log_size[b, t, :, y, x], maps.offset[b, t, :, y, x]
        l1 = (log_size - size.log()).abs().mean() + (offset - (center - cell)).abs().mean()
        predicted_center, half = cell + offset, log_size.clamp(max=6).exp() / 2
        predicted = torch.cat([predicted_center - half, predicted_center + half], dim=1)
        return focal + l1 + pair_giou_loss(predicted, xyxy)


class PresenceHead(nn.Module):
    """Logit that a frame holds a lesion, from the frame's state and the study context.

    Args:
        in_features: Size of state plus context.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out = nn.Linear(in_features, 1)

    def forward(self, states: Tensor) -> Tensor:
        """(B, T, in_features) -> (B, T)."""
        return self.out(states).squeeze(-1)  # type: ignore[no-any-return]

    @staticmethod
    def compute_loss(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """BCE over real frames; all (B, T)."""
        return masked_bce(logits, target, mask)


class StudyHead(nn.Module):
    """Logits of the study classes (a study may hold several lesion classes), from the attention context.

    Args:
        in_features: Size of the context.
        n_classes: Lesion classes K.
    """

    def __init__(self, in_features: int, n_classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(in_features, n_classes)

    def forward(self, context: Tensor) -> Tensor:
        """(B, in_features) -> (B, K)."""
        return self.out(context)  # type: ignore[no-any-return]

    @staticmethod
    def compute_loss(logits: Tensor, target: Tensor) -> Tensor:
        """BCE; both (B, K)."""
        return nn.functional.binary_cross_entropy_with_logits(logits, target)

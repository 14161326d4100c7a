# SPDX-License-Identifier: Apache-2.0
"""Losses over sequences; padded frames never count.

References:
    Milletari et al. V-Net. 3DV 2016 (soft Dice). Lin et al. Focal loss. ICCV 2017.
    Zhou et al. Objects as points. arXiv:1904.07850 (penalty-reduced focal loss).
    Menon et al. Long-tail learning via logit adjustment. ICLR 2021.
"""

from __future__ import annotations

import torch
from monai.data.box_utils import box_pair_giou
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid


def _expand(mask: Tensor, like: Tensor) -> Tensor:
    """(B, T) -> float of the rank of ``like``."""
    return mask.to(like.dtype).reshape(*mask.shape, *[1] * (like.ndim - 2))


def masked_bce(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over the elements of real frames.

    Args:
        logits: (B, T, ...).
        target: Same shape, 0..1.
        mask: (B, T), real frames.
    """
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none").reshape(*mask.shape, -1).mean(-1)
    weight = mask.to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def sequence_dice_loss(logits: Tensor, target: Tensor, mask: Tensor, smooth: float = 20.0) -> Tensor:
    """1 - soft Dice, computed over all frames of a sequence together and averaged over sequences and classes.

    Args:
        logits: (B, T, K, H, W).
        target: Same shape, 0/1.
        mask: (B, T), real frames.
        smooth: Added to both sides of the ratio, in pixels: an empty sequence predicted empty has no loss.
    """
    weight = _expand(mask, logits)
    probability, target = torch.sigmoid(logits.float()) * weight, target * weight
    axes = (1, 3, 4)
    overlap = (probability * target).sum(axes)
    total = probability.sum(axes) + target.sum(axes)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def center_focal_loss(logits: Tensor, heatmap: Tensor, mask: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Penalty-reduced pixel-wise focal loss of CenterNet, divided by the number of centres.

    Args:
        logits: (B, T, K, h, w).
        heatmap: Same shape; exactly 1 at centres, Gaussian around them.
        mask: (B, T), real frames.
        alpha: Focus on hard cells.
        beta: How much less cells close to a centre are penalised.
    """
    logits = logits.float()
    probability = torch.sigmoid(logits)
    positive = (heatmap >= 1).to(logits.dtype)
    hit = -((1 - probability) ** alpha) * logsigmoid(logits) * positive
    miss = -((1 - heatmap) ** beta) * probability**alpha * logsigmoid(-logits) * (1 - positive)
    weight = _expand(mask, logits)
    return ((hit + miss) * weight).sum() / (positive * weight).sum().clamp(min=1)


def pair_giou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - generalised IoU of matching boxes, averaged; both (M, 4) as (x0, y0, x1, y1)."""
    loss: Tensor = 1 - box_pair_giou(predicted.float(), target.float())
    return loss.mean()


def class_focal_loss(logits: Tensor, classes: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which studies that are classified well count less; ``gamma`` 0 is cross-entropy.

    Args:
        logits: (B, K).
        classes: Class index of each, (B,).
        gamma: Focus on the hard ones.
    """
    loss = cross_entropy(logits.float(), classes, reduction="none")
    return ((1 - torch.exp(-loss)) ** gamma * loss).mean()


def logit_adjusted_loss(logits: Tensor, classes: Tensor, priors: Tensor, prior_weight: float = 1.0) -> Tensor:
    """Cross-entropy after adding the log priors: what is learned are the logits for classes that are equally frequent.

    Args:
        logits: (B, K).
        classes: Class index of each, (B,).
        priors: How often each class is drawn, (K,); one that is never drawn is left as it is.
        prior_weight: tau of Menon et al.
    """
    known = torch.where(priors > 0, priors, torch.ones_like(priors))
    return cross_entropy(logits.float() + prior_weight * known.log(), classes)

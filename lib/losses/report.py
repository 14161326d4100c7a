# SPDX-License-Identifier: Apache-2.0
"""Losses of the report net; what is padding or unknown never counts.

References:
    Szegedy et al. Rethinking the inception architecture. CVPR 2016 (label smoothing).
    See, Liu, Manning. Get to the point. ACL 2017, eq. 12 (coverage).
    Milletari et al. V-Net. 3DV 2016 (soft Dice). Lin et al. Focal loss. ICCV 2017.
"""

from __future__ import annotations

import torch
from monai.losses import DiceFocalLoss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..configs.report import PAD

UNKNOWN_CLASS = -1
"""Class of a study that has none."""


def token_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy per word, averaged over the words that are no padding; 0 without any.

    Args:
        logits: (B, S, V).
        targets: Ids of the words to write, END included, (B, S), filled up with PAD.
        smoothing: Share of the target that is spread over all words.
    """
    flat = logits.float().flatten(0, 1)
    total = cross_entropy(flat, targets.flatten(), ignore_index=PAD, label_smoothing=smoothing, reduction="sum")
    return total / (targets != PAD).sum().clamp(min=1)


def coverage_loss(attention: Tensor, targets: Tensor) -> Tensor:
    """How much is attended again, per word: the sum over tokens of min(weight, sum of the weights before).

    Args:
        attention: Of one memory, (B, S, N).
        targets: As for :func:`token_loss`.
    """
    before = attention.cumsum(1) - attention
    again = torch.minimum(attention, before).sum(-1)  # (B, S)
    real = targets != PAD
    return (again * real).sum() / real.sum().clamp(min=1)


def findings_loss(logits: Tensor, targets: Tensor, positive_weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, averaged over what is known; 0 if nothing is.

    Args:
        logits: (B, F).
        targets: (B, F), 0..1; NaN where it is not known.
        positive_weights: How much a finding that is there counts against one that is not, (F,).
    """
    known = ~targets.isnan()
    target = torch.where(known, targets, torch.zeros_like(targets)).to(logits.dtype)
    loss = binary_cross_entropy_with_logits(logits, target, pos_weight=positive_weights, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, averaged over the studies (by weight) whose class is known; 0 if none is.

    Args:
        logits: (B, K).
        classes: Index of each study's class, (B,); :data:`UNKNOWN_CLASS` where it is not known.
        weights: Of each class, (K,).
    """
    known = classes != UNKNOWN_CLASS
    total = cross_entropy(logits.float(), classes, weight=weights, ignore_index=UNKNOWN_CLASS, reduction="sum")
    share = known.to(total.dtype) if weights is None else weights[classes.clamp(min=0)] * known
    return total / share.sum().clamp(min=torch.finfo(share.dtype).tiny)


def mask_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Dice + focal loss over the frames that have been outlined; 0 without any.

    Args:
        logits: (B, T, K, H, W).
        targets: Same shape, 0/1.
        known: (B, T), True where a frame has been outlined, also if it shows no lesion.
    """
    if not bool(known.any()):
        return logits.sum() * 0
    loss: Tensor = DiceFocalLoss(sigmoid=True, batch=True)(logits[known].float(), targets[known].float())
    return loss

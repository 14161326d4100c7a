# SPDX-License-Identifier: Apache-2.0
"""A classifier from a few examples per class: the mean embedding of each class, and the nearest one wins.

With squared Euclidean distances this is a linear classifier (weights 2c, bias -|c|^2), so it is written into the head
that the network has, and is served, calibrated and trained on like any other.

References:
    Snell, Swersky, Zemel. Prototypical networks for few-shot learning. NeurIPS 2017, section 2.3 and 2.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..types import InputError


def class_prototypes(embeddings: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    """Mean embedding of each class.

    Args:
        embeddings: (N, S).
        classes: Class index of each, (N,).
        n_classes: K; each needs one example or more.

    Returns:
        (K, S).

    Raises:
        InputError: If a class has no example, or an embedding is not a number.
    """
    if embeddings.ndim != 2 or len(embeddings) != len(classes):
        raise InputError(f"{len(classes)} classes for embeddings of shape {tuple(embeddings.shape)}; expected (N, S)")
    if not bool(torch.isfinite(embeddings).all()):
        raise InputError("an embedding is not a number: the encoder cannot be used for these studies")
    missing = sorted(set(range(n_classes)) - set(classes.tolist()))
    if missing:
        raise InputError(f"classes {missing} (from 0) have no example; a prototype needs one or more of each class")
    return torch.stack([embeddings[classes == k].mean(0) for k in range(n_classes)])


def prototype_logits(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """Minus the squared distance to each prototype: (N, S) and (K, S) -> (N, K)."""
    return -torch.cdist(embeddings, prototypes).square()


@torch.no_grad()
def write_prototypes(head: nn.Linear, prototypes: Tensor) -> None:
    """Make a linear layer say what :func:`prototype_logits` says, up to a number that all classes share.

    Args:
        head: S in, K out.
        prototypes: (K, S).

    Raises:
        InputError: If they do not fit.
    """
    if tuple(head.weight.shape) != tuple(prototypes.shape) or head.bias is None:
        raise InputError(f"prototypes of shape {tuple(prototypes.shape)} do not fit a head {tuple(head.weight.shape)}")
    head.weight.copy_(2 * prototypes)
    head.bias.copy_(-prototypes.square().sum(1))

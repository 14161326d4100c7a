# SPDX-License-Identifier: Apache-2.0
"""The fit loop: plain torch, no MONAI Label.

References:
    Loshchilov, Hutter. Decoupled weight decay. ICLR 2019 (AdamW).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..configs import ModelConfig, TrainingConfig
from ..networks.lesion_net import LesionNet, LesionOutput
from ..transforms.targets import Targets, build_targets
from ..types import InputError
from .cases import Case, WindowSampler
from .progress import EpochReport
from .schedule import Clock, averaged_weights, one_cycle, warming_average
from .scoring import score_name, validation_score

logger = logging.getLogger(__name__)


@dataclass
class FitResult:
    """The averaged weights with the best validation score (the last ones without validation), and the history."""

    state: dict[str, Tensor]
    val_score: float | None
    history: list[EpochReport]


def fit(
    network: LesionNet,
    train: list[Case],
    val: list[Case],
    config: ModelConfig,
    *,
    learning_rate: float,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochReport, dict[str, Tensor]], None] | None = None,
    cpu_budget_s: float | None = None,
) -> FitResult:
    """Train a network in place.

    Args:
        network: Starts from the weights it has.
        train: Cases to learn from.
        val: Cases of other patients; may be empty.
        config: The model.
        learning_rate: Peak of the one-cycle schedule.
        device: Where to train; automatic mixed precision (bfloat16) on a GPU.
        on_epoch: Called after each epoch with the report and the averaged weights.
        cpu_budget_s: End when the process has used this much processor time, the schedule stretched over it; for
            comparisons at equal time on machines that do other work too.

    Returns:
        The weights to use.

    Raises:
        InputError: If the training crop does not fit the network.
    """
    if config.training.size_px % network.size_divisor:
        raise InputError(
            f"model '{config.name}': training.size_px is {config.training.size_px}; "
            f"the network needs a multiple of {network.size_divisor}"
        )
    device = torch.device(device)
    settings = config.training
    torch.manual_seed(settings.seed)
    network.to(device).train()
    averaged = AveragedModel(network, avg_fn=warming_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    sampler = WindowSampler(train, settings)
    clock = Clock(settings.max_epochs * settings.steps_per_epoch, cpu_budget_s)
    result = FitResult(averaged_weights(averaged), None, [])
    for epoch, losses in enumerate(_epochs(network, averaged, optimizer, sampler, config, clock, learning_rate), 1):
        report = _report(epoch, losses, averaged, val, config, clock, optimizer, device)
        result.history.append(report)
        if report.val_score is None or result.val_score is None or report.val_score >= result.val_score:
            result.state, result.val_score = averaged_weights(averaged), report.val_score
        logger.info(report.line())
        if on_epoch is not None:
            on_epoch(report, averaged_weights(averaged))
    return result


def _epochs(
    network: LesionNet,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    sampler: WindowSampler,
    config: ModelConfig,
    clock: Clock,
    peak: float,
) -> Iterator[list[float]]:
    """Run epochs; yields the losses of each."""
    while clock.step == 0 or clock.fraction() < 1:
        network.train()
        losses = []
        for _ in range(config.training.steps_per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(clock.fraction(), peak)
            losses.append(_step(network, optimizer, sampler, config))
            averaged.update_parameters(network)
            clock.step += 1
            if clock.fraction() >= 1:
                break
        yield losses


def _step(network: LesionNet, optimizer: torch.optim.Optimizer, sampler: WindowSampler, config: ModelConfig) -> float:
    device = next(network.parameters()).device
    batch = sampler.batch()
    stride = 1 if network.box_head is None else network.box_head.stride
    targets = build_targets(batch.masks, stride).to(device)
    mask = batch.frame_mask.to(device)
    present = None if batch.channel_present is None else batch.channel_present.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = network(batch.frames.to(device), mask, present)
    priors = sampler.priors.to(device) if config.training.class_loss == "logit_adjusted" else None
    loss = total_loss(network, output, targets, mask, config.training, priors)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def total_loss(
    network: LesionNet,
    output: LesionOutput,
    targets: Targets,
    mask: Tensor,
    settings: TrainingConfig,
    priors: Tensor | None = None,
) -> Tensor:
    """Sum of the heads' losses with the configured weights; shapes as in :class:`LesionOutput` and `Targets`.

    Args:
        network: Whose heads know their losses.
        output: What it said.
        targets: What it should have said.
        mask: (B, T), real frames.
        settings: The weights.
        priors: How often each class is drawn, (K,), where the class loss is logit-adjusted.
    """
    loss = network.mask_head.compute_loss(
        output.mask_logits.float(), targets.mask, mask, focal=settings.mask_loss == "focal"
    )
    if settings.class_loss != "none" and output.mask_logits.shape[2] > 1:
        classes = network.mask_head.compute_class_loss(output.mask_logits.float(), targets.mask, mask, priors)
        loss = loss + settings.class_weight * classes
    if output.presence_logits is not None:
        presence = network.presence_head.compute_loss(output.presence_logits.float(), targets.presence, mask)
        loss = loss + settings.presence_weight * presence
    if output.study_logits is not None:
        loss = loss + settings.study_weight * network.study_head.compute_loss(
            output.study_logits.float(), targets.study
        )
    if output.boxes is not None and network.box_head is not None:
        boxes = network.box_head.compute_loss(output.boxes, targets.heatmap, targets.boxes, mask)
        loss = loss + settings.box_weight * boxes
    return loss


def _report(
    epoch: int,
    losses: list[float],
    averaged: AveragedModel,
    val: list[Case],
    config: ModelConfig,
    clock: Clock,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> EpochReport:
    return EpochReport(
        epoch=epoch,
        max_epochs=max(epoch, round(epoch / max(clock.fraction(), 1e-6))),
        loss=float(np.mean(losses)),
        score_name=score_name(config),
        val_score=validation_score(averaged.module, val, config, device),
        learning_rate=float(optimizer.param_groups[0]["lr"]),
        elapsed_s=clock.elapsed_s(),
        eta_s=clock.eta_s(),
    )

# SPDX-License-Identifier: Apache-2.0
"""The fit loop of the clip classifiers: plain torch, no MONAI Label.

References:
    Loshchilov, Hutter. Decoupled weight decay. ICLR 2019 (AdamW).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchmetrics.functional.classification import multiclass_f1_score

from ..classification.calibration import Calibration, calibrate
from ..classification.prototypes import class_prototypes, write_prototypes
from ..configs import ClassificationConfig, ModelConfig
from ..losses.lesion import class_focal_loss, logit_adjusted_loss
from ..networks.clip_net import ClipNet
from ..prediction.clip_predictor import ClipPredictor
from ..types import FloatArray, InputError
from .clips import Clip, ClipSampler, true_classes
from .progress import EpochReport
from .schedule import Clock, averaged_weights, one_cycle, warming_average

logger = logging.getLogger(__name__)

MACRO_F1 = "macro-F1"


@dataclass
class ClipFitResult:
    """The averaged weights of the last epoch, their macro-F1 on the validation clips (None without), history, steps."""

    state: dict[str, Tensor]
    val_score: float | None
    history: list[EpochReport]
    steps: int = 0


def fit_clips(
    network: ClipNet,
    train: list[Clip],
    val: list[Clip],
    config: ModelConfig,
    *,
    learning_rate: float,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochReport, dict[str, Tensor]], None] | None = None,
    cpu_budget_s: float | None = None,
) -> ClipFitResult:
    """Train a clip network in place.

    The weights of the last epoch are kept, not those that validate best: the validation clips also calibrate, and a
    choice made on them would make the model look surer than it is.

    Args:
        network: Starts from the weights it has.
        train: Clips to learn from.
        val: Clips of other patients; may be empty.
        config: The model.
        learning_rate: Peak of the one-cycle schedule.
        device: Where to train; automatic mixed precision (bfloat16) on a GPU.
        on_epoch: Called after each epoch with the report and the averaged weights.
        cpu_budget_s: End when the process has used this much processor time, the schedule stretched over it.

    Raises:
        InputError: If the training crop does not fit the network.
    """
    settings = config.training
    if settings.size_px % network.size_divisor:
        raise InputError(
            f"model '{config.name}': training.size_px is {settings.size_px}; "
            f"the network needs a multiple of {network.size_divisor}"
        )
    torch.manual_seed(settings.seed)
    network.to(device).train()
    averaged = AveragedModel(network, avg_fn=warming_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    sampler = ClipSampler(train, config)
    clock = Clock(settings.max_epochs * settings.steps_per_epoch, cpu_budget_s)
    history: list[EpochReport] = []
    while clock.step == 0 or clock.fraction() < 1:
        losses = _epoch(network, averaged, optimizer, sampler, config, clock, learning_rate)
        score = macro_f1(clip_logits(averaged.module, val, config, device), val) if val else None
        done = len(history) + 1
        total = max(done, round(done / max(clock.fraction(), 1e-6)))
        rate = float(optimizer.param_groups[0]["lr"])
        history.append(
            EpochReport(done, total, float(np.mean(losses)), MACRO_F1, score, rate, clock.elapsed_s(), clock.eta_s())
        )
        logger.info(history[-1].line())
        if on_epoch is not None:
            on_epoch(history[-1], averaged_weights(averaged))
    return ClipFitResult(averaged_weights(averaged), history[-1].val_score, history, clock.step)


def _epoch(
    network: ClipNet,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    sampler: ClipSampler,
    config: ModelConfig,
    clock: Clock,
    peak: float,
) -> list[float]:
    network.train()
    losses: list[float] = []
    for _ in range(config.training.steps_per_epoch):
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(clock.fraction(), peak)
        losses.append(_step(network, optimizer, sampler, config.classification))
        averaged.update_parameters(network)
        clock.step += 1
        if clock.fraction() >= 1:
            break
    return losses


def _step(
    network: ClipNet, optimizer: torch.optim.Optimizer, sampler: ClipSampler, settings: ClassificationConfig
) -> float:
    device = next(network.parameters()).device
    batch = sampler.batch()
    present = None if batch.channel_present is None else batch.channel_present.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = network(batch.frames.to(device), batch.frame_mask.to(device), present)
    loss = class_loss(output.study_logits, batch.classes.to(device), sampler.priors.to(device), settings)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def class_loss(logits: Tensor, classes: Tensor, priors: Tensor, settings: ClassificationConfig) -> Tensor:
    """The configured loss.

    Args:
        logits: (B, K).
        classes: Class index of each, (B,).
        priors: How often each class is drawn, (K,).
        settings: Which loss.
    """
    if settings.loss == "logit_adjusted":
        return logit_adjusted_loss(logits, classes, priors, settings.prior_weight)
    return class_focal_loss(logits, classes, settings.focal_gamma if settings.loss == "focal" else 0.0)


def clip_logits(
    network: nn.Module, clips: list[Clip], config: ModelConfig, device: torch.device | str = "cpu"
) -> FloatArray:
    """Logits of each clip, (N, K), before any temperature."""
    training = network.training
    predictor = ClipPredictor(config, network, device)  # type: ignore[arg-type]
    logits = [predictor.classify(clip.frames.astype(np.float32), clip.channel_present).logits for clip in clips]
    network.train(training)
    return np.stack(logits) if logits else np.zeros((0, len(config.labels)))


def macro_f1(logits: FloatArray, clips: list[Clip]) -> float:
    """Mean over the classes of F1 (torchmetrics); a class that is neither there nor predicted does not count."""
    predicted, truth = torch.from_numpy(logits.argmax(1)), torch.from_numpy(true_classes(clips))
    return float(multiclass_f1_score(predicted, truth, logits.shape[1], average="macro"))


def calibration_of(logits: FloatArray, clips: list[Clip], error_rate: float) -> Calibration:
    """Calibration on clips that the model was not trained on; logits (N, K)."""
    return calibrate(logits, true_classes(clips), [clip.patient for clip in clips], error_rate)


def fit_prototypes(
    network: ClipNet, clips: list[Clip], config: ModelConfig, device: torch.device | str = "cpu"
) -> None:
    """Write the mean embedding of each class into the network's head: few-shot fitting, without any training.

    Args:
        network: Its encoder and memory stay as they are; :func:`lib.classification.transfer.load_encoder` may have
            brought the encoder from elsewhere.
        clips: One or more of each class.
        config: The model.
        device: Where to run.

    Raises:
        InputError: If a class has no clip.
    """
    predictor = ClipPredictor(config, network, device)
    embeddings = [predictor.classify(clip.frames.astype(np.float32), clip.channel_present).embedding for clip in clips]
    stacked = torch.from_numpy(np.stack(embeddings)).float() if embeddings else torch.zeros(0, 1)
    prototypes = class_prototypes(stacked, torch.from_numpy(true_classes(clips)), len(config.labels))
    write_prototypes(network.study_head.out, prototypes.to(device))

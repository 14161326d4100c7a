# SPDX-License-Identifier: Apache-2.0
"""The fit loop: plain torch, no MONAI Label.

References:
    Loshchilov, Hutter. Decoupled weight decay. ICLR 2019 (AdamW). Smith, Topin. Super-convergence. 2018 (one-cycle).
    Polyak, Juditsky. Acceleration of stochastic approximation by averaging. 1992 (averaged weights).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..configs import ModelConfig, TrainingConfig
from ..networks.lesion_net import LesionNet, LesionOutput
from ..predictor import Predictor
from ..transforms.targets import Targets, build_targets
from ..types import InputError
from .cases import Case, WindowSampler

logger = logging.getLogger(__name__)
WARM_UP = 0.1


@dataclass
class EpochReport:
    """How training stands after an epoch.

    Attributes:
        epoch: 1-based.
        max_epochs: Epochs in all.
        loss: Mean training loss of the epoch.
        val_dice: Mean volume Dice of the averaged weights over the validation cases, or None without any.
        learning_rate: Current.
        elapsed_s: Since the start.
        eta_s: Expected to remain.
    """

    epoch: int
    max_epochs: int
    loss: float
    val_dice: float | None
    learning_rate: float
    elapsed_s: float
    eta_s: float

    def line(self) -> str:
        """One line for the log and for ``/train/``."""
        dice = "" if self.val_dice is None else f", validation Dice {self.val_dice:.3f}"
        return (
            f"epoch {self.epoch}/{self.max_epochs}, loss {self.loss:.4f}{dice}, "
            f"lr {self.learning_rate:.1e}, elapsed {self.elapsed_s:.0f} s, ETA {self.eta_s:.0f} s"
        )

    def to_json(self) -> dict[str, float | int | None]:
        """Plain values."""
        return asdict(self)


@dataclass
class FitResult:
    """The averaged weights with the best validation Dice (the last ones without validation), and the history."""

    state: dict[str, Tensor]
    val_dice: float | None
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
    averaged = AveragedModel(network, avg_fn=_warming_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    sampler = WindowSampler(train, settings)
    clock = _Clock(settings.max_epochs * settings.steps_per_epoch, cpu_budget_s)
    result = FitResult(_weights(averaged), None, [])
    for epoch, losses in enumerate(_epochs(network, averaged, optimizer, sampler, config, clock, learning_rate), 1):
        report = _report(epoch, losses, averaged, val, config, clock, optimizer, device)
        result.history.append(report)
        if report.val_dice is None or result.val_dice is None or report.val_dice >= result.val_dice:
            result.state, result.val_dice = _weights(averaged), report.val_dice
        logger.info(report.line())
        if on_epoch is not None:
            on_epoch(report, _weights(averaged))
    return result


class _Clock:
    """Share of the training that is done: of the processor time where there is a budget, else of the steps."""

    def __init__(self, total_steps: int, cpu_budget_s: float | None) -> None:
        self.total_steps, self.budget = total_steps, cpu_budget_s
        self.step, self.wall, self.cpu = 0, time.monotonic(), time.process_time()

    def fraction(self) -> float:
        if self.budget:
            return min(1.0, (time.process_time() - self.cpu) / self.budget)
        return min(1.0, self.step / self.total_steps)

    def elapsed_s(self) -> float:
        return time.monotonic() - self.wall

    def eta_s(self) -> float:
        done = self.fraction()
        return self.elapsed_s() * (1 - done) / done if done else math.inf


def one_cycle(fraction: float, peak: float) -> float:
    """Learning rate after a share of the training: cosine up from peak / 25, cosine down to peak / 1000."""
    if fraction < WARM_UP:
        low, x = peak / 25, 0.5 - 0.5 * math.cos(math.pi * fraction / WARM_UP)
    else:
        low, x = peak / 1000, 0.5 + 0.5 * math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP))
    return low + (peak - low) * x


def _warming_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that soon forgets the first steps: decay (1 + n) / (10 + n), at most ``decay``."""

    def average(averaged: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        n = float(count)
        return averaged.lerp(new, 1 - min(decay, (1 + n) / (10 + n)))

    return average


def _epochs(
    network: LesionNet,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    sampler: WindowSampler,
    config: ModelConfig,
    clock: _Clock,
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
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = network(batch.frames.to(device), mask)
    loss = total_loss(network, output, targets, mask, config.training)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def total_loss(
    network: LesionNet, output: LesionOutput, targets: Targets, mask: Tensor, settings: TrainingConfig
) -> Tensor:
    """Sum of the heads' losses with the configured weights; shapes as in :class:`LesionOutput` and `Targets`."""
    loss = network.mask_head.compute_loss(output.mask_logits.float(), targets.mask, mask)
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
    clock: _Clock,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> EpochReport:
    dice = mean_dice(averaged.module, val, config, device) if val else None
    return EpochReport(
        epoch=epoch,
        max_epochs=max(epoch, round(epoch / max(clock.fraction(), 1e-6))),
        loss=float(np.mean(losses)),
        val_dice=dice,
        learning_rate=float(optimizer.param_groups[0]["lr"]),
        elapsed_s=clock.elapsed_s(),
        eta_s=clock.eta_s(),
    )


def mean_dice(network: nn.Module, cases: list[Case], config: ModelConfig, device: torch.device | str = "cpu") -> float:
    """Mean over cases of the volume Dice on the network's grid (1 when mask and prediction are both empty)."""
    return float(np.mean(case_dices(network, cases, config, device)))


def case_dices(
    network: nn.Module, cases: list[Case], config: ModelConfig, device: torch.device | str = "cpu"
) -> list[float]:
    """Volume Dice per case on the network's grid, over all classes together."""
    training = network.training
    predictor = Predictor(config, network, device)
    dices = []
    for case in cases:
        maps = predictor.maps(case.frames.astype(np.float32))
        predicted = (maps.mask >= config.inference.mask_threshold).cpu().numpy()
        truth = case.masks.astype(bool)
        total = int(predicted.sum()) + int(truth.sum())
        dices.append(1.0 if total == 0 else 2.0 * int((predicted & truth).sum()) / total)
    network.train(training)
    return dices


def _weights(averaged: AveragedModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in averaged.module.state_dict().items()}

# SPDX-License-Identifier: Apache-2.0
"""The fit loop of the report net: plain torch, no MONAI Label.

References:
    Loshchilov, Hutter. Decoupled weight decay. ICLR 2019 (AdamW).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..configs import TrainingConfig
from ..configs.report import PAD, BeamConfig
from ..losses.report import class_loss, coverage_loss, findings_loss, token_loss
from ..networks.beam import Hypothesis
from ..networks.report_net import ReportInputs, ReportNet, ReportOutput
from ..types import FloatArray, InputError
from .progress import EpochReport
from .report_cases import Change, ReportBatch, ReportCase, ReportSampler, collate, drop_words
from .schedule import Clock, averaged_weights, one_cycle, warming_average

logger = logging.getLogger(__name__)
BATCH = 32
"""Studies that are predicted at once."""
WORD_PROBABILITY = "word probability"
"""Name of the score that :func:`word_probability` gives."""


@dataclass(frozen=True)
class ReportObjective:
    """What is learned, and what makes it harder.

    Attributes:
        tokens: Weight of the words' loss.
        coverage: Weight of the loss on attending the same image tokens and words again; 0 for none.
        findings: Weight of the findings' loss.
        classes: Weight of the class loss.
        smoothing: Share of each target word that is spread over all words.
        class_weights: How much each class counts, (K,); empty for all alike.
        finding_weights: How much each finding that is there counts against one that is not, (F,); empty for alike.
        tell_findings: Share of the studies whose true findings the decoder is told in training, in place of what the
            findings head predicts.
        word_dropout: Share of the clinical text's words that are made unknown in training.
    """

    tokens: float = 1.0
    coverage: float = 0.0
    findings: float = 1.0
    classes: float = 1.0
    smoothing: float = 0.1
    class_weights: tuple[float, ...] = ()
    finding_weights: tuple[float, ...] = ()
    tell_findings: float = 0.5
    word_dropout: float = 0.0

    def loss(self, output: ReportOutput, batch: ReportBatch) -> Tensor:
        """The weighted sum over what the model predicts."""
        total = output.context.new_zeros(())
        targets = batch.report[:, 1:]
        if output.token_logits is not None:
            total = total + self.tokens * token_loss(output.token_logits, targets, self.smoothing)
            for name in ("image", "words") if self.coverage else ():
                if name in output.attention:
                    total = total + self.coverage * coverage_loss(output.attention[name], targets)
        if output.finding_logits is not None:
            weights = _weights(self.finding_weights, output.finding_logits)
            total = total + self.findings * findings_loss(output.finding_logits.float(), batch.findings, weights)
        if output.class_logits is not None:
            weights = _weights(self.class_weights, output.class_logits)
            total = total + self.classes * class_loss(output.class_logits, batch.classes, weights)
        return total


def _weights(weights: tuple[float, ...], like: Tensor) -> Tensor | None:
    return torch.tensor(weights, device=like.device) if weights else None


@dataclass
class ReportFit:
    """The averaged weights with the best validation score (the last ones without validation), history, steps."""

    state: dict[str, Tensor]
    val_score: float | None
    history: list[EpochReport]
    steps: int = 0


Score = Callable[[ReportNet, Sequence[ReportCase]], float]
"""How good a network is on studies; higher is better."""


def fit_report(
    network: ReportNet,
    train: Sequence[ReportCase],
    val: Sequence[ReportCase],
    settings: TrainingConfig,
    objective: ReportObjective | None = None,
    *,
    learning_rate: float,
    score: Score | None = None,
    score_name: str = "score",
    change: Change | None = None,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochReport, dict[str, Tensor]], None] | None = None,
    cpu_budget_s: float | None = None,
) -> ReportFit:
    """Train a report net in place.

    Args:
        network: Starts from the weights it has.
        train: Studies to learn from.
        val: Studies of other patients; may be empty.
        settings: Epochs, steps, batch, weight decay, averaging, seed.
        objective: Weights of the losses.
        learning_rate: Peak of the one-cycle schedule.
        score: Of the averaged weights on ``val``; the negative loss where it is None.
        score_name: What it is called.
        change: Draws another form of a study each time it is seen.
        device: Where to train; automatic mixed precision (bfloat16) on a GPU.
        on_epoch: Called after each epoch with the progress and the averaged weights.
        cpu_budget_s: End when the process has used this much processor time, the schedule stretched over it.

    Raises:
        InputError: If there is nothing to learn from.
    """
    if not train:
        raise InputError("a report model cannot be trained: no study has a report to learn from")
    goal = objective or ReportObjective()
    torch.manual_seed(settings.seed)
    network.to(device).train()
    averaged = AveragedModel(network, avg_fn=warming_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    sampler = ReportSampler(train, settings.batch_size, network.config.heads.findings, settings.seed, change)
    clock = Clock(settings.max_epochs * settings.steps_per_epoch, cpu_budget_s)
    result = ReportFit(averaged_weights(averaged), None, [])
    for losses in _epochs(network, averaged, optimizer, sampler, settings, goal, clock, learning_rate):
        value = (score or _negative_loss(goal))(cast(ReportNet, averaged.module), val) if val else None
        rate = float(optimizer.param_groups[0]["lr"])
        progress = _progress(len(result.history) + 1, losses, score_name, value, rate, clock)
        result.history.append(progress)
        if value is None or result.val_score is None or value >= result.val_score:
            result.state, result.val_score = averaged_weights(averaged), value
        logger.info(progress.line())
        if on_epoch is not None:
            on_epoch(progress, averaged_weights(averaged))
    result.steps = clock.step
    return result


def _progress(
    epoch: int, losses: list[float], name: str, value: float | None, rate: float, clock: Clock
) -> EpochReport:
    total = max(epoch, round(epoch / max(clock.fraction(), 1e-6)))
    return EpochReport(epoch, total, float(np.mean(losses)), name, value, rate, clock.elapsed_s(), clock.eta_s())


def _epochs(
    network: ReportNet,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    sampler: ReportSampler,
    settings: TrainingConfig,
    goal: ReportObjective,
    clock: Clock,
    peak: float,
) -> Iterator[list[float]]:
    """Run epochs; yields the losses of each."""
    generator = torch.Generator().manual_seed(settings.seed)
    while clock.step == 0 or clock.fraction() < 1:
        network.train()
        losses = []
        for _ in range(settings.steps_per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(clock.fraction(), peak)
            batch = _harder(sampler.batch(), goal, generator)
            losses.append(_step(network, optimizer, batch, goal))
            averaged.update_parameters(network)
            clock.step += 1
            if clock.fraction() >= 1:
                break
        averaged.module.eval()
        yield losses


def _harder(batch: ReportBatch, goal: ReportObjective, generator: torch.Generator) -> ReportBatch:
    """Words made unknown, and some studies' findings told to the decoder."""
    told = torch.rand(len(batch.findings), 1, generator=generator) < goal.tell_findings
    findings = torch.where(told, batch.findings, torch.full_like(batch.findings, float("nan")))
    return replace(batch, inputs=replace(drop_words(batch.inputs, goal.word_dropout, generator), findings=findings))


def _step(network: ReportNet, optimizer: torch.optim.Optimizer, batch: ReportBatch, goal: ReportObjective) -> float:
    device = next(network.parameters()).device
    there = batch.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = network(there.inputs, there.report[:, :-1])
    loss = goal.loss(output, there)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _negative_loss(goal: ReportObjective) -> Score:
    def score(network: ReportNet, cases: Sequence[ReportCase]) -> float:
        device = next(network.parameters()).device
        losses = []
        with torch.inference_mode():
            for batch in batches(network, cases):
                there = batch.to(device)
                output = network(there.inputs, there.report[:, :-1])
                losses.append(float(goal.loss(output, there)) * len(batch.classes))
        return -sum(losses) / len(cases)

    return score


def batches(network: ReportNet, cases: Sequence[ReportCase]) -> Iterator[ReportBatch]:
    """All studies in their order, :data:`BATCH` at a time."""
    for start in range(0, len(cases), BATCH):
        yield collate(cases[start : start + BATCH], network.config.heads.findings)


@torch.inference_mode()
def probabilities(network: ReportNet, cases: Sequence[ReportCase]) -> tuple[FloatArray, FloatArray]:
    """Of each class (N, K) and of each finding (N, F); K or F is 0 where the model has no such head."""
    network.eval()
    classes, findings = [], []
    for batch in batches(network, cases):
        output = network(_on_device_of(network, batch))
        none = output.context.new_zeros(len(batch.classes), 0)
        classes.append(none if output.class_logits is None else output.class_logits.softmax(1))
        findings.append(none if output.finding_logits is None else output.finding_logits.sigmoid())
    return torch.cat(classes).cpu().numpy(), torch.cat(findings).cpu().numpy()


def write_reports(network: ReportNet, cases: Sequence[ReportCase], beam: BeamConfig) -> list[list[Hypothesis]]:
    """The best reports of each study, best first; see :meth:`lib.networks.report_net.ReportNet.write`."""
    network.eval()
    return [
        found for batch in batches(network, cases) for found in network.write(_on_device_of(network, batch), beam)[1]
    ]


def _on_device_of(network: ReportNet, batch: ReportBatch) -> ReportInputs:
    return batch.to(next(network.parameters()).device).inputs


@torch.inference_mode()
def word_probability(network: ReportNet, cases: Sequence[ReportCase]) -> float:
    """Geometric mean of the probabilities of the reports' words, each given those before it; in [0, 1]."""
    device, total, words = next(network.parameters()).device, 0.0, 0
    for batch in batches(network, cases):
        there = batch.to(device)
        output = network(there.inputs, there.report[:, :-1])
        targets = there.report[:, 1:]
        assert output.token_logits is not None  # a model of task report has a decoder
        count = int((targets != PAD).sum())
        total -= float(token_loss(output.token_logits, targets, 0.0)) * count
        words += count
    return math.exp(total / max(1, words))

# SPDX-License-Identifier: Apache-2.0
"""The report net's text encoder by itself: what a report says, among a list of problems that people coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..configs import TrainingConfig
from ..configs.report import ReportFusionConfig, ReportHeadsConfig, ReportNetConfig, TextEncoderConfig
from ..networks.report_net import ReportNet
from ..text.indiana import PROBLEMS, CodedReport
from ..text.vocabulary import Vocabulary
from .report_cases import ReportCase, read_text
from .report_fit import ReportFit, ReportObjective, fit_report, probabilities

BoolArray = npt.NDArray[np.bool_]
NETWORK = ReportNetConfig(
    dim=64,
    text=TextEncoderConfig(embedding=64, hidden=64, dropout=0.3),
    fusion=ReportFusionConfig("text_only"),
    heads=ReportHeadsConfig(classes=0, findings=len(PROBLEMS), attention=True),
    decoder=None,
)
SETTINGS = TrainingConfig(batch_size=32, steps_per_epoch=60, ema_decay=0.995)
OBJECTIVE = ReportObjective(word_dropout=0.05)
LEARNING_RATE = 5e-3


@dataclass(frozen=True)
class TextReader:
    """A text encoder with the vocabulary that it was trained with.

    Attributes:
        network: Of :data:`NETWORK`'s kind.
        vocabulary: Its words.
        fit: How its training went.
    """

    network: ReportNet
    vocabulary: Vocabulary
    fit: ReportFit

    def read(self, reports: Sequence[CodedReport]) -> npt.NDArray[np.float64]:
        """Probability of each problem, (N, K)."""
        return probabilities(self.network, coded_cases(reports, self.vocabulary))[1].astype(np.float64)


def coded_cases(reports: Sequence[CodedReport], vocabulary: Vocabulary) -> list[ReportCase]:
    """Reports as texts to read, with their problems as findings."""
    return [
        ReportCase(one.uid, one.uid, None, *read_text(one.text, vocabulary), findings=truth.astype(np.float32))
        for one, truth in zip(reports, coded(reports), strict=True)
    ]


def coded(reports: Sequence[CodedReport]) -> BoolArray:
    """What people coded, (N, K)."""
    return np.array([[name in one.problems for name in PROBLEMS] for one in reports], dtype=bool)


def part(reports: Sequence[CodedReport], name: str) -> list[CodedReport]:
    """Of the split: ``train``, ``val`` or ``test``."""
    return [one for one in reports if one.part == name]


def fit_reader(
    reports: Sequence[CodedReport], seed: int, cpu_budget_s: float | None = None, settings: TrainingConfig = SETTINGS
) -> TextReader:
    """Train on the part ``train``; the epoch with the best macro F1 on ``val`` is kept.

    Args:
        reports: All of them.
        seed: Of the weights and of the order.
        cpu_budget_s: Processor time; None for the epochs of the settings.
        settings: Batch, epochs and steps.
    """
    train, val = part(reports, "train"), part(reports, "val")
    vocabulary = Vocabulary.build(one.text for one in train)
    torch.manual_seed(seed)
    text = replace(NETWORK.text, vocabulary_size=len(vocabulary), hash_buckets=vocabulary.buckets)
    network = ReportNet(replace(NETWORK, text=text))
    truth = coded(val)
    fit = fit_report(
        network,
        coded_cases(train, vocabulary),
        coded_cases(val, vocabulary),
        replace(settings, seed=seed),
        OBJECTIVE,
        learning_rate=LEARNING_RATE,
        score=lambda network, cases: label_f1(probabilities(network, cases)[1] > 0.5, truth),
        cpu_budget_s=cpu_budget_s,
    )
    network.load_state_dict(fit.state)
    return TextReader(network, vocabulary, fit)


def label_f1(predicted: BoolArray, truth: BoolArray, macro: bool = True) -> float:
    """F1 of labels (N, K): the mean over the labels that stand in either, or (micro) of all together."""
    right, total = (predicted & truth).sum(0), predicted.sum(0) + truth.sum(0)
    if not macro:
        return float(2 * right.sum() / max(1, total.sum()))
    return float(np.mean(2 * right[total > 0] / total[total > 0])) if total.any() else 1.0

# SPDX-License-Identifier: Apache-2.0
"""Brain report models trained outside the server, without a written report: how the shipped weights are made."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..configs import ModelConfig, ReportConfig
from ..drafting.opinions import FindingThresholds, fit_thresholds
from ..drafting.source import LesionSource
from ..drafting.writer import THRESHOLDS_KEY, VOCABULARY_KEY, vocabulary_of
from ..infers.predictors import lesion_predictor
from ..networks.report_net import ReportNet
from ..prediction.predictor import Predictor
from ..registry import build_network
from ..studies import find_labelled
from ..text import Vocabulary
from ..types import InputError
from ..weights.files import load_weights, save_weights
from .cases import split_by_patient
from .progress import EpochReport
from .report_cases import ReportCase
from .report_fit import WORD_PROBABILITY, ReportFit, ReportObjective, fit_report, probabilities, word_probability
from .report_studies import ReportStudy, load_studies, phantom_studies, save_studies, study_of_case
from .report_writing import BrainWriting, grammar_vocabulary

logger = logging.getLogger(__name__)
OBJECTIVE = ReportObjective(smoothing=0.02, word_dropout=0.1)


def train_reports_on_folders(
    config: ModelConfig,
    folders: list[Path],
    output: Path,
    source: LesionSource,
    *,
    phantoms: int = 0,
    val_fraction: float | None = None,
    start: Path | None = None,
    device: str = "cpu",
    cpu_budget_s: float | None = None,
) -> ReportFit:
    """Train on studies with masks and on phantoms at two visits, and write the weights after every epoch.

    The weights kept are those to which the words of the held-out patients' reports are likeliest. What the lesion
    model says of the studies is kept beside the output (``.studies.npz``) and used again.

    Args:
        config: The report model.
        folders: Studies folders.
        output: The safetensors file; its header holds the vocabulary and the findings' thresholds.
        source: The lesion model.
        phantoms: Phantom patients to add.
        val_fraction: Share of the patients held out; None for the configured one.
        start: Weights of the same network to start from; None for random ones.
        device: Where to train.
        cpu_budget_s: See :func:`lib.trainers.report_fit.fit_report`.

    Raises:
        InputError: If there is nothing to train on, or weights do not fit.
    """
    settings, report = config.training, _report(config)
    fraction = settings.val_fraction if val_fraction is None else val_fraction
    studies = kept_studies(folders, phantoms, source, output.with_suffix(".studies.npz"))
    train, val = split_by_patient(studies, fraction, settings.seed)
    logger.info("%d training and %d validation studies", len(train), len(val))
    torch.manual_seed(settings.seed)
    network = cast(ReportNet, build_network(config))
    vocabulary = grammar_vocabulary(report.network.text.hash_buckets)
    if start is not None:
        load_weights(network, start)
        vocabulary = vocabulary_of(start)
    writing = BrainWriting({one.image_id: one for one in studies}, vocabulary, report.findings)
    cases = [writing.cases([one.image_id for one in part], seed=i) for i, part in enumerate((train, val))]
    facts = _facts(config, train, val, vocabulary)

    def keep(progress: EpochReport, state: dict[str, torch.Tensor]) -> None:
        save_weights(state, output, {**facts, "last": progress.to_json()})

    began = time.time()
    result = fit_report(
        network,
        cases[0],
        cases[1],
        settings,
        OBJECTIVE,
        learning_rate=settings.learning_rate if start is None else settings.finetune_learning_rate,
        score=word_probability,
        score_name=WORD_PROBABILITY,
        change=writing.change,
        device=device,
        on_epoch=keep,
        cpu_budget_s=cpu_budget_s,
    )
    network.load_state_dict(result.state)
    facts |= {"seconds": round(time.time() - began), "steps": result.steps, "val_score": result.val_score}
    facts[THRESHOLDS_KEY] = thresholds_of(network, cases[1], report).to_json()
    save_weights(result.state, output, {**facts, "last": result.history[-1].to_json()})
    return result


def kept_studies(folders: Iterable[Path], phantoms: int, source: LesionSource, path: Path) -> list[ReportStudy]:
    """The studies as the lesion model sees them, computed once.

    Raises:
        InputError: If there are none.
    """
    if path.is_file():
        return load_studies(path)
    predictor = source_predictor(source)
    refs = [ref for folder in folders for ref in find_labelled(folder)]
    studies = [study_of_case(ref, predictor) for ref in refs]
    logger.info("%d studies read", len(studies))
    studies += phantom_studies(phantoms, predictor, progress=lambda n: logger.info("%d phantoms", n))
    if not studies:
        raise InputError("there is nothing to train on: name a studies folder, or ask for phantoms")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_studies(studies, path)
    return studies


def source_predictor(source: LesionSource, device: torch.device | str = "cpu") -> Predictor:
    """The lesion model with the weights in service.

    Raises:
        InputError: If there are none.
    """
    path, _ = source.current()
    network = build_network(source.config)
    load_weights(network, path)
    return lesion_predictor(source.config, network, torch.device(device), path)


def thresholds_of(network: ReportNet, val: list[ReportCase], report: ReportConfig) -> FindingThresholds:
    """From patients that were not trained on; without any, nothing is ever sure."""
    if not val:
        return FindingThresholds(error_rate=report.error_rate)
    targets = np.stack([np.asarray(case.findings) for case in val])
    _, chances = probabilities(network, val)
    return fit_thresholds(report.findings, chances, targets, [case.patient for case in val], report.error_rate)


def _facts(
    config: ModelConfig, train: list[ReportStudy], val: list[ReportStudy], vocabulary: Vocabulary
) -> dict[str, Any]:
    return {
        "model": config.name,
        "network": asdict(_report(config).network),
        "training": asdict(config.training),
        "train": [one.image_id for one in train],
        "val": [one.image_id for one in val],
        VOCABULARY_KEY: vocabulary.to_json(),
    }


def _report(config: ModelConfig) -> ReportConfig:
    assert config.report is not None  # a model of task report has it
    return config.report

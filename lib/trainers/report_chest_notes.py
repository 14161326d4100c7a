# SPDX-License-Identifier: Apache-2.0
"""Chest report models trained outside the server, on radiographs with notes: how the shipped weights are made.

There are too few patients to hold some out for good. So the patients are split into parts, the model is trained once
without each part, and what those models say of the parts left out gives the findings' thresholds; the model that is
kept has learned from all (cross-conformal prediction: Vovk. Ann Math Artif Intell 2015;74:9-28).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..configs import ModelConfig
from ..drafting.opinions import FindingThresholds, fit_thresholds
from ..drafting.writer import THRESHOLDS_KEY, VOCABULARY_KEY
from ..losses.report import UNKNOWN_CLASS
from ..text import Vocabulary
from ..text.indiana import CodedReport, read_reports
from ..types import FloatArray, InputError
from ..weights.files import save_weights
from .report_chest import (
    ChestArm,
    add_words,
    chest_settings,
    fit_arm,
    indiana_vocabulary,
    load_images,
    note_cases,
    pretrain,
)
from .report_fit import ReportFit, probabilities
from .report_notes import CLASSES, ChestNote, note_folds, read_notes, told_findings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChestLesson:
    """What one training on notes needs.

    Attributes:
        config: The model.
        images: Radiographs by study id.
        base: Words that are known before the notes are read.
        start: Weights to start from; None for random ones.
        device: Where to train.
        cpu_budget_s: Processor time of one training; None for the epochs of the config.
    """

    config: ModelConfig
    images: Mapping[str, FloatArray]
    base: Vocabulary
    start: Mapping[str, Tensor] | None = None
    device: str = "cpu"
    cpu_budget_s: float | None = None

    def learn(self, notes: Sequence[ChestNote]) -> ChestArm:
        """Train on some notes."""
        vocabulary = within_room(add_words(self.base, notes), self.config)
        cases = note_cases(notes, vocabulary, self.images, chest_settings(self.config).findings)
        seed = self.config.training.seed
        return fit_arm(self.config, "full", cases, vocabulary, seed, self.cpu_budget_s, self.start, self.device)

    def left_out(self, notes: Sequence[ChestNote], n_folds: int) -> tuple[FloatArray, FloatArray]:
        """Probabilities of classes (N, K) and findings (N, F), each by a model that has not seen the patient."""
        folds = note_folds(notes, n_folds, self.config.training.seed)
        settings = chest_settings(self.config)
        classes = np.zeros((len(notes), settings.network.heads.classes))
        findings = np.zeros((len(notes), len(settings.findings)))
        for fold in range(n_folds):
            test = np.flatnonzero(folds == fold)
            arm = self.learn([one for one, f in zip(notes, folds, strict=True) if f != fold])
            logger.info("without part %d of %d: %s", fold + 1, n_folds, arm.fit.history[-1].line())
            cases = note_cases([notes[i] for i in test], arm.vocabulary, self.images)
            if cases:
                classes[test], findings[test] = probabilities(arm.network, cases)
        return classes, findings


def train_reports_on_notes(
    config: ModelConfig,
    folder: Path,
    output: Path,
    *,
    reports: Path | None = None,
    val_fraction: float | None = None,
    device: str = "cpu",
    cpu_budget_s: float | None = None,
) -> ReportFit:
    """Train on all notes of a folder and write the weights.

    Args:
        config: The report model.
        folder: With ``pairs.csv`` and the images it names; see :func:`lib.trainers.report_notes.read_notes`.
        output: The safetensors file; its header holds the vocabulary and the findings' thresholds.
        reports: Folder of the Indiana reports, to learn to write from first; None for none.
        val_fraction: Share of the patients that is left out at a time; None for the configured one, 0 to leave none
            out: then no finding is ever sure.
        device: Where to train.
        cpu_budget_s: Processor time of all trainings together.

    Raises:
        InputError: If the notes cannot be used, or the model's classes are not those of the notes.
    """
    if config.class_names != CLASSES:
        raise InputError(f"model '{config.name}': the notes tell the classes {list(CLASSES)}, its labels are others")
    notes = read_notes(folder)
    if not notes:
        raise InputError(f"{folder}: no radiograph has a note")
    fraction = config.training.val_fraction if val_fraction is None else val_fraction
    n_folds = min(len({one.patient for one in notes}), max(2, round(1 / fraction))) if fraction > 0 else 0
    indiana = read_reports(reports / "indiana_reports.csv") if reports is not None else []
    share = None if cpu_budget_s is None else cpu_budget_s / (n_folds + 1 + bool(indiana))
    began = time.time()
    lesson = _lesson(config, notes, indiana, device, share)
    chances = lesson.left_out(notes, n_folds) if n_folds > 1 else None
    arm = lesson.learn(notes)
    facts = _facts(config, notes, arm, chances) | {"seconds": round(time.time() - began), "reports": len(indiana)}
    save_weights(arm.fit.state, output, facts)
    return arm.fit


def _lesson(
    config: ModelConfig, notes: Sequence[ChestNote], indiana: Sequence[CodedReport], device: str, share: float | None
) -> ChestLesson:
    buckets = chest_settings(config).network.text.hash_buckets
    base = replace(indiana_vocabulary(indiana), buckets=buckets)
    start = None
    if indiana:
        base = within_room(base, config)
        start = pretrain(config, indiana, base, config.training.seed, share)
    return ChestLesson(config, load_images(notes, config.input.max_size_px), base, start, device, share)


def within_room(vocabulary: Vocabulary, config: ModelConfig) -> Vocabulary:
    """As many words as the model has room for, the first ones first."""
    room = chest_settings(config).network.text.vocabulary_size
    return replace(vocabulary, tokens=vocabulary.tokens[:room])


def sure_thresholds(
    names: Sequence[str], chances: FloatArray, targets: FloatArray, patients: Sequence[str], error_rate: float
) -> FindingThresholds:
    """Thresholds that hold for those who have a finding and for those who have not, each by themselves.

    Most notes tell what is there. A threshold of all patients together would take a finding that is nearly always told
    for sure in everyone; so the larger of both counts, and a finding that is hardly ever told to be absent has none.

    Args:
        names: Of the findings, (F,).
        chances: That each is there, (N, F).
        targets: Whether it is, (N, F); NaN where it is not known.
        patients: Whose each study is, (N,).
        error_rate: Share of new patients whose true value may be left out.
    """
    both = [
        fit_thresholds(names, chances, np.where(targets == value, targets, np.nan), patients, error_rate)
        for value in (0.0, 1.0)
    ]
    known = [name for name in names if all(name in one.thresholds for one in both)]
    return FindingThresholds(
        {name: max(one.thresholds[name] for one in both) for name in known},
        error_rate,
        {name: min(one.patients[name] for one in both) for name in names},
    )


def _facts(
    config: ModelConfig, notes: Sequence[ChestNote], arm: ChestArm, chances: tuple[FloatArray, FloatArray] | None
) -> dict[str, Any]:
    settings = chest_settings(config)
    facts: dict[str, Any] = {
        "model": config.name,
        "network": asdict(settings.network),
        "training": asdict(config.training),
        "studies": len(notes),
        "patients": len({one.patient for one in notes}),
        "steps": arm.fit.steps,
        "last": arm.fit.history[-1].to_json(),
        VOCABULARY_KEY: arm.vocabulary.to_json(),
    }
    if chances is None:
        return facts
    targets = np.stack([told_findings(one.description, settings.findings) for one in notes])
    patients = [one.patient for one in notes]
    thresholds = sure_thresholds(settings.findings, chances[1], targets, patients, settings.error_rate)
    truth = np.array([one.study_class for one in notes])
    known = truth != UNKNOWN_CLASS
    right = chances[0].argmax(1)[known] == truth[known]
    facts["left_out"] = {"class_accuracy": float(right.mean()) if known.any() else None, "studies": int(known.sum())}
    logger.info("patients that were left out: %s, %s", facts["left_out"], thresholds.to_json())
    return {**facts, THRESHOLDS_KEY: thresholds.to_json()}

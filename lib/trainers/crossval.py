# SPDX-License-Identifier: Apache-2.0
"""Cross-validation of clip classifiers by patient, at equal processor time, with calibration that never saw the test.

For each fold a model is trained on the other folds and tested on it. What is fitted on top of it (temperature,
conformal scores) comes from models trained without this fold and without one more: on that one more they are judged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..classification.transfer import load_encoder
from ..configs import ModelConfig, override
from ..networks.clip_net import ClipNet
from ..registry import build_network
from ..types import FloatArray, InputError
from .clips import Clip
from .fit_clips import clip_logits, fit_clips

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        name: In the table.
        settings: Dotted keys of the model's configuration that differ.
        encoder: Weights whose frame encoder it starts from, or None.
        calibrated: Whether to train the models without two folds, too.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    encoder: Path | None = None
    calibrated: bool = False


@dataclass
class ArmRuns:
    """Logits of an arm on clips that its models were not trained on.

    Attributes:
        held_out: Per seed, of every clip by the model without its fold, (N, K).
        pairs: By folds (f, j), first seed: of the clips of both by the model without both, (N, K), NaN elsewhere.
        parameters: Of the network.
        steps: Optimiser steps of each run.
    """

    held_out: list[FloatArray] = field(default_factory=list)
    pairs: dict[tuple[int, int], FloatArray] = field(default_factory=dict)
    parameters: int = 0
    steps: list[int] = field(default_factory=list)


def patient_folds(clips: list[Clip], n_folds: int, seed: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Fold of each clip, (N,): all clips of a patient in one, each class dealt evenly, in an order drawn by the seed.

    A patient counts as of the class that most of his clips have.

    Raises:
        InputError: If there are fewer patients than folds.
    """
    patients = sorted({clip.patient for clip in clips})
    if len(patients) < n_folds:
        raise InputError(f"{len(patients)} patients cannot be split into {n_folds} folds")
    main = {p: int(np.bincount([c.class_index for c in clips if c.patient == p]).argmax()) for p in patients}
    order = np.random.default_rng(seed).permutation(len(patients))
    dealt = sorted((patients[i] for i in order), key=lambda patient: main[patient])
    fold = {patient: position % n_folds for position, patient in enumerate(dealt)}
    return np.array([fold[clip.patient] for clip in clips], dtype=np.intp)


def run_arm(
    arm: Arm,
    clips: list[Clip],
    folds: np.ndarray[Any, np.dtype[np.intp]],
    config: ModelConfig,
    seeds: list[int],
    cpu_budget_s: float,
) -> ArmRuns:
    """Train an arm on all folds.

    Args:
        arm: What to train.
        clips: All of them.
        folds: From :func:`patient_folds`.
        config: What the arms share.
        seeds: Of weights and sampling; the folds stay.
        cpu_budget_s: Processor time of each training.
    """
    own, runs = override(config, arm.settings), ArmRuns()
    numbers = sorted(set(folds.tolist()))
    for seed in seeds:
        logits = np.full((len(clips), len(config.labels)), np.nan)
        for f in numbers:
            _run(arm, clips, folds == f, override(own, {"training.seed": seed}), cpu_budget_s, logits, runs)
            logger.info("%s, seed %d, fold %d: %d steps", arm.name, seed, f, runs.steps[-1])
        runs.held_out.append(logits)
    for f, j in combinations(numbers, 2) if arm.calibrated else ():
        runs.pairs[f, j] = np.full((len(clips), len(config.labels)), np.nan)
        without = (folds == f) | (folds == j)
        _run(arm, clips, without, override(own, {"training.seed": seeds[0]}), cpu_budget_s, runs.pairs[f, j], runs)
        logger.info("%s, without folds %d and %d: %d steps", arm.name, f, j, runs.steps[-1])
    return runs


def train_arm(arm: Arm, clips: list[Clip], config: ModelConfig, cpu_budget_s: float) -> tuple[ClipNet, int]:
    """Train once; returns the network with its averaged weights, and the steps it took."""
    torch.manual_seed(config.training.seed)
    network = cast(ClipNet, build_network(config))
    if arm.encoder is not None:
        load_encoder(network, arm.encoder)
    rate = config.training.learning_rate
    result = fit_clips(network, clips, [], config, learning_rate=rate, cpu_budget_s=cpu_budget_s)
    network.load_state_dict(result.state)
    return network, result.steps


def _run(
    arm: Arm,
    clips: list[Clip],
    without: np.ndarray[Any, np.dtype[np.bool_]],
    config: ModelConfig,
    cpu_budget_s: float,
    logits: FloatArray,
    runs: ArmRuns,
) -> None:
    """Train without some clips, and fill in what the model says about these."""
    train = [clip for clip, left_out in zip(clips, without, strict=True) if not left_out]
    network, steps = train_arm(arm, train, config, cpu_budget_s)
    logits[without] = clip_logits(network, [clips[i] for i in np.flatnonzero(without)], config)
    runs.parameters = sum(p.numel() for p in network.parameters())
    runs.steps.append(steps)

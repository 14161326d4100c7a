# SPDX-License-Identifier: Apache-2.0
"""Training a study classifier outside the server, on folders with a ``labels.csv``."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from ..classification.labels import find_classed
from ..classification.transfer import load_encoder
from ..configs import ModelConfig
from ..networks.clip_net import ClipNet
from ..registry import build_network
from ..weights.files import load_weights, save_weights
from .cases import split_by_patient
from .clips import Clip, load_clips
from .fit_clips import MACRO_F1, ClipFitResult, calibration_of, clip_logits, fit_clips, fit_prototypes, macro_f1
from .progress import EpochReport

logger = logging.getLogger(__name__)


def train_clips_on_folders(
    config: ModelConfig,
    folders: list[Path],
    output: Path,
    *,
    val_fraction: float | None = None,
    start: Path | None = None,
    encoder: Path | None = None,
    few_shot: bool = False,
    device: str = "cpu",
    cpu_budget_s: float | None = None,
) -> ClipFitResult:
    """Train on all studies that the folders' ``labels.csv`` names and write the weights with their calibration.

    Args:
        config: The model.
        folders: Studies folders.
        output: The safetensors file.
        val_fraction: Share of the patients held out, who also calibrate; None for the configured one, 0 for none.
        start: Weights of the same network to start from; None for random ones.
        encoder: Weights of any model whose frame encoder to start from.
        few_shot: Only set the head, from the mean embedding of each class; for a handful of studies.
        device: Where to train.
        cpu_budget_s: See :func:`lib.trainers.fit_clips.fit_clips`.

    Raises:
        InputError: If there is nothing to train on, or weights do not fit.
    """
    settings = config.training
    clips = load_clips([study for folder in folders for study in find_classed(folder)], config)
    fraction = settings.val_fraction if val_fraction is None else val_fraction
    train, val = split_by_patient(clips, fraction, settings.seed)
    logger.info("%d training and %d validation studies", len(train), len(val))
    torch.manual_seed(settings.seed)
    network = cast(ClipNet, build_network(config))
    if start is not None:
        load_weights(network, start)
    if encoder is not None:
        load_encoder(network, encoder)
    began = time.time()
    if few_shot:
        result = _few_shot(network, train, val, config, device)
    else:
        rate = settings.learning_rate if start is None else settings.finetune_learning_rate
        result = fit_clips(network, train, val, config, learning_rate=rate, device=device, cpu_budget_s=cpu_budget_s)
    network.load_state_dict(result.state)
    facts = {**training_facts(config, train, val), "seconds": round(time.time() - began), "few_shot": few_shot}
    facts["calibration"] = _calibration(network, train, val, config)
    save_weights(result.state, output, {**facts, "last": result.history[-1].to_json()})
    return result


def training_facts(config: ModelConfig, train: list[Clip], val: list[Clip]) -> dict[str, Any]:
    """How weights came about, for the header of their file."""
    return {
        "model": config.name,
        "network": asdict(config.network),
        "input": asdict(config.input),
        "training": asdict(config.training),
        "classification": asdict(config.classification),
        "train": [clip.image_id for clip in train],
        "val": [clip.image_id for clip in val],
    }


def _few_shot(network: ClipNet, train: list[Clip], val: list[Clip], config: ModelConfig, device: str) -> ClipFitResult:
    began = time.monotonic()
    fit_prototypes(network, train, config, device)
    score = macro_f1(clip_logits(network, val, config, device), val) if val else None
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    return ClipFitResult(state, score, [EpochReport(1, 1, 0.0, MACRO_F1, score, 0.0, time.monotonic() - began, 0.0)])


def _calibration(network: ClipNet, train: list[Clip], val: list[Clip], config: ModelConfig) -> dict[str, Any] | None:
    """From patients that were not trained on; None without any."""
    if not val or {clip.patient for clip in train} & {clip.patient for clip in val}:
        return None
    return calibration_of(clip_logits(network, val, config), val, config.classification.error_rate).to_json()

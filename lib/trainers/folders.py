# SPDX-License-Identifier: Apache-2.0
"""Training outside the server, on MONAI Label studies folders: how the shipped weights are made."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..classification.transfer import load_encoder
from ..configs import ModelConfig
from ..registry import build_network
from ..studies import find_labelled
from ..types import InputError
from ..weights.files import load_weights, save_weights
from .cases import Case, load_cases, split_by_patient
from .fit import FitResult, fit
from .lesion_classes import lesion_calibration
from .phantoms import phantom_cases
from .progress import EpochReport

logger = logging.getLogger(__name__)


def train_on_folders(
    config: ModelConfig,
    folders: list[Path],
    output: Path,
    *,
    phantoms: int = 0,
    val_fraction: float | None = None,
    start: Path | None = None,
    encoder: Path | None = None,
    device: str = "cpu",
    cpu_budget_s: float | None = None,
) -> FitResult:
    """Train on all labelled studies of some folders and write the weights, after every epoch and at the end.

    Args:
        config: The model.
        folders: Studies folders; without any, the phantoms are the studies, and some of them are held out.
        output: The safetensors file.
        phantoms: Phantoms to add to the training cases.
        val_fraction: Share of the patients held out; None for the configured one, 0 for none.
        start: Weights of the same network to start from; None for random ones.
        encoder: Weights of any model whose frame encoder to start from.
        device: Where to train.
        cpu_budget_s: See :func:`lib.trainers.fit.fit`.

    Raises:
        InputError: If there is nothing to train on, or weights do not fit.
    """
    settings = config.training
    fraction = settings.val_fraction if val_fraction is None else val_fraction
    train, val, extra = _cases(config, folders, phantoms, fraction)
    torch.manual_seed(settings.seed)
    network = build_network(config)
    if start is not None:
        load_weights(network, start)
    if encoder is not None:
        load_encoder(network, encoder)
    began = time.time()
    facts: dict[str, Any] = {
        "model": config.name,
        "network": asdict(config.network),
        "input": asdict(config.input),
        "training": asdict(settings),
        "train": [case.image_id for case in train],
        "phantoms": phantoms,
        "val": [case.image_id for case in val],
    }

    def keep(report: EpochReport, state: dict[str, torch.Tensor]) -> None:
        save_weights(state, output, {**facts, "last": report.to_json()})

    rate = settings.learning_rate if start is None else settings.finetune_learning_rate
    result = fit(
        network,  # type: ignore[arg-type]
        train + extra,
        val,
        config,
        learning_rate=rate,
        device=device,
        on_epoch=keep,
        cpu_budget_s=cpu_budget_s,
    )
    facts["seconds"] = round(time.time() - began)
    network.load_state_dict(result.state)
    facts["calibration"] = lesion_calibration(network, train, val, config, device)
    save_weights(result.state, output, {**facts, "last": result.history[-1].to_json(), "val_score": result.val_score})
    return result


def _cases(
    config: ModelConfig, folders: list[Path], phantoms: int, fraction: float
) -> tuple[list[Case], list[Case], list[Case]]:
    """Training and validation studies, and phantoms to train on with them; without folders phantoms are the studies."""
    made = phantom_cases(config, phantoms)
    if not folders and not made:
        raise InputError("there is nothing to train on: name a studies folder, or ask for phantoms")
    refs = [ref for folder in folders for ref in find_labelled(folder)]
    studies, extra = (load_cases(refs, config), made) if folders else (made, [])
    train, val = split_by_patient(studies, fraction, config.training.seed)
    logger.info("%d training and %d validation studies, %d phantoms", len(train), len(val), len(made))
    return train, val, extra

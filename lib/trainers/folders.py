# SPDX-License-Identifier: Apache-2.0
"""Training outside the server, on MONAI Label studies folders: how the shipped weights are made."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..configs import ModelConfig
from ..phantom import head_stack, write_nifti
from ..registry import build_network
from ..studies import CaseRef, find_labelled
from ..weights import load_weights, save_weights
from .cases import Case, load_cases, split_by_patient
from .fit import EpochReport, FitResult, fit

logger = logging.getLogger(__name__)
PHANTOM_SEED = 10_000


def phantom_cases(config: ModelConfig, count: int) -> list[Case]:
    """Make labelled phantoms, one in eight without a lesion, and prepare them like any study."""
    if count == 0:
        return []
    with tempfile.TemporaryDirectory(prefix="lesionloop-") as name:
        folder, refs = Path(name), []
        for i in range(count):
            stack = head_stack(PHANTOM_SEED + i, n_lesions=0 if i % 8 == 7 else None)
            image, label = folder / f"phantom{i}.nii.gz", folder / f"phantom{i}_label.nii.gz"
            write_nifti(stack, image, label)
            refs.append(CaseRef(f"phantom{i}", f"phantom{i}", image, label))
        return load_cases(refs, config)


def train_on_folders(
    config: ModelConfig,
    folders: list[Path],
    output: Path,
    *,
    phantoms: int = 0,
    val_fraction: float | None = None,
    start: Path | None = None,
    device: str = "cpu",
    cpu_budget_s: float | None = None,
) -> FitResult:
    """Train on all labelled studies of some folders and write the weights, after every epoch and at the end.

    Args:
        config: The model.
        folders: Studies folders.
        output: The safetensors file.
        phantoms: Phantoms to add to the training cases.
        val_fraction: Share of the patients held out; None for the configured one, 0 for none.
        start: Weights to start from; None for random ones.
        device: Where to train.
        cpu_budget_s: See :func:`lib.trainers.fit.fit`.

    Raises:
        InputError: If there is nothing to train on.
    """
    settings = config.training
    refs = [ref for folder in folders for ref in find_labelled(folder)]
    fraction = settings.val_fraction if val_fraction is None else val_fraction
    train, val = split_by_patient(load_cases(refs, config), fraction, settings.seed)
    logger.info("%d training and %d validation studies, %d phantoms", len(train), len(val), phantoms)
    torch.manual_seed(settings.seed)
    network = build_network(config)
    if start is not None:
        load_weights(network, start)
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
        train + phantom_cases(config, phantoms),
        val,
        config,
        learning_rate=rate,
        device=device,
        on_epoch=keep,
        cpu_budget_s=cpu_budget_s,
    )
    facts["seconds"] = round(time.time() - began)
    save_weights(result.state, output, {**facts, "last": result.history[-1].to_json(), "val_dice": result.val_dice})
    return result

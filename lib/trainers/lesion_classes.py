# SPDX-License-Identifier: Apache-2.0
"""What a lesion model learns about its classes from held-out patients at the end of a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..classification.calibration import calibrate
from ..classification.lesions import found_lesions
from ..configs import ModelConfig
from ..prediction.predictor import Predictor
from .cases import Case


def lesion_calibration(
    network: nn.Module, train: list[Case], val: list[Case], config: ModelConfig, device: torch.device | str = "cpu"
) -> dict[str, Any] | None:
    """Temperature and conformal threshold of the lesion classes, from the lesions found in held-out patients.

    A patient counts with the worst of the lesions found in them; patients without one say nothing. What a calibrated
    set promises is therefore about lesions that are found.

    Args:
        network: With the weights that are kept.
        train: Cases that it has learned from.
        val: Cases of other patients.
        config: The model.
        device: Where to run.

    Returns:
        As :meth:`lib.classification.calibration.Calibration.to_json`; None with one class, with labels that are parts
        of a lesion, without other patients, or when no lesion is found in them.
    """
    if len(config.labels) == 1 or config.inference.class_of != "lesion" or config.task != "segmentation":
        return None
    if not val or {case.patient for case in train} & {case.patient for case in val}:
        return None
    training = network.training
    predictor = Predictor(config, network, device)
    logits, classes, patients = [], [], []
    for case in val:
        maps = predictor.maps(case.frames.astype(np.float32), channel_present=case.channel_present)
        found, true = found_lesions(maps.mask.cpu().numpy(), case.masks, config.inference.mask_threshold)
        logits.append(found)
        classes.append(true)
        patients += [case.patient] * len(true)
    network.train(training)
    if not patients:
        return None
    known = np.concatenate(logits), np.concatenate(classes)
    return calibrate(*known, patients, config.classification.error_rate).to_json()

# SPDX-License-Identifier: Apache-2.0
"""What the train tasks share: what a client may set, the device, the seeds, the version to start from."""

from __future__ import annotations

import json
import logging
import random
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.tasks.train import TrainTask
from torch import Tensor, nn

from ..configs import ModelConfig, override
from ..registry import build_network
from ..types import InputError
from ..weights.files import load_weights
from ..weights.versions import VersionStore
from .progress import EpochReport

logger = logging.getLogger(__name__)
REQUEST_SETTINGS = {
    "max_epochs": "training.max_epochs",
    "train_batch_size": "training.batch_size",
    "val_split": "training.val_fraction",
    "learning_rate": "training.finetune_learning_rate",
    "steps_per_epoch": "training.steps_per_epoch",
    "seed": "training.seed",
}
"""What a client may change for one run, and where it stands in the configuration."""


class VersionedTrainTask(TrainTask):  # type: ignore[misc]
    """Trains a model from the version in service, or from random weights.

    Args:
        config: The model.
        versions: Where its weights live.
    """

    def __init__(self, config: ModelConfig, versions: VersionStore) -> None:
        super().__init__(f"Train {config.name}: {config.description}")
        self._config = config
        self.versions = versions

    def config(self) -> dict[str, Any]:
        """What clients may set; 3D Slicer shows these as options."""
        settings = self._config.training
        return {
            "device": ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"],
            "pretrained": True,
            "max_epochs": settings.max_epochs,
            "train_batch_size": settings.batch_size,
            "val_split": settings.val_fraction,
            "learning_rate": settings.finetune_learning_rate,
            "steps_per_epoch": settings.steps_per_epoch,
            "seed": settings.seed,
        }

    def stats(self) -> dict[str, Any]:
        """Version in service and what became of the last challenger; shown under ``train_stats`` in ``/info/``."""
        return self.versions.describe()

    def configured(self, request: dict[str, Any]) -> ModelConfig:
        """The model with what the request changes.

        Raises:
            InputError: If a value has the wrong type.
        """
        changes = {path: request[key] for key, path in REQUEST_SETTINGS.items() if request.get(key) is not None}
        return override(self._config, changes)

    def start(self, config: ModelConfig, pretrained: bool) -> tuple[nn.Module, str]:
        """The network to train and the version it starts from ("" for random weights)."""
        network = build_network(config)
        path, version = self.versions.current()
        if pretrained and path is not None:
            load_weights(network, path)
            logger.info("%s: starting from version %s", config.name, version)
            return network, version
        logger.info("%s: starting from random weights", config.name)
        return network, ""

    def tell(self, report: EpochReport, _: dict[str, Tensor]) -> None:
        """Also as JSON, so that a viewer can draw it: ``/train/`` returns the log's last lines."""
        logger.info("progress %s", json.dumps({"model": self._config.name, **report.to_json()}))


def log_reading(count: int) -> None:
    """Say now and then how many studies have been read."""
    if count % 10 == 0:
        logger.info("%d studies read", count)


def requested_device(request: dict[str, Any]) -> str:
    """The device to train on; the CPU where the machine has no GPU.

    Raises:
        InputError: If it is none.
    """
    device = request.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    device = device[0] if isinstance(device, list) else str(device)
    if device.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("no GPU on this machine: training on the CPU instead of '%s'", device)
        return "cpu"
    if not device.startswith(("cpu", "cuda")):
        raise InputError(f"device '{device}' is unknown; use cpu, cuda or cuda:N")
    return device


def seed_everything(seed: int) -> None:
    """Of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MONAI's transforms draw from it
    torch.manual_seed(seed)


def warn_of_one_patient(train: set[str], val: set[str]) -> None:
    """Say so when the same patient trains and validates, because there is no other."""
    if train & val:
        logger.warning("one labelled patient only: it trains and validates; label a second one for a fair check")

# SPDX-License-Identifier: Apache-2.0
"""The train task of the lesion models: learn from the store's masks, publish only what is better."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask
from torch import Tensor

from ..configs import ModelConfig, override
from ..networks.lesion_net import LesionNet
from ..registry import build_network
from ..studies import CaseRef, patient_of
from ..types import InputError
from ..versions import VersionRecord, VersionStore
from ..weights import load_weights
from .cases import Case, load_cases, split_by_patient
from .fit import EpochReport, FitResult, case_dices, fit

logger = logging.getLogger(__name__)
EPS = 1e-4
REQUEST_SETTINGS = {
    "max_epochs": "training.max_epochs",
    "train_batch_size": "training.batch_size",
    "val_split": "training.val_fraction",
    "learning_rate": "training.finetune_learning_rate",
    "steps_per_epoch": "training.steps_per_epoch",
    "seed": "training.seed",
}
"""What a client may change for one run, and where it stands in the configuration."""


class LesionTrainTask(TrainTask):  # type: ignore[misc]
    """Trains a lesion model on the labelled studies of the store.

    Boxes, presence and classes are derived from the masks. Training starts from the version in service (``pretrained``
    True) or from random weights. The challenger goes into service only if its mean volume Dice over the validation
    patients is higher than that of the version in service.

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

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Run one training; MONAI Label calls this in a process of its own.

        Args:
            request: Keys of :data:`REQUEST_SETTINGS`, ``device`` and ``pretrained``.
            datastore: Where the labelled studies are.

        Returns:
            The record of the new version.

        Raises:
            InputError: If the request is wrong or there is nothing to train on.
        """
        config = self._configured(request)
        device = _device(request)
        _seed(config.training.seed)
        logger.info("%s: reading labelled studies", config.name)
        cases = load_cases(stored_cases(datastore), config, _log_reading)
        train, val = split_by_patient(cases, config.training.val_fraction, config.training.seed)
        if {case.patient for case in train} & {case.patient for case in val}:
            logger.warning("one labelled patient only: it trains and validates; label a second one for a fair check")
        logger.info("%s: %d training and %d validation studies", config.name, len(train), len(val))
        network, parent = self._start(config, bool(request.get("pretrained", True)))
        deployed = case_dices(network, val, config, device) if parent else None
        rate = config.training.finetune_learning_rate if parent else config.training.learning_rate
        result = fit(network, train, val, config, learning_rate=rate, device=device, on_epoch=self._tell)
        record = self._decide(config, result, train, val, deployed, parent)
        logger.info("%s: %s", config.name, record.reason)
        return asdict(record)

    def _configured(self, request: dict[str, Any]) -> ModelConfig:
        changes = {path: request[key] for key, path in REQUEST_SETTINGS.items() if request.get(key) is not None}
        return override(self._config, changes)

    def _start(self, config: ModelConfig, pretrained: bool) -> tuple[LesionNet, str]:
        """The network to train and the version it starts from ("" for random weights)."""
        network = build_network(config)
        path, version = self.versions.current()
        if pretrained and path is not None:
            load_weights(network, path)
            logger.info("%s: starting from version %s", config.name, version)
            return network, version  # type: ignore[return-value]
        logger.info("%s: starting from random weights", config.name)
        return network, ""  # type: ignore[return-value]

    def _tell(self, report: EpochReport, _: dict[str, Tensor]) -> None:
        """Also as JSON, so that a viewer can draw it: ``/train/`` returns the log's last lines."""
        logger.info("progress %s", json.dumps({"model": self._config.name, **report.to_json()}))

    def _decide(
        self,
        config: ModelConfig,
        result: FitResult,
        train: list[Case],
        val: list[Case],
        deployed: list[float] | None,
        parent: str,
    ) -> VersionRecord:
        challenger = result.val_dice
        in_service = self._deployed_dice(config, val, deployed)
        if challenger is None or in_service is None:
            publish, reason = True, "published: there was no version in service to compare with"
        else:
            publish = challenger > in_service + EPS
            verb = "published" if publish else "not published"
            reason = (
                f"{verb}: validation Dice {challenger:.4f} against {in_service:.4f} of the version in service, "
                f"{len(val)} validation {'study' if len(val) == 1 else 'studies'}"
            )
        details = {
            "train": [case.image_id for case in train],
            "val": [case.image_id for case in val],
            "val_dice": challenger,
            "deployed_val_dice": in_service,
            "settings": asdict(config.training),
            "history": [report.to_json() for report in result.history],
        }
        return self.versions.add(result.state, publish=publish, reason=reason, parent=parent, details=details)

    def _deployed_dice(self, config: ModelConfig, val: list[Case], deployed: list[float] | None) -> float | None:
        """Mean Dice of what is in service now, computed anew when training started from random weights."""
        if not val:
            return None
        if deployed is None:
            path, _ = self.versions.current()
            if path is None:
                return None
            network = build_network(config)
            load_weights(network, path)
            deployed = case_dices(network, val, config)
        return float(np.mean(deployed))


def stored_cases(datastore: Datastore) -> list[CaseRef]:
    """The store's images that have a label with the tag ``final``.

    The patient is the image info's ``patient`` if it has one, else what :func:`patient_of` reads from the id.
    """
    refs = []
    for image_id in sorted(datastore.get_labeled_images()):
        try:
            refs.append(_stored_case(datastore, image_id))
        except InputError as error:  # one label whose image is gone must not keep the others from training
            logger.warning("left out of training: %s", error)
    return [ref for ref in refs if ref is not None]


def _stored_case(datastore: Datastore, image_id: str) -> CaseRef | None:
    label_id = datastore.get_label_by_image_id(image_id, DefaultLabelTag.FINAL)
    if not label_id:
        return None
    info = datastore.get_image_info(image_id) or {}
    return CaseRef(
        image_id,
        str(info.get("patient") or patient_of(image_id)),
        Path(datastore.get_image_uri(image_id)),
        Path(datastore.get_label_uri(label_id, DefaultLabelTag.FINAL)),
    )


def _log_reading(count: int) -> None:
    if count % 10 == 0:
        logger.info("%d studies read", count)


def _device(request: dict[str, Any]) -> str:
    device = request.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    device = device[0] if isinstance(device, list) else str(device)
    if device.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("no GPU on this machine: training on the CPU instead of '%s'", device)
        return "cpu"
    if not device.startswith(("cpu", "cuda")):
        raise InputError(f"device '{device}' is unknown; use cpu, cuda or cuda:N")
    return device


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MONAI's transforms draw from it
    torch.manual_seed(seed)

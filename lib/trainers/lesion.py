# SPDX-License-Identifier: Apache-2.0
"""The train task of the lesion models: learn from the store's masks, publish only what is better."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from ..configs import ModelConfig
from ..networks.lesion_net import LesionNet
from ..registry import build_network
from ..studies import CaseRef, patient_of
from ..types import InputError
from ..weights.files import load_weights
from ..weights.versions import VersionRecord
from .cases import Case, load_cases, split_by_patient
from .fit import FitResult, fit
from .lesion_classes import lesion_calibration
from .progress import decision
from .scoring import score_name, validation_score
from .task import VersionedTrainTask, log_reading, requested_device, seed_everything, warn_of_one_patient

logger = logging.getLogger(__name__)


class LesionTrainTask(VersionedTrainTask):
    """Trains a lesion model on the labelled studies of the store.

    Boxes, presence and classes are derived from the masks. Training starts from the version in service (``pretrained``
    True) or from random weights. The challenger goes into service only if its validation score
    (:func:`lib.trainers.scoring.validation_score`) is higher than that of the version in service.

    Args:
        config: The model.
        versions: Where its weights live.
    """

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
        config = self.configured(request)
        device = requested_device(request)
        seed_everything(config.training.seed)
        logger.info("%s: reading labelled studies", config.name)
        cases = load_cases(stored_cases(datastore), config, log_reading)
        train, val = split_by_patient(cases, config.training.val_fraction, config.training.seed)
        warn_of_one_patient({case.patient for case in train}, {case.patient for case in val})
        logger.info("%s: %d training and %d validation studies", config.name, len(train), len(val))
        network, parent = self.start(config, bool(request.get("pretrained", True)))
        deployed = validation_score(network, val, config, device) if parent else None
        rate = config.training.finetune_learning_rate if parent else config.training.learning_rate
        lesion_net = cast(LesionNet, network)
        result = fit(lesion_net, train, val, config, learning_rate=rate, device=device, on_epoch=self.tell)
        record = self._decide(config, result, train, val, deployed, parent)
        logger.info("%s: %s", config.name, record.reason)
        return asdict(record)

    def _decide(
        self,
        config: ModelConfig,
        result: FitResult,
        train: list[Case],
        val: list[Case],
        deployed: float | None,
        parent: str,
    ) -> VersionRecord:
        in_service = self._score_in_service(config, val, deployed)
        publish, reason = decision(score_name(config), result.val_score, in_service, len(val))
        details = {
            "train": [case.image_id for case in train],
            "val": [case.image_id for case in val],
            "score_name": score_name(config),
            "val_score": result.val_score,
            "deployed_val_score": in_service,
            "calibration": self._calibration(config, result, train, val),
            "settings": asdict(config.training),
            "history": [report.to_json() for report in result.history],
        }
        return self.versions.add(result.state, publish=publish, reason=reason, parent=parent, details=details)

    def _calibration(
        self, config: ModelConfig, result: FitResult, train: list[Case], val: list[Case]
    ) -> dict[str, Any] | None:
        """Of the lesion classes; None with one class or without other patients."""
        network = build_network(config)
        network.load_state_dict(result.state)
        return lesion_calibration(network, train, val, config)

    def _score_in_service(self, config: ModelConfig, val: list[Case], deployed: float | None) -> float | None:
        """Validation score of what is in service now, computed anew when training started from random weights."""
        if deployed is not None or not val:
            return deployed
        path, _ = self.versions.current()
        if path is None:
            return None
        network = build_network(config)
        load_weights(network, path)
        return validation_score(network, val, config)


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

# SPDX-License-Identifier: Apache-2.0
"""The train task of the study classifiers: learn from the classes in the store, publish only what is better."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from monailabel.interfaces.datastore import Datastore

from ..classification.labels import CLASS_KEY, ClassedStudy
from ..configs import ModelConfig
from ..networks.clip_net import ClipNet
from ..registry import build_network
from ..studies import patient_of
from ..types import InputError
from ..weights.files import load_weights
from ..weights.versions import VersionRecord
from .cases import split_by_patient
from .clips import Clip, load_clips
from .fit_clips import MACRO_F1, ClipFitResult, calibration_of, clip_logits, fit_clips, macro_f1
from .progress import decision
from .task import VersionedTrainTask, log_reading, requested_device, seed_everything, warn_of_one_patient

logger = logging.getLogger(__name__)


class ClassificationTrainTask(VersionedTrainTask):
    """Trains a classifier on the studies of the store whose information has a ``study_class``.

    The challenger goes into service only if its macro-F1 over the validation patients is higher than that of the
    version in service; macro, so that a rare class counts as much as a frequent one. Temperature and conformal
    threshold are fitted on the validation patients and kept with the weights.

    Args:
        config: The model.
        versions: Where its weights live.
    """

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Run one training; MONAI Label calls this in a process of its own.

        Args:
            request: Keys of :data:`lib.trainers.task.REQUEST_SETTINGS`, ``device`` and ``pretrained``.
            datastore: Where the studies are.

        Returns:
            The record of the new version.

        Raises:
            InputError: If the request is wrong or there is nothing to train on.
        """
        config = self.configured(request)
        device = requested_device(request)
        seed_everything(config.training.seed)
        logger.info("%s: reading studies with a class", config.name)
        clips = load_clips(stored_classes(datastore), config, log_reading)
        train, val = split_by_patient(clips, config.training.val_fraction, config.training.seed)
        warn_of_one_patient({clip.patient for clip in train}, {clip.patient for clip in val})
        logger.info("%s: %d training and %d validation studies", config.name, len(train), len(val))
        network, parent = self.start(config, bool(request.get("pretrained", True)))
        in_service = self._in_service_f1(config, val)
        rate = config.training.finetune_learning_rate if parent else config.training.learning_rate
        clip_net = cast(ClipNet, network)
        result = fit_clips(clip_net, train, val, config, learning_rate=rate, device=device, on_epoch=self.tell)
        record = self._decide(config, result, train, val, in_service, parent)
        logger.info("%s: %s", config.name, record.reason)
        return asdict(record)

    def _in_service_f1(self, config: ModelConfig, val: list[Clip]) -> float | None:
        """Macro-F1 of what is in service now; None when there is nothing to compare."""
        path, _ = self.versions.current()
        if path is None or not val:
            return None
        network = build_network(config)
        load_weights(network, path)
        return macro_f1(clip_logits(network, val, config), val)

    def _decide(
        self,
        config: ModelConfig,
        result: ClipFitResult,
        train: list[Clip],
        val: list[Clip],
        in_service: float | None,
        parent: str,
    ) -> VersionRecord:
        publish, reason = decision(MACRO_F1, result.val_score, in_service, len(val))
        details = {
            "train": [clip.image_id for clip in train],
            "val": [clip.image_id for clip in val],
            "score_name": MACRO_F1,
            "val_score": result.val_score,
            "deployed_val_score": in_service,
            "calibration": self._calibration(config, result, train, val),
            "settings": asdict(config.training),
            "history": [report.to_json() for report in result.history],
        }
        return self.versions.add(result.state, publish=publish, reason=reason, parent=parent, details=details)

    def _calibration(
        self, config: ModelConfig, result: ClipFitResult, train: list[Clip], val: list[Clip]
    ) -> dict[str, Any] | None:
        """From patients that were not trained on; None without any."""
        if not val or {clip.patient for clip in train} & {clip.patient for clip in val}:
            return None
        network = build_network(config)
        network.load_state_dict(result.state)
        logits = clip_logits(network, val, config)
        return calibration_of(logits, val, config.classification.error_rate).to_json()


def stored_classes(datastore: Datastore) -> list[ClassedStudy]:
    """The store's images whose information has a ``study_class``, in the order of their ids.

    The patient is the information's ``patient`` if it has one, else what :func:`lib.studies.patient_of` reads from the
    id.
    """
    studies = []
    for image_id in sorted(datastore.list_images()):
        info = datastore.get_image_info(image_id) or {}
        if not info.get(CLASS_KEY):
            continue
        try:
            path = Path(datastore.get_image_uri(image_id))
        except InputError as error:  # one image that is gone must not keep the others from training
            logger.warning("left out of training: %s", error)
            continue
        patient = str(info.get("patient") or patient_of(image_id))
        studies.append(ClassedStudy(image_id, patient, path, str(info[CLASS_KEY])))
    return studies

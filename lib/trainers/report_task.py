# SPDX-License-Identifier: Apache-2.0
"""The train task of the report models: learn from corrected and signed reports, publish only what is better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from monailabel.interfaces.datastore import Datastore
from torch import nn

from ..configs import ModelConfig, ReportConfig
from ..drafting.source import LesionSource
from ..drafting.writer import LEXICONS, THRESHOLDS_KEY, VOCABULARY_KEY, vocabulary_of
from ..networks.report_net import ReportNet
from ..registry import build_network
from ..reports import training_reports
from ..text import Vocabulary
from ..types import InputError
from ..weights.files import load_weights, read_metadata
from ..weights.versions import VersionRecord, VersionStore
from .cases import split_by_patient
from .progress import decision
from .report_cases import ReportCase
from .report_corrections import CorrectedStudy, grown, sentences_to_learn, start_new_words, told
from .report_fit import WORD_PROBABILITY, ReportFit, ReportObjective, fit_report, word_probability
from .report_readers import StudyReader, study_reader
from .task import VersionedTrainTask, log_reading, requested_device, seed_everything, warn_of_one_patient

logger = logging.getLogger(__name__)
READING = ("image_tokens", "text_encoder", "fusion", "finding_head", "class_head")
"""What reads; it stays as it is when corrections are learned, and with it the findings head's thresholds."""


class ReportTrainTask(VersionedTrainTask):
    """Trains a report model on the corrected, signed and amended reports of the store, never on mere drafts.

    A sentence of change is learned where the image of the earlier visit that the report compares with is still in the
    store: the changes are then measured anew, and told to the model as for a draft. Else nothing would bear it out, and
    it is left out. Of the clinical text the report keeps the indication, which the model reads as for a draft; history
    and earlier report of the request are not stored. New words of the people who correct get a place in the vocabulary.
    The challenger goes into service only if it finds the reports of the validation patients likelier than the version
    in service does.

    Args:
        config: The model.
        versions: Where its weights live.
        source: The lesion model that it writes from; None for a model that reads the image itself.
    """

    def __init__(self, config: ModelConfig, versions: VersionStore, source: LesionSource | None = None) -> None:
        super().__init__(config, versions)
        self.source = source

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Run one training; MONAI Label calls this in a process of its own.

        Args:
            request: Keys of :data:`lib.trainers.task.REQUEST_SETTINGS`, ``device`` and ``pretrained``.
            datastore: Where the reports are.

        Returns:
            The record of the new version; under ``details`` also how much each correction changed (``reports``).

        Raises:
            InputError: If the request is wrong or there is no report to train on.
        """
        config = self.configured(request)
        device = requested_device(request)
        seed_everything(config.training.seed)
        reader = study_reader(config, self.source)
        studies = self._corrected(datastore, config, reader)
        train, val = split_by_patient(studies, config.training.val_fraction, config.training.seed)
        warn_of_one_patient({one.patient for one in train}, {one.patient for one in val})
        logger.info("%s: %d reports to learn from, %d to validate on", config.name, len(train), len(val))
        network, parent = self.start(config, bool(request.get("pretrained", True)))
        known = self._known_words(reader)
        vocabulary = grown(known, studies, _settings(config).network.text.vocabulary_size)
        cases = [reader.cases(part, vocabulary) for part in (train, val)]
        in_service = self._in_service(config, cases[1])
        net = cast(ReportNet, network)
        if parent:
            start_new_words(net, len(known), len(vocabulary))
            _freeze(net)
        rate = config.training.finetune_learning_rate if parent else config.training.learning_rate
        result = fit_report(
            net,
            cases[0],
            cases[1],
            config.training,
            ReportObjective(smoothing=0.02, findings=0.0 if parent else 1.0),
            learning_rate=rate,
            score=word_probability,
            score_name=WORD_PROBABILITY,
            change=reader.change(studies, vocabulary),
            device=device,
            on_epoch=self.tell,
        )
        header = read_metadata(self.versions.path(parent)) if parent else {}
        facts = {VOCABULARY_KEY: vocabulary.to_json(), THRESHOLDS_KEY: header.get(THRESHOLDS_KEY)}
        facts |= {"reports": [one.changed() for one in studies], "new_words": len(vocabulary) - len(known)}
        return asdict(self._decide(config, result, train, val, in_service, parent, facts))

    def _corrected(self, datastore: Datastore, config: ModelConfig, reader: StudyReader) -> list[CorrectedStudy[Any]]:
        """The studies with a report to learn from; one whose image is gone must not keep the others from training."""
        lexicon = LEXICONS[_settings(config).lexicon]
        found: list[CorrectedStudy[Any]] = []
        for i, report in enumerate(training_reports(datastore), 1):
            try:
                study = reader.study(datastore, report)
            except InputError as error:
                logger.warning("left out of training: %s", error)
                continue
            sentences = sentences_to_learn(report.report, lexicon, compared=reader.is_compared(study))
            one = CorrectedStudy(study, report, tuple(sentences))
            if one.sentences:
                found.append(one)
                logger.info("%s", told(one))
            log_reading(i)
        if not found:
            raise InputError(
                f"model '{config.name}' cannot be trained: no report has been corrected or signed yet; save one with "
                "PUT /reports/IMAGE or sign one with POST /reports/IMAGE/sign"
            )
        return found

    def _known_words(self, reader: StudyReader) -> Vocabulary:
        """The vocabulary of the version in service, also where training starts from random weights: both are judged."""
        path, _ = self.versions.current()
        if path is None:
            return reader.first_words()
        return vocabulary_of(path)

    def _in_service(self, config: ModelConfig, val: Sequence[ReportCase]) -> float | None:
        """Score of what is in service now; None when there is nothing to compare."""
        path, _ = self.versions.current()
        if path is None or not val:
            return None
        network = build_network(config)
        load_weights(network, path)
        return word_probability(cast(ReportNet, network.eval()), val)

    def _decide(
        self,
        config: ModelConfig,
        result: ReportFit,
        train: Sequence[CorrectedStudy[Any]],
        val: Sequence[CorrectedStudy[Any]],
        in_service: float | None,
        parent: str,
        facts: dict[str, Any],
    ) -> VersionRecord:
        publish, reason = decision(WORD_PROBABILITY, result.val_score, in_service, len(val))
        shares = [one.source.change.share for one in (*train, *val)]
        details = {
            **facts,
            "train": [one.source.image for one in train],
            "val": [one.source.image for one in val],
            "score_name": WORD_PROBABILITY,
            "val_score": result.val_score,
            "deployed_val_score": in_service,
            "changed_share": round(float(np.mean(shares)), 4),
            "settings": asdict(config.training),
            "history": [progress.to_json() for progress in result.history],
        }
        logger.info("%s: %s", config.name, reason)
        return self.versions.add(result.state, publish=publish, reason=reason, parent=parent, details=details)


def _freeze(network: nn.Module) -> None:
    for name in READING:
        part = getattr(network, name, None)
        for parameter in part.parameters() if part is not None else ():
            parameter.requires_grad_(False)


def _settings(config: ModelConfig) -> ReportConfig:
    assert config.report is not None  # a model of task report has it
    return config.report

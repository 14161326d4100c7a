# SPDX-License-Identifier: Apache-2.0
"""Training of the chest report model: words and decoder on Indiana reports first, then radiographs with notes.

The notes are too few to learn to write from (some 200), and the Indiana reports have no images here. So the text side
and the decoder first learn to write findings and impression of an Indiana report from its indication; what the arm
under training has in common with that network starts from its weights. Then the notes: image and history to class,
findings and description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..configs import ModelConfig, ReportConfig
from ..configs.report import TwinName, report_twin
from ..networks.report_net import ReportNet
from ..text.indiana import CodedReport
from ..text.vocabulary import Vocabulary
from ..types import FloatArray
from .report_cases import ReportCase, read_text
from .report_fit import ReportFit, ReportObjective, fit_report, probabilities, write_reports
from .report_notes import CLASSES, ChestNote, load_image, shifted, told_findings

MAX_WORDS, MAX_REPORT = 120, 60


def chest_settings(config: ModelConfig) -> ReportConfig:
    """The report settings of a model that reads images itself."""
    assert config.report is not None  # a model of task report has them
    return config.report


def sized(config: ModelConfig, vocabulary: Vocabulary) -> ModelConfig:
    """The model with room for the words of a vocabulary and no more."""
    report = chest_settings(config)
    text = replace(report.network.text, vocabulary_size=len(vocabulary), hash_buckets=vocabulary.buckets)
    return replace(config, report=replace(report, network=replace(report.network, text=text)))


def add_words(vocabulary: Vocabulary, notes: Sequence[ChestNote]) -> Vocabulary:
    """A vocabulary and, after its words, those of some notes; the ids that were there stay."""
    more = Vocabulary.build(text for one in notes for text in (one.history, one.description))
    new = tuple(token for token in more.tokens if token not in vocabulary)
    return replace(vocabulary, tokens=(*vocabulary.tokens, *new), forms={**more.forms, **vocabulary.forms})


def indiana_vocabulary(reports: Sequence[CodedReport]) -> Vocabulary:
    """Words of indications, findings and impressions."""
    return Vocabulary.build(text for one in reports for text in (one.indication, one.text))


def note_cases(
    notes: Sequence[ChestNote],
    vocabulary: Vocabulary,
    images: Mapping[str, FloatArray],
    findings: Sequence[str] = (),
) -> list[ReportCase]:
    """Notes as cases.

    Args:
        notes: Any.
        vocabulary: Of the model.
        images: By study id, see :func:`load_images`.
        findings: What the model's findings head tells; known where a description tells it.
    """
    return [
        ReportCase(
            one.study_id,
            one.patient,
            images[one.study_id],
            *read_text(one.history, vocabulary, MAX_WORDS),
            report=read_text(one.description, vocabulary, MAX_REPORT)[0],
            findings=told_findings(one.description, findings) if findings else None,
            study_class=one.study_class,
        )
        for one in notes
    ]


def load_images(notes: Sequence[ChestNote], size_px: int) -> dict[str, FloatArray]:
    """Radiographs by study id, as the model sees them."""
    return {one.study_id: load_image(one.image, size_px) for one in notes}


def pretrain(
    config: ModelConfig,
    reports: Sequence[CodedReport],
    vocabulary: Vocabulary,
    seed: int,
    cpu_budget_s: float | None,
) -> dict[str, Tensor]:
    """Learn to write Indiana reports from their indications; weights of the full model, its image side untouched."""
    torch.manual_seed(seed)
    network = ReportNet(chest_settings(config).network)
    cases = [
        ReportCase(
            one.uid,
            one.uid,
            None,
            *read_text(one.indication, vocabulary, MAX_WORDS),
            report=read_text(one.text, vocabulary, MAX_REPORT)[0],
        )
        for one in reports
    ]
    settings = replace(config.training, seed=seed)
    return fit_report(
        network, cases, [], settings, learning_rate=settings.learning_rate, cpu_budget_s=cpu_budget_s
    ).state


def warm_start(network: ReportNet, state: Mapping[str, Tensor]) -> list[str]:
    """Take over the weights of the same name and shape, or with fewer rows (words that were added keep their own).

    Returns:
        Their names.
    """
    own = {name: value for name, value in network.state_dict().items() if name in state}
    shared = [
        name
        for name, value in own.items()
        if value.shape[1:] == state[name].shape[1:] and len(value) >= len(state[name])
    ]
    with torch.no_grad():
        for name in shared:
            own[name][: len(state[name])] = state[name]
    return shared


@dataclass(frozen=True)
class ChestArm:
    """A trained arm of the ablation.

    Attributes:
        config: The model.
        network: The twin of the full network.
        vocabulary: Its words.
        fit: How its training went.
    """

    config: ModelConfig
    network: ReportNet
    vocabulary: Vocabulary
    fit: ReportFit

    def classify(self, cases: Sequence[ReportCase]) -> FloatArray:
        """Probability of each class, (N, K)."""
        return probabilities(self.network, cases)[0]

    def write(self, cases: Sequence[ReportCase]) -> list[str]:
        """A description of each; numbers that the decoder wants to write are left as blanks."""
        beam = chest_settings(self.config).beam
        return [blanked(self.vocabulary, best.ids) for best, *_ in write_reports(self.network, cases, beam)]


def blanked(vocabulary: Vocabulary, ids: Sequence[int]) -> str:
    """Text of ids, without the slots: nothing was measured that could fill them."""
    known = (one for one in ids if one < len(vocabulary))
    return vocabulary.decode([one for one in known if one not in vocabulary.slot_ids])


def fit_arm(
    config: ModelConfig,
    name: TwinName,
    train: Sequence[ReportCase],
    vocabulary: Vocabulary,
    seed: int,
    cpu_budget_s: float | None,
    start: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
) -> ChestArm:
    """Train one arm; the averaged weights of the end are kept, since nothing is held out to choose by.

    Args:
        config: The full model.
        name: See :func:`lib.configs.report.report_twin`.
        train: Notes of the training folds.
        vocabulary: Of the training folds.
        seed: Of the weights and the order.
        cpu_budget_s: Processor time; None for the epochs of the config.
        start: Weights of :func:`pretrain`.
        device: Where to train.
    """
    torch.manual_seed(seed)
    network = ReportNet(report_twin(chest_settings(config).network, name))
    if start is not None:
        warm_start(network, start)
    goal = ReportObjective(classes=1.0, class_weights=balanced_weights(train), word_dropout=0.1)
    fit = fit_report(
        network,
        train,
        [],
        replace(config.training, seed=seed),
        goal,
        learning_rate=config.training.learning_rate,
        change=augmented,
        device=device,
        cpu_budget_s=cpu_budget_s,
    )
    network.load_state_dict(fit.state)
    return ChestArm(config, network, vocabulary, fit)


def balanced_weights(cases: Sequence[ReportCase]) -> tuple[float, ...]:
    """Square root of how much rarer a class is than the mean, by patients."""
    patients = [len({one.patient for one in cases if one.study_class == k}) for k in range(len(CLASSES))]
    mean = sum(patients) / len(patients)
    return tuple(float(np.sqrt(mean / max(1, n))) for n in patients)


def augmented(case: ReportCase, rng: np.random.Generator) -> ReportCase:
    """A study with its radiograph a little changed; for :class:`lib.trainers.report_cases.ReportSampler`."""
    return case if case.image is None else replace(case, image=shifted(case.image, rng))

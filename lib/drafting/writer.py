# SPDX-License-Identifier: Apache-2.0
"""The report writer: a study, its clinical text and its measured lesions -> a checked draft, sentence by sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..configs import ModelConfig, ReportConfig
from ..networks.report_net import ReportInputs, ReportNet, ReportOutput
from ..text import BRAIN_MR, CHEST, Lexicon, MeasuredStudy, Slot, Vocabulary
from ..text.tokens import DISEASE
from ..types import Finding, FloatArray, InputError, Source
from ..types.report import Report, Sentence, Support
from ..weights.files import read_metadata
from .claims import Scene
from .evidence import said_by
from .guard import Guarded, Intervention, guard
from .measured import LESION_FEATURES, described, lesion_vectors
from .opinions import FindingThresholds, Opinion
from .sentences import drafted_sentence
from .slots import Said

LEXICONS: dict[str, Lexicon] = {"brain_mr": BRAIN_MR, "chest": CHEST}
MOST_WORDS = 400
VOCABULARY_KEY, THRESHOLDS_KEY = "vocabulary", "thresholds"
"""Where the header of a weights file has them: one file, one hash, and neither can be lost or mistaken."""


@dataclass(frozen=True)
class ClinicalText:
    """What is known from words; never the findings or impression that are to be written."""

    indication: str = ""
    history: str = ""
    prior_report: str = ""

    @property
    def all(self) -> str:
        """All of it."""
        return " ".join(part.strip() for part in (self.indication, self.history, self.prior_report) if part.strip())


@dataclass(frozen=True)
class StudyToReport:
    """What a report is written from.

    Attributes:
        image: Features of its frames (T, F), or images (T, C, H, W), as the model's config says; None for none.
        findings: Its lesions.
        measured: What may be said of them; None for a model that measures none.
        clinical: Its clinical text.
        masked_text: What of it the model reads, where that is not all.
        prior_image: Image of the earlier visit that the changes are from.
        frames_are_shown: Whether the image's frames are those that the findings are on, and evidence may name them.
    """

    image: FloatArray | None = None
    findings: Sequence[Finding] = ()
    measured: MeasuredStudy | None = None
    clinical: ClinicalText = field(default_factory=ClinicalText)
    masked_text: str | None = None
    prior_image: str = ""
    frames_are_shown: bool = True

    @property
    def text(self) -> str:
        """What the model reads."""
        return self.clinical.all if self.masked_text is None else self.masked_text


@dataclass(frozen=True)
class Draft:
    """A report and how it came about.

    Attributes:
        report: The draft.
        probabilities: That each finding is there.
        opinions: What the findings head is sure of.
        interventions: What the guard did not let through, or added.
        said: What the decoder wrote.
        classes: Probability of each class of the study; empty for a model that tells none.
    """

    report: Report
    probabilities: dict[str, float]
    opinions: dict[str, Opinion]
    interventions: tuple[Intervention, ...]
    said: tuple[Said, ...] = ()
    classes: dict[str, float] = field(default_factory=dict)


class ReportWriter:
    """Writes drafts.

    Args:
        config: The model.
        network: With its weights.
        vocabulary: That the weights were trained with.
        thresholds: Of the findings head.
        device: Where it runs.

    Raises:
        InputError: If the parts do not fit each other.
    """

    def __init__(
        self,
        config: ModelConfig,
        network: ReportNet,
        vocabulary: Vocabulary,
        thresholds: FindingThresholds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.vocabulary, self.thresholds = config, vocabulary, thresholds or FindingThresholds()
        self.settings = _checked(config, vocabulary)
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        barred = (Slot.NUMBER.value, Slot.DEID.value, DISEASE)
        unused = range(len(vocabulary), self.settings.network.text.vocabulary_size)
        forbidden = {*self.settings.beam.forbidden, *unused, *(vocabulary.id_of(token) for token in barred)}
        self.beam = replace(self.settings.beam, forbidden=tuple(sorted(forbidden)))

    def write(self, study: StudyToReport, source: Source | None = None, seed: int = 0) -> Draft:
        """Write the draft of a study.

        Args:
            study: What is known of it.
            source: What the report says of the model.
            seed: Chooses among the phrasings of what the guard has to write.
        """
        output, (found,) = self.network.write(self.inputs(study), self.beam)
        names = self.settings.findings
        chances = [] if output.finding_logits is None else torch.sigmoid(output.finding_logits[0].float()).tolist()
        opinions = self.thresholds.opinions(names, np.array(chances))
        measured = study.measured
        scene = Scene(measured or MeasuredStudy(), opinions, LEXICONS[self.settings.lexicon], measured is not None)
        assert self.network.decoder is not None
        memories = list(self.network.decoder.attentions)
        lesion_ids = [one.id for one in described(scene.study)]
        n_frames = 0 if study.image is None or not study.frames_are_shown else len(study.image)
        spoken = [said_by(one, memories, self.vocabulary, lesion_ids, study.findings, n_frames) for one in found]
        drafts = [guard(said, scene, self.vocabulary.forms, seed) for said in spoken]
        others = [one for draft in drafts[1:] for one in draft.kept]
        known = dict(zip(names, chances, strict=True))
        sections = self._sections(study, drafts[0].kept, others, known)
        model = source or Source()
        report = Report(
            {name: part for name, part in sections.items() if part},
            author=model.model,
            model=model.model,
            model_version=model.version,
            weights_sha256=model.weights_sha256,
            prior_image=study.prior_image,
        )
        return Draft(report, known, opinions, tuple(drafts[0].log), tuple(spoken[0]), self._classes(output))

    def _classes(self, output: ReportOutput) -> dict[str, float]:
        if output.class_logits is None:
            return {}
        chances = output.class_logits[0].float().softmax(0).tolist()
        return dict(zip(self.config.class_names, chances, strict=True))

    def inputs(self, study: StudyToReport) -> ReportInputs:
        """A study as the network reads it, a batch of one."""
        read = self.vocabulary.encode(study.text)
        ids = read.ids[:MOST_WORDS] or (0,)
        groups = self.vocabulary.groups(read.tokens[:MOST_WORDS]) or ((),)
        most = max(1, *(len(word) for word in groups))
        padded = [[*word, *[-1] * (most - len(word))] for word in groups]
        lesions = None if study.measured is None else lesion_vectors(study.measured)
        return ReportInputs(
            image=self._batch(study.image),
            words=torch.tensor([ids], device=self.device),
            groups=torch.tensor([padded], device=self.device),
            lesions=self._batch(lesions),
        )

    def _batch(self, values: FloatArray | None) -> Tensor | None:
        return None if values is None else torch.as_tensor(values, dtype=torch.float32, device=self.device)[None]

    def _sections(
        self, study: StudyToReport, kept: Sequence[Guarded], others: Sequence[Guarded], chances: Mapping[str, float]
    ) -> dict[str, tuple[Sentence, ...]]:
        words = self.vocabulary.encode(study.text).tokens[:MOST_WORDS]
        written = {
            name: tuple(
                drafted_sentence(one, study.findings, words, others, chances) for one in kept if one.section == name
            )
            for name in ("findings", "impression")
        }
        indication = study.clinical.indication.strip()
        asked = (Sentence(indication, support=Support.NOT_ASSESSED),) if indication else ()
        return {"indication": asked, "comparison": _comparison(study), **written}


def report_writer(config: ModelConfig, network: nn.Module, device: torch.device, path: Path) -> ReportWriter:
    """A writer with the vocabulary and the thresholds that its weights' header holds.

    Raises:
        InputError: If they cannot be used.
    """
    thresholds = FindingThresholds.from_json(read_metadata(path).get(THRESHOLDS_KEY))
    return ReportWriter(config, cast(ReportNet, network), vocabulary_of(path), thresholds, device)


def vocabulary_of(path: Path) -> Vocabulary:
    """The vocabulary in the header of a weights file.

    Raises:
        InputError: If there is none.
    """
    header = read_metadata(path)
    if VOCABULARY_KEY not in header:
        raise InputError(f"{path}: these weights bring no vocabulary; they are not those of a report model")
    return Vocabulary.from_json(header[VOCABULARY_KEY])


def _checked(config: ModelConfig, vocabulary: Vocabulary) -> ReportConfig:
    settings = config.report
    if settings is None or settings.network.decoder is None:
        raise InputError(f"model '{config.name}' writes no reports: its config has no report.network.decoder")
    room = settings.network.text.vocabulary_size
    if len(vocabulary) > room:
        raise InputError(
            f"model '{config.name}': the vocabulary has {len(vocabulary)} words, "
            f"report.network.text.vocabulary_size leaves room for {room}"
        )
    told = settings.network.decoder.lesion_features
    if told not in (0, LESION_FEATURES):
        raise InputError(
            f"model '{config.name}': report.network.decoder.lesion_features is {told}; "
            f"lesions have {LESION_FEATURES} (0 for none)"
        )
    return settings


def _comparison(study: StudyToReport) -> tuple[Sentence, ...]:
    if study.measured is not None and study.measured.compared:
        days = study.measured.days
        when = "an earlier examination" if days is None else f"the examination {days} day{'s' * (days != 1)} earlier"
        fact = {"finding": "earlier examination", "present": True, **({} if days is None else {"days": days})}
        return (Sentence(f"Compared with {when}.", facts=(fact,)),)
    if study.clinical.prior_report.strip():
        fact = {"finding": "earlier examination", "present": True}
        return (Sentence("An earlier report was read; earlier images were not compared.", facts=(fact,)),)
    return ()

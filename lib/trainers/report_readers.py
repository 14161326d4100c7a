# SPDX-License-Identifier: Apache-2.0
"""How the train task reads the studies of corrected reports: through a lesion model, or the radiograph itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from monailabel.interfaces.datastore import Datastore

from ..configs import ModelConfig, ReportConfig
from ..drafting.measured import measured_study
from ..drafting.sections import report_tokens
from ..drafting.source import LesionSource
from ..reports.stored import TrainingReport
from ..studies import patient_of
from ..text import Vocabulary, mask_diseases
from ..transforms.load import load_study
from ..transforms.radiograph import radiograph_of
from ..types import FloatArray
from .report_cases import Change, ReportCase, read_text
from .report_chest import MAX_WORDS, augmented
from .report_corrections import CorrectedStudy, case_of, indication_of
from .report_folders import source_predictor
from .report_notes import told_findings
from .report_studies import ReportStudy
from .report_visits import read_visit, since_before
from .report_writing import BrainWriting, grammar_vocabulary

REHEARSAL = 0.5
"""How often a study is shown with a report of the grammar, so that the model does not forget the rest."""


class StudyReader(Protocol):
    """What the train task needs to know of a kind of report model."""

    def study(self, datastore: Datastore, source: TrainingReport) -> Any:
        """The image of a report as the model sees it, with ``image_id`` and ``patient``.

        Raises:
            InputError: If it cannot be used.
        """

    def is_compared(self, study: Any) -> bool:
        """Whether it is known what has changed in a study since the visit that its report compares with."""

    def first_words(self) -> Vocabulary:
        """The vocabulary of a model that has no weights yet."""

    def cases(self, studies: list[CorrectedStudy[Any]], vocabulary: Vocabulary) -> list[ReportCase]:
        """Corrected reports as cases."""

    def change(self, studies: list[CorrectedStudy[Any]], vocabulary: Vocabulary) -> Change:
        """What draws another form of a case each time it is seen."""


def study_reader(config: ModelConfig, source: LesionSource | None) -> StudyReader:
    """The reader of a report model; of one without a lesion model, ``source`` is None."""
    return RadiographReader(config) if source is None else LesionReader(config, source)


class LesionReader:
    """Reads studies with their lesions, and rehearses with reports of the grammar.

    Args:
        config: The report model.
        source: The lesion model that it writes from.
    """

    def __init__(self, config: ModelConfig, source: LesionSource) -> None:
        self._settings, self._predictor = _settings(config), source_predictor(source)

    def study(self, datastore: Datastore, source: TrainingReport) -> ReportStudy:
        """With its lesions, and what has become of them since the visit that the report compares with."""
        visit = read_visit(datastore, source.image, self._predictor)
        earlier = since_before(datastore, visit, source.report.prior_image, self._predictor)
        found = measured_study(visit.found.findings, visit.view.brain_lps_mm, earlier)
        features = visit.view.features.astype(np.float16)
        return ReportStudy(source.image, _patient(datastore, source.image), features, found, found)

    def is_compared(self, study: ReportStudy) -> bool:
        """Whether the image of the earlier visit was read."""
        return study.found.compared

    def first_words(self) -> Vocabulary:
        """Those of the grammar."""
        return grammar_vocabulary(self._settings.network.text.hash_buckets)

    def cases(self, studies: list[CorrectedStudy[ReportStudy]], vocabulary: Vocabulary) -> list[ReportCase]:
        """Corrected reports as cases."""
        writing = self._writing(studies, vocabulary)
        return [case_of(one, writing) for one in studies]

    def change(self, studies: list[CorrectedStudy[ReportStudy]], vocabulary: Vocabulary) -> Change:
        """Show a study with its corrected report, or with one of the grammar."""
        writing = self._writing(studies, vocabulary)

        def change(case: ReportCase, rng: np.random.Generator) -> ReportCase:
            return writing.change(case, rng) if rng.random() < REHEARSAL else case

        return change

    def _writing(self, studies: list[CorrectedStudy[ReportStudy]], vocabulary: Vocabulary) -> BrainWriting:
        by_image = {one.study.image_id: one.study for one in studies}
        return BrainWriting(by_image, vocabulary, self._settings.findings)


@dataclass(frozen=True)
class RadiographStudy:
    """A radiograph to learn from.

    Attributes:
        image_id: Of the store.
        patient: Whose it is.
        image: As :func:`lib.transforms.radiograph.radiograph` gives it.
    """

    image_id: str
    patient: str
    image: FloatArray


class RadiographReader:
    """Reads radiographs; the indication of a report is what the model reads beside the image.

    Args:
        config: The report model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config, self._settings = config, _settings(config)

    def study(self, datastore: Datastore, source: TrainingReport) -> RadiographStudy:
        """One radiograph of the store."""
        study = load_study(Path(datastore.get_image_uri(source.image)), self._config.input)
        image = radiograph_of(study, self._config.input.max_size_px)
        return RadiographStudy(source.image, _patient(datastore, source.image), image)

    def is_compared(self, study: RadiographStudy) -> bool:
        """Never: nothing is measured in a radiograph."""
        return False

    def first_words(self) -> Vocabulary:
        """None but those of every vocabulary."""
        return Vocabulary.build([], buckets=self._settings.network.text.hash_buckets)

    def cases(self, studies: list[CorrectedStudy[RadiographStudy]], vocabulary: Vocabulary) -> list[ReportCase]:
        """Corrected reports as cases; findings are known where the report tells them."""
        return [self._case(one, vocabulary) for one in studies]

    def change(self, studies: list[CorrectedStudy[RadiographStudy]], vocabulary: Vocabulary) -> Change:
        """Show the radiograph a little changed."""
        return augmented

    def _case(self, one: CorrectedStudy[RadiographStudy], vocabulary: Vocabulary) -> ReportCase:
        told = " ".join(text for _, text in one.sentences)
        return ReportCase(
            one.study.image_id,
            one.patient,
            one.study.image,
            *read_text(mask_diseases(indication_of(one.source.report)), vocabulary, MAX_WORDS),
            report=tuple(vocabulary.id_of(token) for token in report_tokens(one.sentences)),
            findings=told_findings(told, self._settings.findings),
        )


def _patient(datastore: Datastore, image_id: str) -> str:
    info = datastore.get_image_info(image_id) or {}
    return str(info.get("patient") or patient_of(image_id))


def _settings(config: ModelConfig) -> ReportConfig:
    assert config.report is not None  # a model of task report has it
    return config.report

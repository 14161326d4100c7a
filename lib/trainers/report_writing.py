# SPDX-License-Identifier: Apache-2.0
"""Studies without a written report as cases to learn from: what is told of them is drawn anew each time, and written.

Half of the time a study is told as its masks or the lesion model have it; half of the time as something that was never
there, so that what is written follows what is told, and not what an image of this kind mostly shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..drafting.measured import lesion_vectors
from ..drafting.sections import report_tokens
from ..text import Change, MeasuredLesion, MeasuredStudy, Side, Vocabulary, write_report
from ..text.grammar import IMPRESSION
from ..types import FloatArray
from .report_cases import ReportCase, read_text
from .report_studies import ReportStudy

REGIONS = ("frontal", "parietal", "temporal", "occipital", "insular", "central", "cerebellar")
INDICATIONS = (
    "",
    "Seizure.",
    "Headache for two weeks.",
    "Known glioma, follow-up.",
    "Follow-up after resection.",
    "Suspected tumour.",
    "First seizure, exclude a mass.",
    "Weakness of the arm and leg.",
    "Confusion and loss of memory.",
    "Surveillance of a known lesion.",
    "Staging.",
    "Aphasia since this morning.",
)
PAST_SHARE = 0.5
"""How often the earlier report is there, where there was an earlier visit."""
INVENTED_SHARE = 0.5
VOCABULARY_STUDIES = 600
LONGEST, TRIES = 130, 6
"""Longer reports are drawn again, so often: a batch takes as many steps as its longest report has words."""


@dataclass(frozen=True)
class BrainWriting:
    """Turns studies into cases.

    Attributes:
        studies: By image id.
        vocabulary: Of the model.
        findings: What the findings head tells.
    """

    studies: dict[str, ReportStudy]
    vocabulary: Vocabulary
    findings: tuple[str, ...]

    def cases(self, ids: Iterable[str], seed: int = 0) -> list[ReportCase]:
        """A case of each study, as the lesion model has it."""
        return [self.case(self.studies[one], self.studies[one].found, seed + i) for i, one in enumerate(ids)]

    def change(self, case: ReportCase, rng: np.random.Generator) -> ReportCase:
        """Another telling of the study of a case; for :class:`lib.trainers.report_cases.ReportSampler`."""
        drawn = self._drawn(self.studies[case.study_id], rng)
        for _ in range(TRIES):
            if len(drawn.report) <= LONGEST:
                break
            drawn = self._drawn(self.studies[case.study_id], rng)
        return drawn

    def _drawn(self, study: ReportStudy, rng: np.random.Generator) -> ReportCase:
        if rng.random() < INVENTED_SHARE:
            told = invented_study(rng)
        else:
            told = study.truth if rng.random() < 0.5 else study.found
        return self.case(study, told, int(rng.integers(2**31)))

    def case(self, study: ReportStudy, told: MeasuredStudy, seed: int) -> ReportCase:
        """A study that is told so, and the report of what is told."""
        rng = np.random.default_rng(seed)
        words, groups = read_text(clinical_text(told, rng), self.vocabulary)
        report = [(one.section, one.text) for one in write_report(told, seed)]
        return ReportCase(
            study.image_id,
            study.patient,
            image=study.features,
            words=words,
            groups=groups,
            lesions=lesion_vectors(told),
            report=tuple(self.vocabulary.id_of(token) for token in report_tokens(report)),
            findings=finding_targets(study.truth, self.findings),
        )


def finding_targets(truth: MeasuredStudy, findings: Sequence[str]) -> FloatArray:
    """Whether each finding is there, (F,); NaN for what masks of lesions say nothing of."""
    there = float(any(one.change is not Change.GONE for one in truth.lesions))
    return np.array([there if name == "lesion" else np.nan for name in findings], np.float32)


def clinical_text(told: MeasuredStudy, rng: np.random.Generator) -> str:
    """An indication, and sometimes the impression of the earlier visit's report."""
    indication = str(rng.choice(INDICATIONS))
    if not told.compared or rng.random() > PAST_SHARE:
        return indication
    past = write_report(earlier_of(told), int(rng.integers(2**31)))
    return " ".join([indication, *(one.text for one in past if one.section == IMPRESSION)]).strip()


def earlier_of(study: MeasuredStudy) -> MeasuredStudy:
    """The earlier visit as the later one lets it be known: without what is new, with what is gone."""
    lesions = []
    for one in study.lesions:
        if one.change is Change.NEW:
            continue
        volume = one.volume_before_ml or one.volume_ml
        known = one if one.long_mm is not None else replace(one, long_mm=10.0, short_mm=8.0)
        lesions.append(replace(known, volume_ml=volume, change=None, percent=None, volume_before_ml=None))
    return MeasuredStudy(tuple(lesions))


def invented_study(rng: np.random.Generator) -> MeasuredStudy:
    """A study that never was."""
    is_compared = bool(rng.random() < 0.5)
    count = int(rng.choice([0, 1, 1, 1, 2, 2, 3]))
    lesions = tuple(_invented_lesion(i + 1, is_compared, rng) for i in range(count))
    days = int(rng.integers(1, 900)) if is_compared and rng.random() < 0.8 else None
    return MeasuredStudy(lesions, is_compared, days)


def _invented_lesion(number: int, is_compared: bool, rng: np.random.Generator) -> MeasuredLesion:
    long_mm = float(np.exp(rng.uniform(np.log(3), np.log(90))))
    short_mm = long_mm * float(rng.uniform(0.3, 1.0))
    volume = float(long_mm * short_mm**2 * rng.uniform(0.2, 0.6) / 1000) if rng.random() < 0.9 else None
    change = Change(str(rng.choice([one.value for one in Change]))) if is_compared and rng.random() < 0.95 else None
    side, region = Side.LEFT if rng.random() < 0.5 else Side.RIGHT, str(rng.choice(REGIONS))
    if change is Change.GONE:
        return MeasuredLesion(-number, side, region, change=change)
    factor = {Change.GROWN: rng.uniform(1.1, 4), Change.SHRUNK: rng.uniform(0.1, 0.9)}.get(change) if change else None
    before = None if volume is None or change in (None, Change.NEW) else volume / float(factor or 1.0)
    percent = 100 * (float(factor) - 1) if factor and volume is not None else None
    return MeasuredLesion(number, side, region, long_mm, short_mm, volume, change, percent, before)


def grammar_vocabulary(buckets: int, seed: int = 0) -> Vocabulary:
    """The words of the grammar's reports and of the clinical texts."""
    rng = np.random.default_rng(seed)
    texts: list[str] = ["Impression: Findings:"]
    for i in range(VOCABULARY_STUDIES):
        study = invented_study(rng)
        texts += [one.text for one in write_report(study, i)]
    return Vocabulary.build([*texts, *INDICATIONS], minimum_count=1, buckets=buckets)

# SPDX-License-Identifier: Apache-2.0
"""A sentence of the grammar in place of one that was wrong, or missing: it says what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count, islice

from ..text import Change, Fact, GrammarSentence, MeasuredLesion, MeasuredStudy, write_report
from ..text.grammar import CHANGE_KINDS, FINDINGS, IMPRESSION
from ..text.phrases import Kind
from .claims import LESION, SAME, Scene

_SEEDS_TRIED = 200
"""A kind of sentence that a study can have is written for at least every third seed."""


def restated(
    section: str, facts: Iterable[Fact], lesion: int | None, scene: Scene, seed: int
) -> GrammarSentence | None:
    """What is so, where a sentence said something else; None where it spoke of nothing that is measured.

    Args:
        section: Where it stood.
        facts: What it said.
        lesion: Id of the lesion that it spoke of.
        scene: What is known.
        seed: Chooses among phrasings.
    """
    of_lesions = [fact for fact in facts if SAME.get(fact.finding, fact.finding) == LESION]
    if not of_lesions:
        return None
    spoken = next((one for one in scene.study.lesions if one.id == lesion), None)
    if any(fact.change is not None for fact in of_lesions):
        return change_sentence(section, spoken, scene, seed)
    if section == IMPRESSION:
        return overall_sentence(scene, seed)
    if any(fact.count is not None for fact in of_lesions) or spoken is None or not scene.there:
        return count_sentence(scene, seed)
    return None if spoken.change is Change.GONE else lesion_sentence(spoken, seed)


def lesion_sentence(lesion: MeasuredLesion, seed: int) -> GrammarSentence:
    """Place and size of a lesion, in a sentence that needs no other before it."""
    found = _written(MeasuredStudy((_alone(lesion),)), Kind.MEASURED, FINDINGS, seed)
    assert found is not None  # a lesion that is there has a size
    return found


def count_sentence(scene: Scene, seed: int) -> GrammarSentence | None:
    """How many lesions there are."""
    if not scene.there:
        return _written(MeasuredStudy(), Kind.NONE, FINDINGS, seed)
    if len(scene.there) == 1:
        return lesion_sentence(scene.there[0], seed)
    return _written(MeasuredStudy(tuple(map(_alone, scene.there))), Kind.COUNT, FINDINGS, seed)


def overall_sentence(scene: Scene, seed: int) -> GrammarSentence | None:
    """The impression of a study by itself."""
    several = len(scene.there) > 1
    kind = Kind.IMPRESSION_SEVERAL if several else Kind.IMPRESSION_ONE if scene.there else Kind.IMPRESSION_NONE
    return _written(MeasuredStudy(tuple(map(_alone, scene.there))), kind, IMPRESSION, seed)


def change_sentence(section: str, lesion: MeasuredLesion | None, scene: Scene, seed: int) -> GrammarSentence | None:
    """What has become of a lesion; of no lesion in particular, that there is no new one."""
    if not scene.study.compared:
        return None
    if lesion is None:
        known = all(one.change not in (None, Change.NEW) for one in scene.there)
        kept = tuple(one for one in scene.study.lesions if one.change is not None)
        return _written(MeasuredStudy(kept, True), Kind.NO_NEW, section, seed) if known else None
    if lesion.change is None:
        return None
    kind = Kind.IMPRESSION_CHANGE if section == IMPRESSION else CHANGE_KINDS[lesion.change]
    return _written(MeasuredStudy((lesion,), True, scene.study.days), kind, section, seed)


def _written(study: MeasuredStudy, kind: Kind, section: str, seed: int) -> GrammarSentence | None:
    reports = (write_report(study, seed + trial) for trial in islice(count(), _SEEDS_TRIED))
    fitting = (one for report in reports for one in report if one.kind is kind and one.section == section)
    return next(fitting, None)


def _alone(lesion: MeasuredLesion) -> MeasuredLesion:
    return replace(lesion, change=None, percent=None, volume_before_ml=None)

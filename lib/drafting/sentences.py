# SPDX-License-Identifier: Apache-2.0
"""A sentence that the guard let through, as the report has it: with its evidence and with other words for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..types import Finding
from ..types.report import Alternative, Sentence, Support
from .guard import Guarded

LEAST_SHOWN = 0.005
"""Smaller attention weights are left out of a sentence's evidence."""


def drafted_sentence(
    one: Guarded,
    findings: Sequence[Finding],
    words: Sequence[str],
    others: Iterable[Guarded],
    chances: Mapping[str, float],
) -> Sentence:
    """A sentence of a draft.

    Args:
        one: The sentence, checked.
        findings: Of the study.
        words: Of the clinical text, as the decoder attended them.
        others: Sentences of the other reports that were found.
        chances: Probability of each finding.
    """
    ids = tuple(number for number in one.checked.lesions if number > 0)
    evidence = one.said or one.replaces
    confidence = one.said.confidence if one.said else _measured_confidence(ids, findings, chances)
    attended = zip(words, evidence.words, strict=False) if evidence else ()
    return Sentence(
        one.text,
        ids,
        round(min(1.0, max(0.0, confidence)), 4),
        one.checked.support,
        facts=tuple(_facts(one)),
        frame_attention=_shown(evidence.frames) if evidence else {},
        word_attention=tuple((word, round(weight, 4)) for word, weight in attended if weight >= LEAST_SHOWN),
        alternatives=_alternatives(one, others),
    )


def _measured_confidence(ids: tuple[int, ...], findings: Iterable[Finding], chances: Mapping[str, float]) -> float:
    """Of what the guard wrote: as sure as its least sure lesion; of no lesion, as the findings head is of none."""
    scores = [finding.score for finding in findings if finding.id in ids]
    return min(scores) if scores else 1 - chances.get("lesion", 0.0)


def _facts(one: Guarded) -> Iterable[dict[str, object]]:
    """What the sentence says, each fact with the lesion that bears it out and where the words come from."""
    for fact, verdict in zip(one.checked.facts, one.checked.verdicts, strict=True):
        lesion = {"lesion": verdict.lesions[0]} if len(verdict.lesions) == 1 and verdict.lesions[0] > 0 else {}
        yield {
            **fact.to_json(),
            **lesion,
            "support": verdict.support.value,
            "written_by": "model" if one.said else "measurements",
        }


def _shown(weights: Mapping[int, float]) -> dict[int, float]:
    return {t: round(weight, 4) for t, weight in sorted(weights.items()) if weight >= LEAST_SHOWN}


def _alternatives(one: Guarded, others: Iterable[Guarded], most: int = 3) -> tuple[Alternative, ...]:
    """Other words for the same facts, from the other reports that were found."""
    found: dict[str, float] = {}
    for other in others:
        same = (other.section, other.checked.lesions) == (one.section, one.checked.lesions)
        if not same or other.said is None or other.text == one.text or _said(other) != _said(one):
            continue
        if other.checked.support is Support.SUPPORTED:
            found[other.text] = max(found.get(other.text, 0.0), other.said.confidence)
    best = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return tuple(Alternative(text, round(confidence, 4)) for text, confidence in best)


def _said(one: Guarded) -> set[tuple[str, bool | None, bool]]:
    """Which findings are spoken of, whether they are there, and whether a change is told."""
    return {(fact.finding, fact.present, fact.change is not None) for fact in one.checked.facts}

# SPDX-License-Identifier: Apache-2.0
"""The demo's report: what a model drafts of a patient's last visit, each fact beside what is truly so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .client import draft_report
from .demo_followup import sequence_of, true_timeline
from .process import Server
from .roots import lib_module
from .truth import HIT_IOU, View, box_overlaps

REPORTER = "report_brain_mr"
INDICATION = "Follow-up of a known lesion."
SECTIONS = ("findings", "impression")


@dataclass(frozen=True)
class JudgedFact:
    """Something that a sentence says of the lesions, in a word or two, and whether it is true."""

    words: str
    is_true: bool


@dataclass(frozen=True)
class JudgedSentence:
    """A sentence of the draft.

    Attributes:
        section: Of the report.
        text: The sentence.
        support: What the server says of it (``supported`` ...).
        facts: What it says of lesions.
    """

    section: str
    text: str
    support: str
    facts: tuple[JudgedFact, ...]


@dataclass(frozen=True)
class JudgedReport:
    """A draft and how true it is.

    Attributes:
        patient: Name.
        sentences: In their order.
        untold: What is truly so and stands nowhere in the draft; of a lesion that is missing, only that it is.
    """

    patient: str
    sentences: tuple[JudgedSentence, ...]
    untold: tuple[str, ...]

    @property
    def stated(self) -> int:
        """How many facts it states."""
        return sum(len(one.facts) for one in self.sentences)

    @property
    def true(self) -> int:
        """How many of these are true."""
        return sum(fact.is_true for one in self.sentences for fact in one.facts)


def report_last_visit(server: Server, patient: str, views: list[View], days: Iterable[float]) -> JudgedReport:
    """Ask the server for the draft of a patient's last visit, and set it against the truth.

    Args:
        server: A healthy server that serves :data:`REPORTER`.
        patient: For the table.
        views: The visits, oldest first, with their truth.
        days: Of each visit.

    Raises:
        InputError: If the server gives no draft.
    """
    answer = draft_report(server, REPORTER, views[-1].patient.image_id, INDICATION)
    return set_against_truth(patient, views, days, answer)


def set_against_truth(patient: str, views: list[View], days: Iterable[float], answer: dict[str, Any]) -> JudgedReport:
    """A server's draft beside the truth.

    Args:
        patient: For the table.
        views: The visits, oldest first, with their truth.
        days: Of each visit.
        answer: Of ``POST /infer/report_brain_mr`` for the last visit.
    """
    import numpy as np

    timeline, last = true_timeline(views, list(days)), len(views) - 1
    drafting = lib_module("drafting.measured")
    earlier = lib_module("drafting.earlier").earlier_visit(timeline, last, [np.eye(4)] * len(views))
    true = timeline.findings_at(last)
    truth = drafting.measured_study(true, drafting.brain_box(sequence_of(views[-1])), earlier)
    lesion_of = _same_lesions(true, answer["findings"])
    report = lib_module("types.report").Report.from_json(answer["report"])
    scores = lib_module("drafting.scores")
    sentences = tuple(
        JudgedSentence(section, sentence.text, sentence.support.value, _judged(sentence, truth, lesion_of))
        for section in SECTIONS
        for sentence in report.standing.get(section, ())
    )
    untold = scores.untold_parts(scores.statements_of(report), truth, lesion_of)
    missed = {number for number, attribute in untold if attribute == "there"}
    told = [part for part in untold if part[0] not in missed or part[1] == "there"]
    return JudgedReport(patient, sentences, tuple(_untold_words(part, true) for part in told))


def _same_lesions(true: Iterable[Any], found: list[dict[str, Any]]) -> dict[int, int]:
    """Id of a finding -> id of the true lesion that it overlaps most."""
    there = list(true)
    overlaps = box_overlaps([tuple(one["box_lps_mm"]) for one in found], [lesion.box_lps_mm for lesion in there])
    return {
        one["id"]: there[int(overlaps[i].argmax())].id
        for i, one in enumerate(found)
        if there and overlaps[i].max() >= HIT_IOU
    }


def _judged(sentence: Any, truth: Any, lesion_of: dict[int, int]) -> tuple[JudgedFact, ...]:
    scores = lib_module("drafting.scores")
    judged = scores.judged(scores.statements_in(sentence), truth, lesion_of)
    return tuple(JudgedFact(_words(attribute, value), right) for (_, attribute, value), right in judged.items())


def _words(attribute: str, value: object) -> str:
    """A fact in a word or two."""
    if attribute == "there":
        return "lesion" if value else "no such lesion"
    if attribute == "size_mm":
        return f"{float(str(value)):.0f} mm"
    if attribute == "volume_ml":
        return f"{float(str(value)):.1f} ml"
    if attribute == "count":
        return f"{value} lesions"
    if attribute == "none":
        return "no lesion"
    if attribute == "no change":
        return f"none {value}"
    return str(value).replace("+", " and ")


def _untold_words(part: tuple[int, str], true: Iterable[Any]) -> str:
    """A missing fact: of which lesion, by its size."""
    number, attribute = part
    names = {"size_mm": "size", "location": "region", "none": "that there is no lesion"}
    name = names.get(attribute, attribute)
    volumes = {one.id: one.measurements["volume"].value for one in true}
    if number not in volumes:
        return name
    lesion = f"the lesion of {volumes[number]:.1f} ml"
    return lesion if attribute == "there" else f"{name} of {lesion}"

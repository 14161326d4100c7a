# SPDX-License-Identifier: Apache-2.0
"""How true the drafts of brain MR reports are: their facts against those of the true masks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ..roots import lib_module

if TYPE_CHECKING:
    from lib.drafting.source import LesionSource
    from lib.drafting.writer import Draft, ReportWriter, StudyToReport

ROWS = ("guarded", "as written", "image swapped", "features swapped", "grammar", "constant")
"""What is scored: the draft; the decoder's words with their numbers, unchecked; the draft of the next patient's image;
the draft with the next patient's features and one's own lesions; a grammar's report of the lesions that were found; one
report for all."""
CONSTANT = ("There is a 40 x 30 mm lesion in the left frontal region.", "Single lesion in the left frontal region.")


@dataclass(frozen=True)
class Judged:
    """A study with its truth.

    Attributes:
        name: Of the study.
        to_report: What a report is written from.
        found: The lesions that the model finds (``VisitFindings``).
        true: The true ones.
        truth: The same, measured.
    """

    name: str
    to_report: StudyToReport
    found: Any
    true: Any
    truth: Any


def judged_studies(folder: Path, source: LesionSource, limit: int | None = None) -> list[Judged]:
    """Read the labelled studies of a folder, and let the lesion model look at them."""
    predictor = lib_module("trainers.report_folders").source_predictor(source)
    refs = lib_module("studies").find_labelled(folder)
    return [_judged(ref, predictor) for ref in (refs if limit is None else refs[:limit])]


def _judged(ref: Any, predictor: Any) -> Judged:
    load, drafting = lib_module("transforms.load"), lib_module("drafting.measured")
    sequence, geometry = load.load_sequence(ref.image, predictor.config.input)
    label = load.load_label(ref.label, geometry, sequence.kind)
    view = lib_module("drafting.source").view_study(predictor, sequence)
    follow = lib_module("followup")
    true = follow.findings_of_labels([("lesion", label > 0)], sequence, lib_module("types").Source())
    measured = drafting.measured_study(view.found.findings, view.brain_lps_mm)
    to_report = lib_module("drafting.writer").StudyToReport(view.features, view.found.findings, measured)
    truth = drafting.measured_study(true.findings, view.brain_lps_mm)
    found, true = (follow.without_pixels(one) for one in (view.found, true))
    return Judged(ref.image_id, to_report, found, true, truth)


def benchmark_brain(writer: ReportWriter, studies: list[Judged]) -> dict[str, Any]:
    """Score drafts in every way of :data:`ROWS`.

    Args:
        writer: The model.
        studies: At least two, since images are swapped.
    """
    if len(studies) < 2:
        raise lib_module("types").InputError("swapping images needs two studies or more")
    scores = {row: lib_module("drafting.scores").FactScores() for row in ROWS}
    support: dict[str, int] = {}
    interventions: dict[str, int] = {}
    seconds = []
    for own, other in zip(studies, [*studies[1:], studies[0]], strict=True):
        began = time.perf_counter()
        draft = writer.write(own.to_report)
        seconds.append(time.perf_counter() - began)
        _count(support, (sentence.support.value for sentence in draft.report.sentences))
        _count(interventions, (one.action.value for one in draft.interventions))
        same, swapped = _pairs(own.true, own.found), _pairs(own.true, other.found)
        statements = lib_module("drafting.scores").statements_of
        scores["guarded"].add(statements(draft.report), own.truth, same)
        scores["as written"].add(_as_written(draft, own, writer), own.truth, same)
        scores["image swapped"].add(statements(writer.write(other.to_report).report), own.truth, swapped)
        mixed = replace(own.to_report, image=other.to_report.image, frames_are_shown=False)
        scores["features swapped"].add(statements(writer.write(mixed).report), own.truth, same)
        scores["grammar"].add(_of_grammar(own), own.truth, same)
        scores["constant"].add(_of_texts(CONSTANT, own), own.truth, same)
    return {
        "scores": {row: one.to_json() for row, one in scores.items()},
        "support": support,
        "guard": interventions,
        "swap_cost": round(scores["guarded"].f1 - scores["image swapped"].f1, 4),
        "median_seconds": round(float(np.median(seconds)), 3),
        "studies": [one.name for one in studies],
    }


def _count(counts: dict[str, int], names: Any) -> None:
    for name in names:
        counts[name] = counts.get(name, 0) + 1


def _pairs(true: Any, found: Any) -> dict[int, int | None]:
    """The true lesion that each finding is, by place."""
    comparison = lib_module("followup").compare_visits(true, found, np.eye(4), None)
    return {pair.followup: pair.baseline for pair in comparison.pairs if pair.followup is not None}


def _as_written(draft: Draft, own: Judged, writer: ReportWriter) -> list[Any]:
    """The decoder's sentences with the numbers of the lesions that they speak of, unchecked."""
    slots, claims = lib_module("drafting.slots"), lib_module("drafting.claims")
    scene, found, last = claims.Scene(own.to_report.measured), [], None
    for said in draft.said:
        filled = slots.fill(said, scene, writer.vocabulary.forms, last)
        if filled.text:
            checked = claims.check_sentence(filled.text, scene, filled.lesion)
            found += _statements(checked)
            last = filled.lesion
    return found


def _statements(checked: Any) -> list[Any]:
    pairs = zip(checked.facts, checked.verdicts, strict=True)
    return [(fact, verdict.lesions[0] if len(verdict.lesions) == 1 else None) for fact, verdict in pairs]


def _of_grammar(own: Judged) -> list[Any]:
    sentences = lib_module("text").write_report(own.to_report.measured, 0)
    return _of_texts([one.text for one in sentences], own)


def _of_texts(texts: Any, own: Judged) -> list[Any]:
    claims = lib_module("drafting.claims")
    scene = claims.Scene(own.to_report.measured)
    return [one for text in texts for one in _statements(claims.check_sentence(text, scene))]


def brain_table(result: dict[str, Any]) -> Table:
    """The scores as a table."""
    table = Table(title=f"Facts of {len(result['studies'])} drafts against the true masks")
    for column in ("", "precision", "recall", "F1", "side errors", "sides", "size error, mm"):
        table.add_column(column, justify="right" if column else "left")
    for row, one in result["scores"].items():
        precision, recall, f1, side_errors = (f"{one[key]:.3f}" for key in ("precision", "recall", "f1", "side_errors"))
        interval = one["f1_interval"]
        shown = f1 if interval is None else f"{f1} [{interval[0]:.3f}, {interval[1]:.3f}]"
        table.add_row(row, precision, recall, shown, side_errors, str(one["sides"]), str(one["size_error_mm"]))
    table.caption = (
        f"sentences {result['support']}; guard {result['guard']}; swapping the image costs {result['swap_cost']:.3f} "
        f"of F1; {result['median_seconds']} s per draft"
    )
    return table


def run_brain(studies: Path, weights: Path, config: Any, source: LesionSource, output: Path | None) -> Table:
    """Judge weights on a folder and write the result."""
    import torch

    network = lib_module("registry").build_network(config)
    lib_module("weights.files").load_weights(network, weights)
    writer = lib_module("drafting.writer").report_writer(config, network, torch.device("cpu"), weights)
    result = benchmark_brain(writer, judged_studies(studies, source))
    if output is not None:
        output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return brain_table(result)

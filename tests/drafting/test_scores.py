# SPDX-License-Identifier: Apache-2.0
"""What counts as a true fact, and the benchmark that counts them."""

import dataclasses

import numpy as np
import pytest

from lib.drafting.claims import Scene, check_sentence
from lib.drafting.measured import measured_study
from lib.drafting.scores import FactScores, statements_of
from lib.drafting.source import brain_box
from lib.drafting.writer import StudyToReport
from lib.followup import findings_of_labels
from lib.phantom import head_stack
from lib.text import Change, MeasuredLesion, MeasuredStudy, Side, write_report
from lib.trainers.report_studies import sequence_of
from lib.types import InputError, Source
from monailabel_app.bench.report_brain import Judged, benchmark_brain, brain_table
from tests.drafting.test_writer import writer

LEFT = MeasuredLesion(1, Side.LEFT, "frontal", 32.0, 20.0, 8.4)
RIGHT = MeasuredLesion(2, Side.RIGHT, "parietal", 12.0, 9.0, 0.7)
TWO = MeasuredStudy((LEFT, RIGHT))


def scored(texts: list[str], truth: MeasuredStudy, lesion_of: dict[int, int | None], told: MeasuredStudy = TWO):
    scores, scene = FactScores(), Scene(told)
    checked = [check_sentence(text, scene) for text in texts]
    statements = [
        (fact, verdict.lesions[0] if len(verdict.lesions) == 1 else None)
        for one in checked
        for fact, verdict in zip(one.facts, one.verdicts, strict=True)
    ]
    scores.add(statements, truth, lesion_of)
    return scores


def test_a_grammar_report_of_the_truth_is_perfect():
    for seed in range(10):
        texts = [one.text for one in write_report(TWO, seed)]
        scores = scored(
            [text for text in texts if not text.startswith(("It", "This", "The lesion"))], TWO, {1: 1, 2: 2}
        )
        assert scores.precision == 1.0
        assert scores.side_errors == 0.0
    told = {"32 x 20": "left frontal", "12 x 9": "right parietal"}
    everything = [f"There is a {size} mm lesion in the {place} region." for size, place in told.items()]
    assert scored([*everything, "There are two lesions."], TWO, {1: 1, 2: 2}).f1 == 1.0


def test_a_wrong_side_a_false_lesion_and_a_missed_one():
    truth = MeasuredStudy((dataclasses.replace(LEFT, side=Side.RIGHT),))
    wrong = scored(["There is a 32 x 20 mm lesion in the left frontal region."], truth, {1: 1})
    assert (wrong.stated, wrong.right, wrong.sides, wrong.wrong_sides) == (4, 3, 1, 1)
    false = scored(["There is a 32 x 20 mm lesion in the left frontal region."], truth, {1: None})
    assert (false.right, false.sides, false.recall) == (0, 0, 0.0)
    missed = scored(["There is a 32 x 20 mm lesion in the left frontal region."], TWO, {1: 1})
    assert missed.precision == 1.0
    assert missed.recall == pytest.approx(4 / 9)


def test_none_counts_and_changes():
    none = MeasuredStudy()
    assert scored(["No lesion is seen."], none, {}, none).f1 == 1.0
    assert scored(["No lesion is seen."], TWO, {}, none).f1 == 0.0
    later = MeasuredStudy((dataclasses.replace(LEFT, change=Change.GROWN), RIGHT), True)
    assert scored(["The left frontal lesion has grown."], later, {1: 1}, later).precision == 1.0
    assert (
        scored(["The left frontal lesion has grown.", "No new lesion is seen."], later, {1: 1}, later).precision == 1.0
    )
    still = MeasuredStudy((dataclasses.replace(LEFT, change=Change.STABLE), RIGHT), True)
    assert scored(["The left frontal lesion has grown."], still, {1: 1}, later).precision == pytest.approx(3 / 4)


def judged(seed: int) -> Judged:
    stack = head_stack(seed, n_frames=12, size=128, spacing_mm=(1.7, 1.7, 8.0), n_lesions=1)
    sequence = sequence_of(stack)
    true = findings_of_labels([("lesion", stack.mask > 0)], sequence, Source())
    truth = measured_study(true.findings, brain_box(sequence))
    features = np.zeros((12, 6), np.float32)
    return Judged(f"p{seed}", StudyToReport(features, true.findings, truth), true, true, truth)


def test_the_benchmark_of_a_detector_that_is_always_right():
    studies = [judged(3), judged(4), judged(6)]
    result = benchmark_brain(writer(), studies)
    assert result["scores"]["guarded"]["f1"] > 0.95
    assert result["scores"]["guarded"]["side_errors"] == 0.0
    assert result["scores"]["grammar"]["precision"] == 1.0
    assert result["scores"]["as written"]["f1"] < 0.9
    assert result["support"].get("contradicted", 0) == 0
    assert result["swap_cost"] > 0.3
    assert "swapping the image costs" in str(brain_table(result).caption)
    with pytest.raises(InputError, match="two studies or more"):
        benchmark_brain(writer(), studies[:1])


def test_statements_of_a_draft_name_their_lesions():
    draft = writer().write(judged(3).to_report)
    numbers = {number for fact, number in statements_of(draft.report) if fact.side is not None}
    assert numbers == {1}

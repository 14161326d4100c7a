# SPDX-License-Identifier: Apache-2.0
"""Scores of generated reports: perfect ones, empty ones, and the rows that every table has."""

import shutil

import numpy as np
import pytest

from lib.text import CHEST
from lib.types import InputError
from monailabel_app.bench.report_scores import nearest_reports, score_reports, scores_table, template_report

pytest.importorskip("pycocoevalcap", reason="the extra 'bench' is not installed")
pytest.importorskip("sacrebleu", reason="the extra 'bench' is not installed")
REFERENCES = [
    "The heart is normal in size. No pleural effusion or pneumothorax.",
    "There is a small left pleural effusion. Cardiomegaly is present.",
    "Right lower lobe atelectasis. The lungs are otherwise clear.",
]


def test_a_perfect_report() -> None:
    scores = score_reports(REFERENCES, REFERENCES, CHEST, meteor=False)
    assert np.allclose(scores.bleu, 1.0)
    assert scores.sacrebleu == pytest.approx(1.0)
    assert scores.rouge_l == pytest.approx((1.0,) * 3)
    assert scores.cider == pytest.approx(10.0)
    assert scores.facts.f1 == 1.0
    assert scores.distinct == 1.0
    assert scores.meteor is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java")
def test_meteor_knows_a_good_report_from_a_bad_one() -> None:
    scores = score_reports([REFERENCES[0], "", REFERENCES[0]], REFERENCES, CHEST)
    assert 0.2 < scores.meteor < 0.9


def test_words_and_facts_are_not_the_same() -> None:
    flipped = [text.replace("left", "right").replace("No pleural", "There is pleural") for text in REFERENCES]
    scores = score_reports(flipped, REFERENCES, CHEST, meteor=False)
    assert scores.bleu[0] > 0.85
    assert scores.facts.denials >= 1
    assert scores.facts.wrong_side == 1


def test_a_constant_report_has_no_diversity_and_an_empty_one_no_words() -> None:
    scores = score_reports([REFERENCES[0]] * 2 + [""], REFERENCES, CHEST, meteor=False)
    assert scores.distinct == pytest.approx(1 / 3)
    assert scores.facts.f1 < 1
    empty = score_reports([""] * 3, REFERENCES, CHEST, meteor=False)
    assert (empty.words, empty.facts.precision, empty.bigrams) == (0, 0, 0)
    assert empty.bleu[3] < 1e-3


def test_the_template_is_the_report_most_like_the_others() -> None:
    assert template_report([*REFERENCES, "Nothing alike whatsoever", REFERENCES[0] + " Stable."]) in (
        REFERENCES[0],
        REFERENCES[0] + " Stable.",
    )


def test_retrieval_takes_the_nearest() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(3, 8))
    assert nearest_reports(train, REFERENCES, train[[2, 0]] + 0.01) == [REFERENCES[2], REFERENCES[0]]


def test_the_table_has_a_row_for_each_and_as_many_cells_as_headings() -> None:
    rows = {"template": score_reports([REFERENCES[0]] * 3, REFERENCES, CHEST, meteor=False)}
    lines = scores_table(rows).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_texts_must_be_as_many_as_references() -> None:
    with pytest.raises(InputError, match="as many"):
        score_reports(["a"], [], CHEST)

# SPDX-License-Identifier: Apache-2.0
"""Facts against facts: what counts as right, and the errors that words do not show."""

import random

import pytest

from lib.text import BRAIN_MR, CHEST, Change, Fact, Side
from lib.text.fact_scores import FactScore, score_facts, score_text, total_score


def test_a_report_says_what_it_says() -> None:
    text = "There is a 12 mm lesion in the left frontal lobe. No hydrocephalus."
    score = score_text(text, text, BRAIN_MR)
    assert score.f1 == score.precision == score.recall == 1.0
    assert (score.denial_rate, score.wrong_side_rate, score.mean_size_error_mm) == (0.0, 0.0, 0.0)


def test_words_that_differ_little_may_say_the_opposite() -> None:
    score = score_text("There is no pleural effusion.", "There is a pleural effusion.", CHEST)
    assert (score.right, score.denials) == (0, 1)
    score = score_text("Small left pleural effusion.", "Small right pleural effusion.", CHEST)
    assert (score.right, score.wrong_side, score.wrong_side_rate) == (0, 1, 1.0)


@pytest.mark.parametrize(
    ("written", "wanted", "right"),
    [
        ([Fact("lesion")], [Fact("lesion", side=Side.LEFT)], 1),  # what one does not say is no error
        ([Fact("lesion", None)], [Fact("lesion")], 0),
        ([Fact("lesion", change=Change.GROWN)], [Fact("lesion", change=Change.STABLE)], 0),
        ([Fact("lesion", False)], [Fact("lesion", False, side=Side.LEFT)], 1),
        ([Fact("lesion")], [Fact("edema")], 0),
    ],
)
def test_what_is_right(written: list[Fact], wanted: list[Fact], right: int) -> None:
    assert score_facts(written, wanted).right == right


def test_several_lesions_are_paired_by_what_agrees() -> None:
    left, right = Fact("lesion", side=Side.LEFT, size_mm=(30.0, 20.0)), Fact("lesion", side=Side.RIGHT, size_mm=(10.0,))
    score = score_facts([right, left], [left, right])
    assert (score.right, score.wrong_side, score.size_error_mm) == (2, 0, 0.0)
    score = score_facts([Fact("lesion", side=Side.LEFT, size_mm=(33.0,))], [right, left])
    assert (score.right, score.mean_size_error_mm) == (1, 3.0)
    assert (score.precision, score.recall) == (1.0, 0.5)
    one = score_facts([left, left], [left])
    assert (one.right, one.precision) == (1, 0.5)


def test_nothing_to_say() -> None:
    assert score_facts([], []).f1 == 1.0
    assert score_facts([Fact("lesion")], []).f1 == 0.0
    nothing = score_facts([], [Fact("lesion")])
    assert (nothing.f1, nothing.denial_rate, nothing.wrong_side_rate, nothing.mean_size_error_mm) == (
        0,
        None,
        None,
        None,
    )


def test_scores_add_up() -> None:
    a, b = score_facts([Fact("lesion")], [Fact("lesion")]), score_facts([], [Fact("edema"), Fact("edema")])
    assert total_score([a, b]) == a + b
    assert (a + b).recall == pytest.approx(1 / 3)
    assert total_score([]) == FactScore()


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_facts_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)

    def facts() -> list[Fact]:
        sides = [Side.LEFT, Side.RIGHT]
        return [
            Fact(rng.choice(["lesion", "edema"]), rng.choice([True, False]), rng.choice(sides), size_mm=(rng.random(),))
            for _ in range(rng.randint(0, 5))
        ]

    written, wanted = facts(), facts()
    score = score_facts(written, wanted)
    assert score_facts(written[::-1], wanted[::-1]).right == score.right
    assert score_facts(wanted, written).right == score.right
    assert score.right + score.denials <= score.pairs <= min(score.written, score.wanted)

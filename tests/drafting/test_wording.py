# SPDX-License-Identifier: Apache-2.0
"""Sentences that sound like what was measured, and are not."""

import random

import pytest

from lib.drafting.claims import Scene, check_sentence
from lib.drafting.misread import misread, odd_amount
from lib.drafting.opinions import Opinion
from lib.drafting.wording import unread_words
from lib.text import BRAIN_MR, Change, MeasuredLesion, MeasuredStudy, Side, label_sentence, write_report
from tests.drafting.making import study_of

GROWN = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.GROWN, 40.0, 8.6)
STABLE = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.STABLE, None, 11.9)
FRESH = MeasuredLesion(2, Side.RIGHT, "parietal", 10.0, 8.0, 0.5, Change.NEW)
LOST = MeasuredLesion(-1, Side.RIGHT, "parietal", change=Change.GONE)
OPINIONS = {"lesion": Opinion.THERE}
TWO = Scene(MeasuredStudy((GROWN, FRESH), True, 90), OPINIONS)
ONE = Scene(MeasuredStudy((GROWN,), True, 90), OPINIONS)
KEPT = Scene(MeasuredStudy((STABLE, LOST), True, 90), OPINIONS)
FIRST = Scene(MeasuredStudy((MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0),)), OPINIONS)
SHRUNKEN = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.SHRUNK, -40.0, 20.0)
LESS = Scene(MeasuredStudy((SHRUNKEN,), True, 90), OPINIONS)
BARELY = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.GROWN, 0.4, 11.9)
HARDLY = Scene(MeasuredStudy((BARELY,), True, 90), OPINIONS)
NOTHING = Scene(MeasuredStudy(), {"lesion": Opinion.NOT_THERE})

WRONG = [
    (TWO, "A lone lesion is present."),
    (TWO, "There are a dozen lesions."),
    (TWO, "A pair of lesions in the left hemisphere."),
    (TWO, "Both lesions lie on the left."),
    (TWO, "All lesions have grown."),
    (TWO, "Each lesion measures 30 mm."),
    (TWO, "None of the lesions has grown."),
    (TWO, "The left frontal lesion does not show growth."),
    (TWO, "The left frontal lesion failed to grow."),
    (TWO, "The left frontal lesion hasn't grown."),
    (TWO, "The left frontal lesion has never grown."),
    (TWO, "The left frontal lesion is no larger than before."),
    (TWO, "The left frontal lesion has doubled in size."),
    (TWO, "The left frontal lesion has grown by a third."),
    (TWO, "The left frontal lesion has grown within a week."),
    (TWO, "The left frontal lesion has grown by 12 ml."),
    (TWO, "The left frontal lesion was previously 30 mm."),
    (TWO, "The left frontal lesion measured 12 ml before."),
    (TWO, "The left frontal lesion measures thirty-five millimetres."),
    (TWO, "A lesion in the R frontal region."),
    (TWO, "The right hemisphere is normal."),
    (TWO, "Normal study."),
    (ONE, "There are no new lesions and no growth."),
    (ONE, "The lesion is gone."),
    (ONE, "The lesion remains the same."),
    (ONE, "No progression."),
    (FIRST, "Stable."),
    (KEPT, "Two lesions are no longer seen."),
    (KEPT, "All lesions have resolved."),
    (KEPT, "No lesion has resolved."),
    (KEPT, "The right parietal lesion has not resolved."),
    (KEPT, "The left frontal lesion has not grown but shrunk."),
]
RIGHT = [
    (TWO, "There are two lesions."),
    (TWO, "Both sides show a lesion."),
    (TWO, "A single new lesion is seen."),
    (ONE, "Only one lesion is seen."),
    (ONE, "The lesion is solitary."),
    (KEPT, "The left frontal lesion has not grown."),
    (KEPT, "The left frontal lesion has neither grown nor shrunk."),
    (KEPT, "The right parietal lesion is no longer seen."),
    (KEPT, "The right parietal lesion is not seen any more."),
]


@pytest.mark.parametrize(("scene", "text"), WRONG)
def test_a_wrong_sentence_is_contradicted(scene, text):
    assert check_sentence(text, scene).support == "contradicted"


@pytest.mark.parametrize(("scene", "text"), RIGHT)
def test_a_right_sentence_is_supported(scene, text):
    checked = check_sentence(text, scene)
    assert checked.support == "supported", checked


@pytest.mark.parametrize("text", ["The lesion is a glioblastoma.", "The left frontal lesion has been resected."])
def test_what_nobody_measured_is_marked(text):
    checked = check_sentence(text, ONE)
    assert checked.support == "unsupported"
    assert "more than was measured" in checked.reason


def test_words_of_places_changes_and_doubt_are_read():
    assert unread_words("The well-defined lesion in the left frontal lobe has not grown.", BRAIN_MR) == (
        "well-defined",
    )


MISREAD = [
    (NOTHING, "There is not no lesion."),
    (NOTHING, "There isn't no lesion in the left frontal region."),
    (NOTHING, "There is not, overall, no lesion."),
    (NOTHING, "No lesion is not seen."),
    (NOTHING, "No lesion, however, is not seen."),
    (NOTHING, "There is no absence of a lesion."),
    (NOTHING, "A lesion is not absent."),
    (NOTHING, "The brain is not free of lesions."),
    (NOTHING, "No lesion without oedema."),
    (ONE, "There is not necessarily a lesion."),
    (ONE, "The left frontal lesion is not in the left frontal region."),
    (ONE, "The left frontal lesion has not not grown."),
    (ONE, "There is not no change of the left frontal lesion."),
    (ONE, "There is not no new lesion."),
    (ONE, "No new lesion is seen and the left frontal lesion has not grown."),
    (TWO, "The right parietal lesion is not new."),
    (KEPT, "The left frontal lesion is not stable."),
    (KEPT, "The left frontal lesion is not unchanged."),
    (KEPT, "The left frontal lesion has not failed to grow."),
    (KEPT, "The left frontal lesion has never failed to grow."),
    (TWO, "The lesions have increased in number."),
    (ONE, "The lesion has increased in number."),
    (TWO, "There is an increase in the number of lesions."),
    (TWO, "The number of lesions has grown."),
    (TWO, "The lesion count has increased."),
    (KEPT, "The lesions are stable in number."),
    (KEPT, "The lesions are fewer in number."),
    (ONE, "There are more lesions than before."),
    (KEPT, "There are fewer lesions than before."),
    (TWO, "The lesions have grown."),
    (TWO, "Lesions have increased."),
    (ONE, "The left frontal lesion has grown by -40 %."),
    (ONE, "The left frontal lesion has grown by \u2212 40 %."),
    (ONE, "The left frontal lesion has grown by minus 40 %."),
    (ONE, "The left frontal lesion has grown by 40 % in -90 days."),
    (ONE, "The left frontal lesion has changed by -40 %."),
    (ONE, "The left frontal lesion has grown to 40 %."),
    (ONE, "The left frontal lesion measures -30 x 20 mm."),
    (LESS, "The left frontal lesion has shrunk by -40 %."),
    (LESS, "The left frontal lesion has shrunk by +40 %."),
    (LESS, "The left frontal lesion has shrunk by -3 mm."),
    (LESS, "The left frontal lesion has shrunk to 40 %."),
    (HARDLY, "The left frontal lesion has grown by 0 %."),
    (HARDLY, "The left frontal lesion has increased in volume by 0.0 %."),
]
"""Each was once counted as supported, or is like one that was."""


@pytest.mark.parametrize(("scene", "text"), MISREAD)
def test_what_the_rules_would_misread_is_not_supported(scene, text):
    checked = check_sentence(text, scene)
    assert checked.support in ("contradicted", "unsupported"), checked


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        (ONE, "The left frontal lesion has grown by +40 %."),
        (LESS, "The left frontal lesion has decreased in volume by 40 %."),
        (TWO, "The lesions are two in number."),
        (TWO, "The number of lesions is two."),
        (KEPT, "No new lesion is seen."),
        (KEPT, "The left frontal lesion has not resolved."),
        (NOTHING, "There is no evidence of a lesion."),
        (NOTHING, "A lesion is not seen."),
    ],
)
def test_one_denial_and_an_amount_with_the_right_sign_are_supported(scene, text):
    checked = check_sentence(text, scene)
    assert checked.support == "supported", checked


def test_no_sentence_of_the_grammar_is_misread():
    for seed in range(60):
        for one in write_report(study_of(random.Random(seed)), seed):
            facts = label_sentence(one.text, BRAIN_MR)
            assert not misread(one.text, facts, BRAIN_MR), one.text
            assert not odd_amount(one.text.lower()), one.text

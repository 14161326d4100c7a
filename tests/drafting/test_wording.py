# SPDX-License-Identifier: Apache-2.0
"""Sentences that sound like what was measured, and are not."""

import pytest

from lib.drafting.claims import Scene, check_sentence
from lib.drafting.opinions import Opinion
from lib.drafting.wording import unread_words
from lib.text import BRAIN_MR, Change, MeasuredLesion, MeasuredStudy, Side

GROWN = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.GROWN, 40.0, 8.6)
STABLE = MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0, Change.STABLE, None, 11.9)
FRESH = MeasuredLesion(2, Side.RIGHT, "parietal", 10.0, 8.0, 0.5, Change.NEW)
LOST = MeasuredLesion(-1, Side.RIGHT, "parietal", change=Change.GONE)
OPINIONS = {"lesion": Opinion.THERE}
TWO = Scene(MeasuredStudy((GROWN, FRESH), True, 90), OPINIONS)
ONE = Scene(MeasuredStudy((GROWN,), True, 90), OPINIONS)
KEPT = Scene(MeasuredStudy((STABLE, LOST), True, 90), OPINIONS)
FIRST = Scene(MeasuredStudy((MeasuredLesion(1, Side.LEFT, "frontal", 30.0, 20.0, 12.0),)), OPINIONS)

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

# SPDX-License-Identifier: Apache-2.0
"""Whatever a decoder writes, what leaves the guard is true to what was measured."""

import random

import pytest

from lib.drafting.claims import Scene, check_sentence
from lib.drafting.guard import Action, guard
from lib.drafting.opinions import Opinion
from lib.drafting.slots import Said, fill
from lib.text import (
    CHEST,
    Change,
    MeasuredLesion,
    MeasuredStudy,
    Side,
    Slot,
    label_sentence,
    split_sentences,
    tokenize,
    write_report,
)
from lib.text.lexicon_brain import BRAIN_MR
from lib.types.report import Support
from tests.drafting.making import random_tokens, report_of, said_of, study_of

LEFT = MeasuredLesion(1, Side.LEFT, "frontal", 32.4, 20.6, 8.43)
RIGHT = MeasuredLesion(2, Side.RIGHT, "parietal", 12.2, 9.1, 0.71)
ONE, TWO = Scene(MeasuredStudy((LEFT,))), Scene(MeasuredStudy((LEFT, RIGHT)))
SURE_OF_NONE = Scene(MeasuredStudy(), {"lesion": Opinion.NOT_THERE, "oedema": Opinion.THERE})
GROWN = MeasuredLesion(1, Side.LEFT, "frontal", 32.4, 20.6, 8.43, Change.GROWN, 40.2, 6.01)
FRESH = MeasuredLesion(2, Side.RIGHT, "parietal", 12.2, 9.1, 0.71, Change.NEW)
LOST = MeasuredLesion(-1, Side.RIGHT, "temporal", change=Change.GONE)
LATER = Scene(MeasuredStudy((GROWN, FRESH, LOST), True, 92))


@pytest.mark.parametrize(
    ("scene", "text", "support"),
    [
        (ONE, "There is a 32 x 21 mm lesion in the left frontal lobe.", "supported"),
        (ONE, "There is a 3.2 x 2.1 cm lesion in the left frontal lobe.", "supported"),
        (ONE, "A lesion in the left frontal lobe has a volume of 8.4 ml.", "supported"),
        (ONE, "Single lesion in the left frontal region.", "supported"),
        (ONE, "There is a lesion in the right frontal lobe.", "contradicted"),
        (ONE, "There is a lesion in the left occipital lobe.", "contradicted"),
        (ONE, "There is a 35 mm lesion in the left frontal lobe.", "contradicted"),
        (ONE, "There is a 32 x 21 x 18 mm lesion in the left frontal lobe.", "contradicted"),
        (ONE, "There are two lesions.", "contradicted"),
        (ONE, "Multiple lesions are seen.", "contradicted"),
        (ONE, "No lesion is seen.", "contradicted"),
        (ONE, "No lesion is seen in the right hemisphere.", "supported"),
        (ONE, "Another lesion is seen in the left frontal lobe.", "contradicted"),
        (ONE, "The lesion has grown.", "contradicted"),
        (ONE, "There is vasogenic oedema.", "unsupported"),
        (ONE, "There is a midline shift of 32 mm.", "contradicted"),
        (ONE, "The paranasal sinuses are clear.", "unsupported"),
        (ONE, "Follow-up in 14 days.", "contradicted"),
        (ONE, "A lesion in the left frontal lobe is possible.", "unsupported"),
        (TWO, "There are two lesions.", "supported"),
        (TWO, "There are lesions in both hemispheres.", "supported"),
        (TWO, "There is a single lesion.", "contradicted"),
        (TWO, "Solitary left frontal lesion.", "contradicted"),
        (TWO, "The largest lesion lies in the left frontal lobe.", "supported"),
        (TWO, "The largest lesion lies in the right parietal lobe.", "contradicted"),
        (TWO, "The largest lesion measures 12 x 9 mm.", "contradicted"),
        (TWO, "Another lesion lies in the right parietal lobe.", "supported"),
        (TWO, "The left frontal lesion measures 12 x 9 mm.", "contradicted"),
        (SURE_OF_NONE, "No lesion is seen.", "supported"),
        (Scene(MeasuredStudy()), "No lesion is seen.", "not_assessed"),
        (SURE_OF_NONE, "There is a lesion in the left frontal lobe.", "contradicted"),
        (SURE_OF_NONE, "There is vasogenic oedema.", "supported"),
        (SURE_OF_NONE, "There is no oedema.", "contradicted"),
        (Scene(MeasuredStudy(), {"oedema": Opinion.NOT_ASSESSED}), "There is no oedema.", "not_assessed"),
        (LATER, "The lesion in the left frontal region has grown by 40 % over 92 days.", "supported"),
        (LATER, "The lesion in the left frontal region has grown from 6.0 ml to 8.4 ml.", "supported"),
        (LATER, "The lesion in the left frontal region has grown from 3.0 ml to 8.4 ml.", "contradicted"),
        (LATER, "The lesion in the left frontal region has shrunk.", "contradicted"),
        (LATER, "The lesion in the left frontal region has grown by 60 %.", "contradicted"),
        (LATER, "The left frontal lesion has not grown.", "contradicted"),
        (LATER, "No new lesion is seen.", "contradicted"),
        (LATER, "A lesion in the right parietal region is new.", "supported"),
        (LATER, "The lesion in the right temporal region is no longer visible.", "supported"),
        (LATER, "The lesion in the left temporal region is no longer visible.", "contradicted"),
        (LATER, "There are two new lesions.", "contradicted"),
    ],
)
def test_a_sentence_is_checked(scene, text, support):
    checked = check_sentence(text, scene)
    assert checked.support == support, checked
    assert bool(checked.reason) == (support != "supported")


def test_the_reason_says_what_was_measured():
    assert "side right, measured left" in check_sentence("There is a right frontal lesion.", ONE).reason
    assert "35 mm, measured 32.4" in check_sentence("The left frontal lesion measures 35 mm.", ONE).reason


def told(text: str) -> Said:
    return Said("findings", tokenize(text).tokens)


def test_slots_are_filled_from_the_lesion_that_the_sentence_names():
    sentence = "A lesion in the right parietal lobe measures 1 x 1 mm, with a volume of 1 ml."
    filled = fill(Said("findings", tokenize(sentence).tokens, {1: 0.9, 2: 0.1}), TWO, {})
    assert filled.text == "A lesion in the right parietal lobe measures 12 x 9 mm, with a volume of 0.7 ml."
    assert filled.lesion == 2


def test_slots_are_filled_from_the_attended_lesion_where_the_words_leave_it_open():
    tokens = tokenize("A lesion measures 1 mm.").tokens
    assert fill(Said("findings", tokens, {1: 0.2, 2: 0.7}), TWO, {}).text == "A lesion measures 12 mm."
    assert fill(Said("findings", tokens, {1: 0.7, 2: 0.2}), TWO, {}).text == "A lesion measures 32 mm."


def test_it_means_the_lesion_of_the_sentence_before():
    checking = guard([told("A lesion lies in the right parietal lobe."), told("It measures 1 x 1 mm.")], TWO)
    assert checking.kept[1].text == "It measures 12 x 9 mm."
    dangling = guard([told("It measures 1 x 1 mm.")], TWO)
    assert "It" not in dangling.kept[0].text.split()


def test_earlier_and_present_volume_percent_and_days():
    filled = fill(told("The left frontal lesion has grown from 1 ml to 1 ml, by 1 % in 1 days."), LATER, {})
    assert filled.text == "The left frontal lesion has grown from 6.0 ml to 8.4 ml, by 40% in 92 days."


def test_a_number_that_was_not_measured_is_never_written():
    no_volume = Scene(MeasuredStudy((MeasuredLesion(1, Side.LEFT, "frontal", 32.4),)))
    assert fill(told("The lesion has a volume of 1 ml."), no_volume, {}).text == ""
    assert fill(told("The lesion measures 1 x 1 mm."), no_volume, {}).text == ""
    assert fill(told("Seen on image 14."), ONE, {}).text == ""
    kept = guard([told("The lesion has a volume of 1 ml."), told("The shift is 3 mm.")], no_volume).kept
    assert not any("ml" in one.text or "shift" in one.text for one in kept)


def test_a_contradiction_is_replaced_by_what_was_measured():
    checking = guard([told("There is a 1 x 1 mm lesion in the right occipital lobe.")], ONE)
    first = checking.kept[0]
    assert first.checked.support is Support.SUPPORTED
    assert first.checked.lesions == (1,)
    assert "left" in first.text.lower()
    assert checking.log[0].action is Action.REPLACED
    assert "measured left" in checking.log[0].reason


def test_an_unsupported_sentence_stays_and_is_marked_and_a_repetition_goes():
    twice = [
        told("No hydrocephalus is seen."),
        told("There are two lesions."),
        told("Altogether two lesions are identified."),
    ]
    checking = guard(twice, TWO)
    assert checking.kept[0].checked.support is Support.UNSUPPORTED
    assert [one.action for one in checking.log][:1] == [Action.REPEATED]


def test_what_was_not_told_is_added():
    checking = guard([], LATER)
    texts = " ".join(one.text for one in checking.kept)
    facts = [fact for one in checking.kept for fact in one.checked.facts]
    assert {one.action for one in checking.log} == {Action.ADDED}
    assert {Change.GROWN, Change.NEW, Change.GONE} <= {fact.change for fact in facts}
    assert {fact.count for fact in facts} >= {2}
    assert any(one.section == "impression" for one in checking.kept), texts


def _true_numbers(study: MeasuredStudy) -> dict[Slot, set[float]]:
    there = [one for one in study.lesions if one.change is not Change.GONE]
    regions = {(one.side, one.region) for one in there}
    counts = {len(there), 1, *(sum((o.side, o.region) == r for o in there) for r in regions)}
    counts |= {sum(o.change is c for o in there) for c in Change} | {sum(o.side is s for o in there) for s in Side}
    return {
        Slot.LENGTH: {float(max(1, round(a))) for one in there for a in (one.long_mm, one.short_mm) if a is not None},
        Slot.VOLUME: {
            max(0.1, round(v, 1)) for one in there for v in (one.volume_ml, one.volume_before_ml) if v is not None
        },
        Slot.PERCENT: {float(round(abs(one.percent))) for one in there if one.percent is not None},
        Slot.DAYS: {float(study.days)} if study.days is not None else set(),
        Slot.COUNT: set(map(float, counts)),
        Slot.NUMBER: set(),
        Slot.DEID: set(),
    }


def assert_true(text: str, study: MeasuredStudy) -> None:
    """An oracle of its own: no number, side, place, change or count that the study does not have."""
    numbers = _true_numbers(study)
    for value in tokenize(text).values:
        assert round(value.value, 1) in {round(v, 1) for v in numbers[value.slot]}, (text, value)
    there = [one for one in study.lesions if one.change is not Change.GONE]
    for fact in label_sentence(text, BRAIN_MR):
        if fact.finding not in ("lesion", "hyperintensity") or fact.present is None:
            continue
        among = [one for one in study.lesions if one.change is Change.GONE] if fact.change is Change.GONE else there
        if fact.side is not Side.BILATERAL:
            among = [one for one in among if fact.side in (None, one.side)]
        among = [one for one in among if fact.location in (None, one.region)]
        among = [one for one in among if fact.change in (None, one.change)]
        if fact.present or fact.change is Change.GONE:
            assert among, (text, fact, study)
            assert fact.count in (None, len(among)), (text, fact, study)
        else:
            assert not among, (text, fact, study)
        if fact.size_mm:
            assert any(abs(fact.size_mm[0] - max(1, one.long_mm)) < 0.7 for one in among), (text, fact, study)
        if fact.volume_ml:
            assert any(one.volume_ml and abs(fact.volume_ml - max(0.1, one.volume_ml)) < 0.07 for one in among)


@pytest.mark.parametrize("block", range(4))
def test_nothing_contradicted_leaves_the_guard(block):
    for seed in range(block * 30, block * 30 + 30):
        draw = random.Random(seed)
        study = study_of(draw)
        said = report_of(draw, study) + [random_tokens(draw, study) for _ in range(draw.randrange(3))]
        checking = guard(said, Scene(study), seed=seed)
        for one in checking.kept:
            assert one.checked.support is not Support.CONTRADICTED, (seed, one)
            assert one.said is not None or one.checked.support is not Support.UNSUPPORTED, (seed, one)
            assert split_sentences(one.text), (seed, one)
            assert_true(one.text, study)


def test_every_lesion_is_told_with_its_own_numbers():
    for seed in range(25):
        draw = random.Random(seed)
        study = study_of(draw)
        checking = guard(report_of(draw, study), Scene(study), seed=seed)
        there = sorted(
            (o for o in study.lesions if o.change is not Change.GONE), key=lambda o: -(o.volume_ml or o.long_mm)
        )
        sized = {n for one in checking.kept for f, v in zip(one.checked.facts, one.checked.verdicts, strict=True)
                 for n in v.lesions if f.size_mm or f.volume_ml}  # fmt: skip
        assert {one.id for one in there[:6]} <= sized, (seed, study)


def test_what_the_grammar_writes_of_a_study_passes_as_it_is():
    changed = 0
    total = 0
    for seed in range(40):
        draw = random.Random(1000 + seed)
        study = study_of(draw)
        attended = {one.id: 1 / 9 for one in study.lesions}
        sentences = write_report(study, seed)
        said = []
        for one in sentences:
            focus = {number: 0.5 if number in one.lesions else 0.1 for number in attended}
            said.append(Said(one.section, tokenize(one.text).tokens, focus))
        checking = guard(said, Scene(study, {"lesion": Opinion.NOT_THERE}), seed=seed)
        total += len(sentences)
        changed += sum(one.action in (Action.REPLACED, Action.DROPPED) for one in checking.log)
    assert changed < 0.12 * total, (changed, total)


def test_the_same_report_twice():
    draw = random.Random(5)
    study = study_of(draw)
    said = said_of(" ".join(one.text for one in write_report(study, 3)), "findings", draw, study)
    assert guard(said, Scene(study)).kept == guard(said, Scene(study)).kept


CHEST_SCENE = Scene(
    MeasuredStudy(), {"pleural_effusion": Opinion.THERE, "pneumothorax": Opinion.NOT_THERE}, CHEST, is_measured=False
)


@pytest.mark.parametrize(
    ("text", "support"),
    [
        ("There is a pleural effusion.", "supported"),
        ("No pneumothorax.", "supported"),
        ("There is no pleural effusion.", "contradicted"),
        ("There is a pleural effusion on the left.", "unsupported"),
        ("There is a 12 mm pleural effusion.", "contradicted"),
        ("The effusion has increased.", "contradicted"),
        ("There is a rib fracture.", "unsupported"),
    ],
)
def test_where_nothing_is_measured_only_the_findings_head_has_opinions(text, support):
    assert check_sentence(text, CHEST_SCENE).support == support


def test_nothing_is_added_where_nothing_was_measured():
    checking = guard([told("No pneumothorax."), told("There is no pleural effusion.")], CHEST_SCENE)
    assert [one.text for one in checking.kept] == ["No pneumothorax."]
    assert [one.action for one in checking.log] == [Action.DROPPED]
